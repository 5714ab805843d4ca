//! What a caller may see, as a condition of every query on the index: what is out of sight is
//! neither found, nor counted, nor does it make anything else be found.

use sea_query::{Cond, Expr, ExprTrait as _};

/// What a caller may see, by type. A type that is in neither list is out of sight.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sight {
    /// Types of which the caller may see everything.
    pub whole: Vec<&'static str>,
    /// Types of which the caller may see what is about `patient`.
    pub own: Vec<&'static str>,
    /// The patient to whom the caller is limited.
    pub patient: Option<String>,
}

impl Sight {
    /// The condition on a row of `table`, which has the columns of `resource`.
    pub fn condition(&self, table: &'static str) -> Cond {
        let may_see = Cond::any().add(Expr::col((table, "type")).is_in(self.whole.clone()));
        match &self.patient {
            Some(patient) => may_see
                .add(Cond::all().add(Expr::col((table, "type")).is_in(self.own.clone())).add(about(table, patient))),
            None => may_see,
        }
    }

    /// The condition on a row that is known to be of one type; none where all of it is in sight.
    pub fn of_type(&self, table: &'static str, resource_type: &str) -> Option<Cond> {
        if self.whole.contains(&resource_type) {
            return None;
        }
        let patient = self.patient.as_deref().filter(|_| self.own.contains(&resource_type));
        // Of one kind of condition, so that the database can look it up.
        Some(Cond::all().add(match patient {
            Some(patient) if resource_type == "Patient" => Expr::col((table, "id")).eq(patient),
            Some(patient) => Expr::col((table, "patient")).eq(patient),
            None => Expr::cust("FALSE"),
        }))
    }
}

/// About the patient, or the Patient itself.
fn about(table: &'static str, patient: &str) -> Cond {
    let itself = Cond::all().add(Expr::col((table, "type")).eq("Patient")).add(Expr::col((table, "id")).eq(patient));
    Cond::any().add(Expr::col((table, "patient")).eq(patient)).add(itself)
}
