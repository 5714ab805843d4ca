//! `sim`: the ledger's own test, for as many seeds as one has time for.

use careledger_app::sim;
use clap::Args;

use super::{Failure, Result};

/// Seeds between two lines of progress.
const SEEDS_PER_LINE: u64 = 1_000;
/// Seeds with which one long life is played.
const SEEDS_PER_LIFE: u64 = 4;

/// Play networks from seeds, with crashes and lies, against a model of the rules.
///
/// Each seed is a script: who sends what, which replica proposes, crashes, lies, or joins from a
/// snapshot. A script that breaks a promise is made as short as it gets and printed; the same seed
/// gives the same script everywhere. Seeds from 4294967296 on are long lives: chains that come to every
/// format of the state by vote, under quotas; one is played with every fourth seed. Touches no files and no network.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  careledgerd sim --seeds 5000
  careledgerd sim --from 1234 --seeds 1 --show")]
pub struct Sim {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Prints the scripts too.
    #[arg(long)]
    show: bool,
}

impl Sim {
    pub fn run(self) -> Result<()> {
        let end = self.from.saturating_add(self.seeds);
        let mut sum = sim::Report::default();
        let mut start = self.from;
        while start < end {
            let next = end.min(start + SEEDS_PER_LINE);
            let lives = (start..next).filter(|seed| *seed < sim::LIVES_FROM && seed.is_multiple_of(SEEDS_PER_LIFE));
            let seeds: Vec<u64> = (start..next).chain(lives.map(|seed| sim::LIVES_FROM + seed)).collect();
            if self.show {
                seeds.iter().for_each(|seed| print!("seed {seed}:\n{}", sim::Script::of_seed(*seed)));
            }
            let played: std::result::Result<Vec<_>, _> = sim::run_each(&seeds).into_iter().collect();
            for report in played.map_err(|failure| Failure::new(failure.to_string()))? {
                sum.add(&report);
            }
            println!(
                "seeds {} to {}: {} blocks, {} transactions kept out",
                self.from,
                next - 1,
                sum.blocks,
                sum.kept_out
            );
            start = next;
        }
        println!("{} upgrades, {} chains through every format; answers to transactions:", sum.upgrades, sum.lives);
        sum.answers.iter().for_each(|(answer, count)| println!("{count:>9} {answer}"));
        println!("to proposals of those who do as they like:");
        sum.proposals.iter().for_each(|(answer, count)| println!("{count:>9} {answer}"));
        Ok(())
    }
}
