//! Method and path to interaction, as one table.

use actix_web::http::Method;

use crate::{
    audit::Action,
    interactions::{READ_ONLY, export, history, operation},
    outcome::Refusal,
    resources::{Access, resource},
    validate::is_id,
};

/// An interaction and what its address says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the specification")]
pub enum Route<'a> {
    Bundle,
    Search { resource_type: &'a str },
    SearchByPost { resource_type: &'a str },
    Create { resource_type: &'a str },
    Read { resource_type: &'a str, id: &'a str },
    Vread { resource_type: &'a str, id: &'a str, version: &'a str },
    Update { resource_type: &'a str, id: &'a str },
    UpdateByCondition { resource_type: &'a str },
    Patch { resource_type: &'a str, id: &'a str },
    PatchByCondition { resource_type: &'a str },
    Delete { resource_type: &'a str, id: &'a str },
    DeleteByCondition { resource_type: &'a str },
    History { of: history::Of<'a> },
    Compartment { id: &'a str },
    SearchCompartment { id: &'a str, resource_type: &'a str },
    SearchCompartmentByPost { id: &'a str, resource_type: &'a str },
    Operation { resource_type: &'a str, id: Option<&'a str>, name: &'a str },
    Export { of: export::Of<'a> },
    ExportStatus { job: &'a str },
    ExportFile { job: &'a str, file: &'a str },
}

impl<'a> Route<'a> {
    /// The interaction at a path below `/{organization}/fhir`.
    ///
    /// # Errors
    /// [`Refusal::MethodNotAllowed`] where another method would do, [`Refusal::Unsupported`] where
    /// FHIR has an interaction that is not implemented, [`Refusal::NotFound`] where it has none.
    pub fn of(method: &Method, segments: &[&'a str]) -> Result<Self, Refusal> {
        // HEAD is GET whose body stays away.
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let table = Self::table(segments)?;
        let found = table.iter().find(|(allowed, _)| allowed == method);
        let route = found.map(|(_, route)| *route).ok_or(Refusal::MethodNotAllowed { allow: listed(&table) })?;
        // What has no answer of its own for what is not there: an id that none can have is not there.
        match route {
            Self::Compartment { id }
            | Self::Delete { id, .. }
            | Self::SearchCompartment { id, .. }
            | Self::SearchCompartmentByPost { id, .. }
            | Self::Operation { id: Some(id), .. }
                if !is_id(id) =>
            {
                Err(Refusal::NotFound)
            }
            _ => Ok(route),
        }
    }

    /// What may be done at a path, whatever the method; empty where clients may do nothing.
    ///
    /// # Errors
    /// As [`Route::of`], but for the method.
    pub fn table(segments: &[&'a str]) -> Result<Vec<(Method, Self)>, Refusal> {
        let mut table = match *segments {
            [] | [""] => vec![(Method::POST, Self::Bundle)],
            ["_history"] => vec![(Method::GET, Self::History { of: history::Of::All })],
            ["_search"] => return Err(Refusal::Unsupported("a search over all types")),
            ["$export"] => Self::export(export::Of::System),
            ["Patient", "$export"] => Self::export(export::Of::Patients),
            ["Group", id, "$export"] => Self::export(export::Of::Group(id)),
            ["bulk", job] => {
                let status = Self::ExportStatus { job };
                vec![(Method::GET, status), (Method::DELETE, status)]
            }
            ["bulk", job, file] => vec![(Method::GET, Self::ExportFile { job, file })],
            [name] if name.starts_with('$') => return Err(Refusal::Unsupported("the operation")),
            [resource_type, "_search"] => vec![(Method::POST, Self::SearchByPost { resource_type })],
            [resource_type, "_history"] => {
                vec![(Method::GET, Self::History { of: history::Of::Type(resource_type) })]
            }
            [resource_type, name] if name.starts_with('$') => Self::operation(resource_type, None, name)?,
            [resource_type, id, name] if name.starts_with('$') => Self::operation(resource_type, Some(id), name)?,
            [resource_type] => vec![
                (Method::GET, Self::Search { resource_type }),
                (Method::POST, Self::Create { resource_type }),
                (Method::PUT, Self::UpdateByCondition { resource_type }),
                (Method::PATCH, Self::PatchByCondition { resource_type }),
                (Method::DELETE, Self::DeleteByCondition { resource_type }),
            ],
            [resource_type, id] => vec![
                (Method::GET, Self::Read { resource_type, id }),
                (Method::PUT, Self::Update { resource_type, id }),
                (Method::PATCH, Self::Patch { resource_type, id }),
                (Method::DELETE, Self::Delete { resource_type, id }),
            ],
            [resource_type, id, "_history"] => {
                vec![(Method::GET, Self::History { of: history::Of::Resource(resource_type, id) })]
            }
            [resource_type, id, "_history", version] => {
                vec![(Method::GET, Self::Vread { resource_type, id, version })]
            }
            ["Patient", id, "*"] => vec![(Method::GET, Self::Compartment { id })],
            ["Patient", id, resource_type] if resource(resource_type).is_some() => {
                vec![(Method::GET, Self::SearchCompartment { id, resource_type })]
            }
            ["Patient", id, resource_type, "_search"] if resource(resource_type).is_some() => {
                vec![(Method::POST, Self::SearchCompartmentByPost { id, resource_type })]
            }
            [_, _, inner] if inner == "*" || inner.starts_with(|first: char| first.is_ascii_uppercase()) => {
                return Err(Refusal::Unsupported("a search in a compartment other than a Patient's"));
            }
            _ => return Err(Refusal::NotFound),
        };
        match segments.first().and_then(|name| resource(name)).map(|of| of.access) {
            Some(Access::ReadOnly) => table.retain(|(_, route)| route.only_reads()),
            Some(Access::Own) => table.retain(|(_, route)| route.is_of_current()),
            Some(Access::Full) | None => {}
        }
        Ok(table)
    }

    fn export(of: export::Of<'a>) -> Vec<(Method, Self)> {
        [Method::GET, Method::POST].map(|method| (method, Self::Export { of })).into()
    }

    /// Whether it is about an export, which has headers and bodies of its own.
    pub fn is_of_exports(&self) -> bool {
        matches!(self, Self::Export { .. } | Self::ExportStatus { .. } | Self::ExportFile { .. })
    }

    fn operation(resource_type: &'a str, id: Option<&'a str>, name: &'a str) -> Result<Vec<(Method, Self)>, Refusal> {
        if !operation::exists(resource_type, id.is_some(), name) {
            return Err(Refusal::Unsupported("the operation"));
        }
        let operation = Self::Operation { resource_type, id, name };
        let is_read = operation::only_reads(name) && (id.is_some() || operation::reads_parameters(name));
        let by_get = is_read.then_some((Method::GET, operation));
        Ok(by_get.into_iter().chain([(Method::POST, operation)]).collect())
    }

    /// Whether the query of its address says something.
    pub fn reads_parameters(&self) -> bool {
        matches!(
            self,
            Self::Operation { name, .. } if operation::reads_parameters(name)
        ) || matches!(
            self,
            Self::Search { .. }
                | Self::SearchByPost { .. }
                | Self::Compartment { .. }
                | Self::SearchCompartment { .. }
                | Self::SearchCompartmentByPost { .. }
                | Self::History { .. }
                | Self::UpdateByCondition { .. }
                | Self::PatchByCondition { .. }
                | Self::DeleteByCondition { .. }
        )
    }

    /// As what the access log names it: what is done, with which type and id.
    pub fn audited(&self) -> (Action, &'a str, Option<&'a str>) {
        match *self {
            Self::Bundle => (Action::Execute, "Bundle", None),
            Self::Search { resource_type } | Self::SearchByPost { resource_type } => {
                (Action::Execute, resource_type, None)
            }
            Self::Create { resource_type } => (Action::Create, resource_type, None),
            Self::Read { resource_type, id } | Self::Vread { resource_type, id, .. } => {
                (Action::Read, resource_type, Some(id))
            }
            Self::Update { resource_type, id } | Self::Patch { resource_type, id } => {
                (Action::Update, resource_type, Some(id))
            }
            Self::UpdateByCondition { resource_type } | Self::PatchByCondition { resource_type } => {
                (Action::Update, resource_type, None)
            }
            Self::Delete { resource_type, id } => (Action::Delete, resource_type, Some(id)),
            Self::DeleteByCondition { resource_type } => (Action::Delete, resource_type, None),
            Self::History { of: history::Of::Resource(resource_type, id) } => (Action::Read, resource_type, Some(id)),
            Self::History { of: history::Of::Type(resource_type) } => (Action::Execute, resource_type, None),
            Self::Export { of: export::Of::Group(id) } => (Action::Execute, "Group", Some(id)),
            Self::Export { .. } | Self::ExportStatus { .. } => (Action::Execute, "Resource", None),
            Self::ExportFile { .. } => (Action::Read, "Resource", None),
            Self::History { of: history::Of::All } => (Action::Execute, "Resource", None),
            Self::Compartment { id }
            | Self::SearchCompartment { id, .. }
            | Self::SearchCompartmentByPost { id, .. } => (Action::Execute, "Patient", Some(id)),
            Self::Operation { resource_type, id, .. } => (Action::Execute, resource_type, id),
        }
    }

    /// Whether parameters may stand in a form in place of the address.
    pub fn has_form(&self) -> bool {
        matches!(self, Self::SearchByPost { .. } | Self::SearchCompartmentByPost { .. })
    }

    /// Whether it is about what there is now, by its id: all there is of a type of which each client has its own.
    fn is_of_current(&self) -> bool {
        let is_write =
            matches!(self, Self::Create { .. } | Self::Update { .. } | Self::Patch { .. } | Self::Delete { .. });
        is_write || (self.only_reads() && !matches!(self, Self::Vread { .. }))
    }

    /// Whether it changes nothing and shows no versions: all there is of a type that clients only read.
    fn only_reads(&self) -> bool {
        matches!(
            self,
            Self::Search { .. }
                | Self::SearchByPost { .. }
                | Self::Read { .. }
                | Self::Vread { .. }
                | Self::Operation { .. }
        )
    }
}

/// The methods at a path, as the header `Allow` lists them.
///
/// # Errors
/// As [`Route::of`].
pub fn allowed(segments: &[&str]) -> Result<&'static str, Refusal> {
    match *segments {
        ["metadata"] | ["openapi.json"] | [".well-known", "smart-configuration"] => Ok(READ_ONLY),
        _ => Ok(listed(&Route::table(segments)?)),
    }
}

fn listed(table: &[(Method, Route<'_>)]) -> &'static str {
    let has = |method: &Method| table.iter().any(|(allowed, _)| allowed == method);
    match (has(&Method::GET), has(&Method::POST), has(&Method::PUT)) {
        (true, true, true) => "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        (true, false, true) => "GET, HEAD, PUT, PATCH, DELETE, OPTIONS",
        (true, true, false) => "GET, HEAD, POST, OPTIONS",
        (true, false, false) if has(&Method::DELETE) => "GET, HEAD, DELETE, OPTIONS",
        (true, false, false) => READ_ONLY,
        (false, true, _) => "POST, OPTIONS",
        (false, false, _) => "OPTIONS",
    }
}

/// The segments of a path, percent-decoded one by one.
pub fn decoded(path: &str) -> Result<Vec<String>, Refusal> {
    let segment = |segment: &str| {
        // Form decoding would turn a plus sign into a space.
        let escaped = segment.replace('+', "%2B");
        let mut pairs = url::form_urlencoded::parse(escaped.as_bytes());
        match pairs.next() {
            None => Ok(String::new()),
            Some((name, value)) if value.is_empty() && !segment.contains(['=', '&']) => Ok(name.into_owned()),
            Some(_) => Err(Refusal::NotFound),
        }
    };
    path.trim_start_matches('/').trim_end_matches('/').split('/').map(segment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_its_methods() {
        let not_allowed = |allow| Err(Refusal::MethodNotAllowed { allow });
        let read = Route::Read { resource_type: "Patient", id: "1" };
        let cases: &[(Method, &str, Result<Route<'_>, Refusal>)] = &[
            (Method::POST, "", Ok(Route::Bundle)),
            (Method::GET, "", not_allowed("POST, OPTIONS")),
            (Method::GET, "Patient", Ok(Route::Search { resource_type: "Patient" })),
            (Method::POST, "Patient/_search", Ok(Route::SearchByPost { resource_type: "Patient" })),
            (Method::GET, "Patient/_search", not_allowed("POST, OPTIONS")),
            (Method::GET, "Patient/1", Ok(read)),
            (Method::HEAD, "Patient/1", Ok(read)),
            (Method::PATCH, "Patient/1", Ok(Route::Patch { resource_type: "Patient", id: "1" })),
            (Method::POST, "Patient/1", not_allowed("GET, HEAD, PUT, PATCH, DELETE, OPTIONS")),
            (Method::DELETE, "Patient", Ok(Route::DeleteByCondition { resource_type: "Patient" })),
            (Method::TRACE, "Patient", not_allowed("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")),
            (Method::PATCH, "AuditEvent", not_allowed("GET, HEAD, OPTIONS")),
            (Method::PUT, "AuditEvent/1", not_allowed("GET, HEAD, OPTIONS")),
            (Method::POST, "AuditEvent", not_allowed("GET, HEAD, OPTIONS")),
            (Method::GET, "AuditEvent/1/_history", not_allowed("OPTIONS")),
            (Method::GET, "Patient/1/_history", Ok(Route::History { of: history::Of::Resource("Patient", "1") })),
            (Method::GET, "Patient/_history", Ok(Route::History { of: history::Of::Type("Patient") })),
            (Method::GET, "_history", Ok(Route::History { of: history::Of::All })),
            (Method::GET, "AuditEvent/_history", not_allowed("OPTIONS")),
            (Method::PUT, "Subscription/1", Ok(Route::Update { resource_type: "Subscription", id: "1" })),
            (Method::PUT, "Subscription", not_allowed("GET, HEAD, POST, OPTIONS")),
            (Method::GET, "Subscription/1/_history", not_allowed("OPTIONS")),
            (Method::GET, "Subscription/1/_history/1", not_allowed("OPTIONS")),
            (
                Method::GET,
                "Patient/1/$subject",
                Ok(Route::Operation { resource_type: "Patient", id: Some("1"), name: "$subject" }),
            ),
            (Method::GET, "$export", Ok(Route::Export { of: export::Of::System })),
            (Method::POST, "Patient/$export", Ok(Route::Export { of: export::Of::Patients })),
            (Method::GET, "Group/1/$export", Ok(Route::Export { of: export::Of::Group("1") })),
            (Method::PUT, "$export", not_allowed("GET, HEAD, POST, OPTIONS")),
            (Method::DELETE, "bulk/1", Ok(Route::ExportStatus { job: "1" })),
            (Method::PUT, "bulk/1", not_allowed("GET, HEAD, DELETE, OPTIONS")),
            (Method::GET, "bulk/1/0.ndjson", Ok(Route::ExportFile { job: "1", file: "0.ndjson" })),
            (Method::DELETE, "bulk/1/0.ndjson", not_allowed("GET, HEAD, OPTIONS")),
            (Method::GET, "Patient/1/*", Ok(Route::Compartment { id: "1" })),
            (
                Method::GET,
                "Patient/1/Observation",
                Ok(Route::SearchCompartment { id: "1", resource_type: "Observation" }),
            ),
            (Method::GET, "Patient/1/2/3/4", Err(Refusal::NotFound)),
            (Method::GET, "Patient/\u{fc}/*", Err(Refusal::NotFound)),
            (Method::GET, "Patient/a b/Observation", Err(Refusal::NotFound)),
            (Method::POST, "Patient/_/Observation/_search", Err(Refusal::NotFound)),
            (Method::POST, "Patient/_/$validate", Err(Refusal::NotFound)),
            (Method::DELETE, "Patient/a_b", Err(Refusal::NotFound)),
            // What changes something, or is told of a body, is no GET.
            (Method::GET, "Patient/1/$attest", not_allowed("POST, OPTIONS")),
            (Method::GET, "CoverageEligibilityRequest/$submit", not_allowed("POST, OPTIONS")),
            (Method::GET, "Patient/1/$validate", not_allowed("POST, OPTIONS")),
        ];
        for (method, path, expected) in cases {
            let segments: Vec<&str> = path.split('/').collect();
            assert_eq!(Route::of(method, &segments), *expected, "{method} {path}");
        }
    }

    #[test]
    fn what_fhir_has_and_this_server_does_not_is_named_and_not_absent() {
        for path in [
            "_search",
            "$match",
            "Patient/$match",
            "Patient/1/$match",
            "Encounter/1/Observation",
            "Encounter/1/*",
            "Patient/1/Spaceship",
        ] {
            let segments: Vec<&str> = path.split('/').collect();
            for method in [Method::GET, Method::POST] {
                assert!(matches!(Route::of(&method, &segments), Err(Refusal::Unsupported(_))), "{method} {path}");
            }
        }
    }

    #[test]
    fn segments_are_decoded_one_by_one() {
        assert_eq!(decoded("/a/b%2Fc/"), Ok(vec!["a".to_string(), "b/c".to_string()]));
        assert_eq!(decoded("/a+b"), Ok(vec!["a+b".to_string()]));
        assert_eq!(decoded("/a=b"), Err(Refusal::NotFound));
    }
}
