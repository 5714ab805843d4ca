//! Method and path to interaction, as one table.

use actix_web::http::Method;

use crate::outcome::Refusal;

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
    Delete { resource_type: &'a str, id: &'a str },
    History { resource_type: &'a str, id: &'a str },
    Operation { resource_type: &'a str, id: Option<&'a str>, name: &'a str },
}

impl<'a> Route<'a> {
    /// The interaction at a path below `/{organization}/fhir`.
    ///
    /// # Errors
    /// [`Refusal::MethodNotAllowed`] where another method would do, [`Refusal::NotFound`] where
    /// none would.
    pub fn of(method: &Method, segments: &[&'a str]) -> Result<Self, Refusal> {
        // HEAD is GET whose body stays away.
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let by_method = |routes: &[(&Method, Self)]| {
            let found = routes.iter().find(|(allowed, _)| *allowed == method);
            found.map(|(_, route)| *route).ok_or(Refusal::MethodNotAllowed)
        };
        match *segments {
            [] | [""] => by_method(&[(&Method::POST, Self::Bundle)]),
            // `GET metadata` needs no token and is answered before this is asked.
            ["metadata"] => Err(Refusal::MethodNotAllowed),
            [resource_type, "_search"] => by_method(&[(&Method::POST, Self::SearchByPost { resource_type })]),
            [resource_type, name] if name.starts_with('$') => {
                by_method(&[(&Method::POST, Self::Operation { resource_type, id: None, name })])
            }
            [resource_type, id, name] if name.starts_with('$') => {
                let operation = Self::Operation { resource_type, id: Some(id), name };
                by_method(&[(&Method::POST, operation), (&Method::GET, operation)])
            }
            [resource_type] => by_method(&[
                (&Method::GET, Self::Search { resource_type }),
                (&Method::POST, Self::Create { resource_type }),
            ]),
            [resource_type, id] => by_method(&[
                (&Method::GET, Self::Read { resource_type, id }),
                (&Method::PUT, Self::Update { resource_type, id }),
                (&Method::DELETE, Self::Delete { resource_type, id }),
            ]),
            [resource_type, id, "_history"] => by_method(&[(&Method::GET, Self::History { resource_type, id })]),
            [resource_type, id, "_history", version] => {
                by_method(&[(&Method::GET, Self::Vread { resource_type, id, version })])
            }
            _ => Err(Refusal::NotFound),
        }
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
        let read = Route::Read { resource_type: "Patient", id: "1" };
        let cases: &[(Method, &str, Result<Route<'_>, Refusal>)] = &[
            (Method::POST, "", Ok(Route::Bundle)),
            (Method::GET, "", Err(Refusal::MethodNotAllowed)),
            (Method::POST, "metadata", Err(Refusal::MethodNotAllowed)),
            (Method::GET, "Patient", Ok(Route::Search { resource_type: "Patient" })),
            (Method::POST, "Patient/_search", Ok(Route::SearchByPost { resource_type: "Patient" })),
            (Method::GET, "Patient/_search", Err(Refusal::MethodNotAllowed)),
            (Method::GET, "Patient/1", Ok(read)),
            (Method::HEAD, "Patient/1", Ok(read)),
            (Method::PATCH, "Patient/1", Err(Refusal::MethodNotAllowed)),
            (Method::DELETE, "Patient", Err(Refusal::MethodNotAllowed)),
            (Method::GET, "Patient/1/_history", Ok(Route::History { resource_type: "Patient", id: "1" })),
            (
                Method::GET,
                "Patient/1/$subject",
                Ok(Route::Operation { resource_type: "Patient", id: Some("1"), name: "$subject" }),
            ),
            (Method::GET, "Patient/1/2/3/4", Err(Refusal::NotFound)),
        ];
        for (method, path, expected) in cases {
            let segments: Vec<&str> = path.split('/').collect();
            assert_eq!(Route::of(method, &segments), *expected, "{method} {path}");
        }
    }

    #[test]
    fn segments_are_decoded_one_by_one() {
        assert_eq!(decoded("/a/b%2Fc/"), Ok(vec!["a".to_string(), "b/c".to_string()]));
        assert_eq!(decoded("/a+b"), Ok(vec!["a+b".to_string()]));
        assert_eq!(decoded("/a=b"), Err(Refusal::NotFound));
    }
}
