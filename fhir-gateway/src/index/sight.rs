//! What a caller may see, as a condition of every query on the index: what is out of sight is
//! neither found, nor counted, nor does it make anything else be found.

use sea_query::{Cond, Expr, ExprTrait as _};

use super::select;
use crate::{resources::Resource, search::Criterion};

/// What a caller may see, by type. A type that is in none of the lists is out of sight.
#[derive(Debug, Clone, Default)]
pub struct Sight {
    /// Types of which the caller may see everything.
    pub whole: Vec<&'static str>,
    /// Types of which the caller may see what is about `patient`.
    pub own: Vec<&'static str>,
    /// The patient to whom the caller is limited.
    pub patient: Option<String>,
    /// Types of which the caller may see what meets search parameters.
    pub limited: Vec<Limited>,
}

/// A type of which some resources are seen.
#[derive(Debug, Clone)]
pub struct Limited {
    /// The type.
    pub resource: &'static Resource,
    /// Any of them will do.
    pub parts: Vec<Part>,
}

/// Some resources of a type.
#[derive(Debug, Clone)]
pub struct Part {
    /// Whether they are the patient's own.
    pub is_own: bool,
    /// What they meet, all of it.
    pub criteria: Vec<Criterion>,
}

impl Sight {
    /// The condition on a row of `resource`.
    pub fn condition(&self) -> Cond {
        let mut may_see = Cond::any().add(Expr::col(("resource", "type")).is_in(self.whole.clone()));
        if let Some(patient) = &self.patient {
            let is_own = Expr::col(("resource", "type")).is_in(self.own.clone());
            may_see = may_see.add(Cond::all().add(is_own).add(about(patient)));
        }
        self.limited.iter().fold(may_see, |may_see, limited| {
            let is_it = Expr::col(("resource", "type")).eq(limited.resource.name);
            may_see.add(Cond::all().add(is_it).add(limited.condition(self.patient.as_deref())))
        })
    }

    /// The condition on a row of `resource` that is known to be of one type; none where all of it is in sight.
    pub fn of_type(&self, resource_type: &str) -> Option<Cond> {
        self.of(resource_type, |_| true)
    }

    /// As [`Self::of_type`], of what was deleted: it says nothing any more, and so meets no search parameter.
    pub fn of_deleted(&self, resource_type: &str) -> Option<Cond> {
        self.of(resource_type, |part| part.criteria.is_empty())
    }

    fn of(&self, resource_type: &str, counts: impl Fn(&Part) -> bool) -> Option<Cond> {
        if self.whole.contains(&resource_type) {
            return None;
        }
        let patient = self.patient.as_deref();
        if let Some(limited) = self.limited(resource_type) {
            return Some(limited.of_parts(patient, counts));
        }
        // Of one kind of condition, so that the database can look it up.
        Some(Cond::all().add(match patient.filter(|_| self.own.contains(&resource_type)) {
            Some(patient) => own(resource_type, patient),
            None => Expr::cust("FALSE"),
        }))
    }

    /// What of a type is seen, where search parameters decide.
    pub fn limited(&self, resource_type: &str) -> Option<&Limited> {
        self.limited.iter().find(|limited| limited.resource.name == resource_type)
    }

    /// How many values a query names for the sake of a type.
    pub fn weight(&self, resource_type: &str) -> usize {
        let parts = self.limited(resource_type).into_iter().flat_map(|limited| &limited.parts);
        parts.flat_map(|part| &part.criteria).map(|criterion| criterion.wanted.len()).sum()
    }
}

impl Limited {
    /// The criteria that say it all, beside those of the search itself.
    pub(super) fn only_criteria(&self) -> Option<&[Criterion]> {
        match self.parts.as_slice() {
            [part] if !part.is_own => Some(&part.criteria),
            _ => None,
        }
    }

    /// The condition on a row of `resource` that is of this type.
    pub(super) fn condition(&self, patient: Option<&str>) -> Cond {
        self.of_parts(patient, |_| true)
    }

    fn of_parts(&self, patient: Option<&str>, counts: impl Fn(&Part) -> bool) -> Cond {
        let any = Cond::any().add(Expr::cust("FALSE"));
        self.parts.iter().filter(|part| counts(part)).fold(any, |any, part| {
            let about = match (part.is_own, patient) {
                (false, _) => Cond::all(),
                (true, Some(patient)) => Cond::all().add(own(self.resource.name, patient)),
                (true, None) => Cond::all().add(Expr::cust("FALSE")),
            };
            let checks = part.criteria.iter().map(|criterion| select::check(criterion, self.resource));
            any.add(checks.fold(about, Cond::add))
        })
    }
}

/// Of one type, about the patient or the Patient itself.
fn own(resource_type: &str, patient: &str) -> Expr {
    let column = if resource_type == "Patient" { "id" } else { "patient" };
    Expr::col(("resource", column)).eq(patient)
}

/// About the patient, or the Patient itself.
fn about(patient: &str) -> Cond {
    let itself =
        Cond::all().add(Expr::col(("resource", "type")).eq("Patient")).add(Expr::col(("resource", "id")).eq(patient));
    Cond::any().add(Expr::col(("resource", "patient")).eq(patient)).add(itself)
}
