//! Networks from seeds: whatever crashes, comes twice, comes torn or lies, replicas agree with each
//! other and with the model. `careledgerd sim --seeds 5000` runs many.

use careledger_app::sim;

/// Seeds that every run of the tests plays.
const SEEDS: u64 = 40;

#[test]
fn replicas_and_model_agree_whatever_happens() {
    let mut sum = [0; 4];
    for seed in 0..SEEDS {
        let report = sim::run(seed).unwrap_or_else(|failure| panic!("{failure}"));
        for (sum, count) in sum.iter_mut().zip([report.blocks, report.done, report.refused, report.kept_out]) {
            *sum += count;
        }
    }
    let [blocks, done, refused, kept_out] = sum;
    // A simulation in which nothing happens finds nothing.
    assert!(blocks > 5 * SEEDS && done > 15 * SEEDS && refused > 5 * SEEDS && kept_out > 3 * SEEDS, "{sum:?}");
}

#[test]
fn a_seed_gives_one_script_for_ever() {
    let script = sim::Script::of_seed(7).to_string();
    let digest = careledger_wire::commitment::hash("test", &[script.as_bytes()]);
    assert_eq!(sim::Script::of_seed(7).to_string(), script);
    assert_ne!(sim::Script::of_seed(8).to_string(), script);
    assert_eq!(hex::encode(&digest[..8]), "d8e658a92624faa0", "seeds in old reports must go on meaning the same");
}
