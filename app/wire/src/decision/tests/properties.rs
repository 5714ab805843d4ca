//! What holds of any number of grounds, in any order.

use proptest::prelude::*;

use super::*;

/// Grants and emergencies with and without a defect. Ids may repeat.
fn grounds() -> impl Strategy<Value = Grounds> {
    let grant = (0_u8..4, 0_u8..9).prop_map(|(id, defect)| {
        let mut case = if defect == 8 { delegated() } else { granted() };
        match defect {
            1 => case.grounds.grants[0].state = None,
            2 => case.grant().revoked_at = 1,
            3 => case.grant().expires_at = NOW,
            4 => case.grounds.grants[0].opened = None,
            5 => case.sign(|terms| terms.purposes = set(&["HPAYMT"])),
            6 => case.sign(|terms| terms.resource_types = set(&["Condition"])),
            7 => case.grant().parent = vec![6; 32],
            _ => {}
        }
        let mut candidate = case.grounds.grants.remove(0);
        candidate.grant = GrantId::new([id; 32]);
        candidate
    });
    let opened = (0_u8..4, 0_u8..3).prop_map(|(id, defect)| {
        let mut case = emergency();
        match defect {
            1 => case.emergency().expires_at = NOW,
            2 => case.emergency().practitioner = address(8).to_vec(),
            _ => {}
        }
        (EmergencyId::new([id; 32]), case.grounds.emergencies.remove(0).1)
    });
    (proptest::collection::vec(grant, 0..6), proptest::collection::vec(opened, 0..4))
        .prop_map(|(grants, emergencies)| Grounds { grants, emergencies, reviews: EmergencyReviews::default() })
}

fn shuffled() -> impl Strategy<Value = (Grounds, Grounds)> {
    grounds().prop_flat_map(|all| {
        let parts = (Just(all.grants.clone()).prop_shuffle(), Just(all.emergencies.clone()).prop_shuffle());
        let turned = parts.prop_map(|(grants, emergencies)| Grounds { grants, emergencies, ..Grounds::default() });
        (Just(all), turned)
    })
}

proptest! {
    #[test]
    fn the_order_of_consents_never_changes_the_outcome((straight, turned) in shuffled()) {
        let case = granted();
        prop_assert_eq!(
            decide(&straight, &case.request, &case.facts),
            decide(&turned, &case.request, &case.facts)
        );
    }

    #[test]
    fn a_record_is_open_exactly_when_one_ground_alone_opens_it((all, _) in shuffled()) {
        let case = granted();
        let grants = all.grants.iter().map(|one| Grounds { grants: vec![one.clone()], ..Grounds::default() });
        let emergencies =
            all.emergencies.iter().map(|one| Grounds { emergencies: vec![one.clone()], ..Grounds::default() });
        let alone = grants.chain(emergencies).any(|one| decide(&one, &case.request, &case.facts).is_permit());
        prop_assert_eq!(decide(&all, &case.request, &case.facts).is_permit(), alone);
    }

    /// What no record opens is closed for each record, and the rule named is the same.
    #[test]
    fn a_grant_that_is_closed_is_closed_for_every_record((all, _) in shuffled()) {
        let case = granted();
        for candidate in &all.grants {
            let closed = broken_by_grant(candidate, &case.request, None);
            let own = closed.filter(|broken| broken.link == Link::Own);
            if own.is_some() {
                prop_assert_eq!(broken_by_grant(candidate, &case.request, Some(&case.facts)), own);
            }
            prop_assert!(closed.is_none() || broken_by_grant(candidate, &case.request, Some(&case.facts)).is_some());
        }
    }
}
