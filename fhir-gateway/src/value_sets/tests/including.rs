//! Value sets that include one another, however they do.

use proptest::prelude::*;

use super::*;

/// What a set is by its definition alone, without anything being remembered; none where it is in no case told.
fn by_definition(
    sets: &[Vec<Vec<usize>>],
    at: usize,
    open: &mut Vec<usize>,
) -> Option<std::collections::BTreeSet<usize>> {
    if open.contains(&at) || open.len() == DEPTH_MAX {
        return None;
    }
    open.push(at);
    // Each has a code of its own besides.
    let mut all = std::collections::BTreeSet::from([at]);
    for part in &sets[at] {
        let mut each = part.iter().map(|&name| by_definition(sets, name, open));
        let first = each.next().expect("not empty")?;
        let both = each.try_fold(first, |both, one| Some(both.intersection(&one?).copied().collect()))?;
        all.extend(both);
    }
    open.pop();
    Some(all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Diamonds, cycles, chains and repetitions, as they come.
    #[test]
    fn whatever_value_sets_include_one_another_each_is_told_once_and_as_its_definition_says(
        sets in proptest::collection::vec(
            proptest::collection::vec(proptest::collection::vec(0_usize..7, 1..4), 0..3), 7),
    ) {
        let name = |at: usize| if at == 0 { "one".to_owned() } else { format!("n{at}") };
        let value = |at: usize, parts: &Vec<Vec<usize>>| {
            let own = concepts("s", &[&at.to_string()]);
            let parts = parts.iter().map(|part| {
                json!({"valueSet": part.iter().map(|&at| format!("http://vs/{}", name(at))).collect::<Vec<_>>()})
            });
            (name(at), include(json!(std::iter::once(own).chain(parts).collect::<Vec<_>>())))
        };
        let values: Vec<(String, Value)> = sets.iter().enumerate().map(|(at, parts)| value(at, parts)).collect();
        let mut budget = Budget::default();
        let told = told_for(&named_so(&values), &mut budget);
        match by_definition(&sets, 0, &mut Vec::new()) {
            Some(codes) => {
                let expected: Vec<String> = codes.iter().map(|code| format!("s|{code}")).collect();
                prop_assert_eq!(told, expected.join(" "));
            }
            None => prop_assert!(told.contains("includes what includes it"), "{}", told),
        }
        // At most one telling of each: every include is followed once, and pays for seven codes and a system at most.
        let includes: usize = sets.iter().flatten().map(Vec::len).sum();
        let parts: usize = sets.iter().map(|parts| 2 + parts.len()).sum();
        prop_assert!(budget.spent(Kind::Imports) <= includes);
        prop_assert!(budget.spent(Kind::Looks) <= includes * 8 + parts);
        prop_assert!(budget.spent(Kind::Kept) <= 7 * 8);
    }
}
