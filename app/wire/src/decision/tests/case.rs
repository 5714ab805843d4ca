//! One ground, one request and one record, which the ground opens; and what a test changes of them.

use super::*;
use crate::{proto::state::OpenReview, terms::Terms};

pub(super) const NOW: i64 = 1_000_000;
pub(super) const SALT: [u8; 32] = [9; 32];

pub(super) fn address(byte: u8) -> Address {
    Address::new([byte; 20])
}

pub(super) fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

pub(super) fn terms() -> Terms {
    Terms {
        organization: address(1),
        practitioner: Some(address(2)),
        roles: [PractitionerRole::Physician].into(),
        purposes: set(&["TREAT"]),
        resource_types: set(&["DocumentReference"]),
        data_period: Some(Seconds { start: 100, end: 200 }),
        labels: set(&["PSY"]),
    }
}

pub(super) fn grant_of(terms: &Terms) -> Grant {
    Grant {
        grantee: terms.organization.to_vec(),
        mode: ConsentMode::View as i32,
        not_before: NOW - 10,
        expires_at: NOW + 10,
        terms: terms.commitment(&SALT).to_vec(),
        ..Grant::default()
    }
}

pub(super) fn organization() -> Organization {
    Organization { expires_at: NOW + 5, emergency: true, ..Organization::default() }
}

/// One ground, one request and one record, which the ground opens.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) grounds: Grounds,
    pub(super) request: Request,
    pub(super) facts: Facts,
}

pub(super) fn case_of(terms: Terms) -> Case {
    let candidate = Candidate {
        grant: GrantId::new([5; 32]),
        state: Some(grant_of(&terms)),
        opened: Some(Opened { terms, salt: SALT }),
        parent: None,
    };
    let enrolment =
        Practitioner { expires_at: NOW + 5, role: PractitionerRole::Physician as i32, ..Practitioner::default() };
    let actor = Actor::Practitioner {
        organization: address(1),
        standing: Some(organization()),
        practitioner: address(2),
        enrolment: Some(enrolment),
    };
    Case {
        grounds: Grounds { grants: vec![candidate], ..Grounds::default() },
        request: Request { actor, purpose: "TREAT".to_owned(), mode: ConsentMode::View, now: NOW },
        facts: Facts {
            resource_type: "DocumentReference".to_owned(),
            about: Some(Seconds { start: 150, end: 151 }),
            labels: set(&["N", "PSY"]),
        },
    }
}

pub(super) fn granted() -> Case {
    case_of(terms())
}

/// The grant was delegated by organization 3, whose own grant opens the same.
pub(super) fn delegated() -> Case {
    let mut case = granted();
    let given = Terms { organization: address(3), practitioner: None, roles: BTreeSet::new(), ..terms() };
    case.grant().parent = vec![6; 32];
    case.grounds.grants[0].parent = Some(Parent {
        grant: GrantId::new([6; 32]),
        state: Some(Grant { delegable: true, ..grant_of(&given) }),
        opened: Some(Opened { terms: given, salt: SALT }),
        standing: Some(organization()),
    });
    case
}

/// There is no grant, but an emergency.
pub(super) fn emergency() -> Case {
    let mut case = granted();
    let emergency = Emergency {
        organization: address(1).to_vec(),
        practitioner: address(2).to_vec(),
        opened_at: NOW - 10,
        expires_at: NOW + 10,
        review_by: NOW + 20,
        ..Emergency::default()
    };
    let review = OpenReview { review_by: NOW + 20, ..OpenReview::default() };
    case.grounds = Grounds {
        grants: Vec::new(),
        emergencies: vec![(EmergencyId::new([7; 32]), Some(emergency))],
        reviews: EmergencyReviews { open: vec![review] },
    };
    case.request.purpose = "ETREAT".to_owned();
    case
}

/// The subject's guardian asks.
pub(super) fn guardian() -> Case {
    let mut case = granted();
    case.request.actor = Actor::Guardian {
        guardian: address(4),
        guardianship: Some(Guardianship { until: NOW + 10, ..Guardianship::default() }),
    };
    case.facts.labels = set(&["N"]);
    case
}

impl Case {
    pub(super) fn grant(&mut self) -> &mut Grant {
        self.grounds.grants[0].state.as_mut().unwrap()
    }

    pub(super) fn parent(&mut self) -> &mut Parent {
        self.grounds.grants[0].parent.as_mut().unwrap()
    }

    pub(super) fn given(&mut self) -> &mut Grant {
        self.parent().state.as_mut().unwrap()
    }

    pub(super) fn emergency(&mut self) -> &mut Emergency {
        self.grounds.emergencies[0].1.as_mut().unwrap()
    }

    pub(super) fn standing(&mut self) -> &mut Organization {
        let Actor::Practitioner { standing, .. } = &mut self.request.actor else { panic!("a practitioner") };
        standing.as_mut().unwrap()
    }

    pub(super) fn enrolment(&mut self) -> &mut Practitioner {
        let Actor::Practitioner { enrolment, .. } = &mut self.request.actor else { panic!("a practitioner") };
        enrolment.as_mut().unwrap()
    }

    pub(super) fn guardianship(&mut self) -> &mut Option<Guardianship> {
        let Actor::Guardian { guardianship, .. } = &mut self.request.actor else { panic!("a guardian") };
        guardianship
    }

    /// The patient signed other terms, and the ledger agrees.
    pub(super) fn sign(&mut self, change: impl FnOnce(&mut Terms)) {
        let mut terms = terms();
        change(&mut terms);
        self.grant().terms = terms.commitment(&SALT).to_vec();
        self.grounds.grants[0].opened = Some(Opened { terms, salt: SALT });
    }

    /// The patient signed other terms with the organization that delegated.
    pub(super) fn sign_parent(&mut self, change: impl FnOnce(&mut Terms)) {
        let mut terms = Terms { organization: address(3), ..terms() };
        change(&mut terms);
        self.given().terms = terms.commitment(&SALT).to_vec();
        self.parent().opened = Some(Opened { terms, salt: SALT });
    }

    pub(super) fn decide(&self) -> Decision {
        decide(&self.grounds, &self.request, &self.facts)
    }
}
