//! What validators agree on, and which of them cannot be asked.

use std::time::Duration;

use crate::failure::Failure;
use crate::home::wait;
use crate::rpc::Rpc;

/// How long the first block, or the one after a change, may take. The first is due after 1 to 2 seconds.
const BLOCK_TIME_MAX: Duration = Duration::from_secs(60);
/// How many heights back are compared.
const HEIGHTS_COMPARED_MAX: u64 = 20;

/// What validators agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The highest block that all of them have.
    pub height: u64,
}

/// Validators with their numbers.
type Numbered<'rpcs> = Vec<(usize, &'rpcs Rpc)>;

/// Checks that all validators answer and have the same blocks and app hashes at the last heights. Where some do
/// not answer, the failure names them and says what holds of the others.
pub fn agreement(rpcs: &[Rpc]) -> Result<Agreed, Failure> {
    let (answering, silent) = ask(rpcs);
    complete(compare(&answering), &silent, "")
}

/// Checks the same before and after one more block. `nudge` makes the network want one; it is given a validator
/// that answers and the height before.
pub fn progress(rpcs: &[Rpc], nudge: impl FnOnce(&Rpc, u64) -> Result<(), Failure>) -> Result<Agreed, Failure> {
    let (answering, silent) = ask(rpcs);
    let moved = compare(&answering).and_then(|Agreed { height: before }| {
        if let Some((_, rpc)) = answering.first() {
            nudge(rpc, before)?;
        }
        reach(&answering, before + 1)?;
        compare(&answering)
    });
    complete(moved, &silent, " and move on")
}

/// Waits until every validator has the block at `height`.
pub fn wait_for_height(rpcs: &[Rpc], height: u64) -> Result<(), Failure> {
    reach(&rpcs.iter().enumerate().collect(), height)
}

fn reach(validators: &Numbered<'_>, height: u64) -> Result<(), Failure> {
    for (index, rpc) in validators {
        wait(&format!("validator {index} to reach height {height}"), BLOCK_TIME_MAX, || {
            rpc.tip().is_ok_and(|tip| tip.height >= height && !tip.catching_up)
        })?;
    }
    Ok(())
}

/// Those that answer, and the numbers of those that do not.
fn ask(rpcs: &[Rpc]) -> (Numbered<'_>, Vec<usize>) {
    let (answering, silent): (Numbered<'_>, Numbered<'_>) =
        rpcs.iter().enumerate().partition(|(_, rpc)| rpc.tip().is_ok());
    (answering, silent.into_iter().map(|(index, _)| index).collect())
}

fn compare(validators: &Numbered<'_>) -> Result<Agreed, Failure> {
    let Some((first, _)) = validators.first() else {
        return Err(Failure::Check("nobody answers".into()));
    };
    let tips = validators.iter().map(|(_, rpc)| rpc.tip()).collect::<Result<Vec<_>, _>>()?;
    let new: Vec<usize> =
        validators.iter().zip(&tips).filter(|(_, tip)| tip.height == 0).map(|((index, _), _)| *index).collect();
    if !new.is_empty() {
        return Err(Failure::Check(format!(
            "{} {} no block yet",
            named(&new),
            if new.len() == 1 { "has" } else { "have" }
        )));
    }
    let lowest = tips.iter().map(|tip| tip.height).min().unwrap_or(0);
    // One that joined from a snapshot has no block before it.
    let firsts = validators.iter().map(|(_, rpc)| rpc.earliest()).collect::<Result<Vec<_>, _>>()?;
    let first_common = firsts.into_iter().max().unwrap_or(1);
    if first_common > lowest {
        return Err(Failure::Check(format!(
            "no block is common: one has those from {first_common} on, one up to {lowest}"
        )));
    }
    for height in lowest.saturating_sub(HEIGHTS_COMPARED_MAX).max(first_common)..=lowest {
        let views = validators.iter().map(|(_, rpc)| rpc.agreement(height)).collect::<Result<Vec<_>, _>>()?;
        if let Some(odd) = views.iter().position(|view| *view != views[0]) {
            return Err(Failure::Check(format!(
                "at height {height} validator {first} has {:?} and validator {} has {:?}",
                views[0], validators[odd].0, views[odd]
            )));
        }
    }
    Ok(Agreed { height: lowest })
}

/// What holds of those that answer is no agreement while somebody is silent.
fn complete(of_the_others: Result<Agreed, Failure>, silent: &[usize], and: &str) -> Result<Agreed, Failure> {
    if silent.is_empty() {
        return of_the_others;
    }
    let silent = format!("{} {} not answer", named(silent), if silent.len() == 1 { "does" } else { "do" });
    Err(Failure::Check(match of_the_others {
        Ok(Agreed { height }) => format!("{silent}; the others agree up to height {height}{and}"),
        Err(failure) => format!("{silent}; of the others: {failure}"),
    }))
}

/// `validator 3`, `validators 0, 1 and 2`.
fn named(validators: &[usize]) -> String {
    let numbers: Vec<_> = validators.iter().map(usize::to_string).collect();
    match &numbers[..] {
        [one] => format!("validator {one}"),
        [others @ .., last] => format!("validators {} and {last}", others.join(", ")),
        [] => "no validator".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validators_are_named_as_one_says_them() {
        for (numbers, said) in
            [(&[3][..], "validator 3"), (&[1, 2], "validators 1 and 2"), (&[0, 1, 2], "validators 0, 1 and 2")]
        {
            assert_eq!(named(numbers), said);
        }
    }

    #[test]
    fn who_does_not_answer_is_named_whatever_holds_of_the_others() {
        let said = |others, silent: &[usize]| complete(others, silent, " and move on").unwrap_err().to_string();
        let wanted = "validator 3 does not answer; the others agree up to height 7 and move on";
        assert_eq!(said(Ok(Agreed { height: 7 }), &[3]), wanted);
        let stuck = Err(Failure::Check("waited 60 s".into()));
        assert_eq!(said(stuck, &[2, 3]), "validators 2 and 3 do not answer; of the others: waited 60 s");
        let nobody = agreement(&[Rpc::new("http://127.0.0.1:1"), Rpc::new("http://127.0.0.1:1")]);
        assert_eq!(nobody.unwrap_err().to_string(), "validators 0 and 1 do not answer; of the others: nobody answers");
    }
}
