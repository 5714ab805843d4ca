//! A bounded, repeatable run of the fuzz targets, for ordinary tests: every committed input, and
//! mutations of it that a seed draws.
//!
//! It is no substitute for libFuzzer, which follows coverage; it keeps what libFuzzer once found
//! from coming back, on every run of the tests, with nothing to install.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Instant,
};

/// A decoder of what strangers send: whether it accepted these bytes. It panics where a promise is
/// broken, on bytes that it accepts or refuses alike.
pub type Target = fn(&[u8]) -> bool;

/// A committed input: of which target, its name, its bytes.
pub type Seed = (&'static str, String, Vec<u8>);

/// Longest mutated input, in bytes: no slower than what is committed.
const BYTES_MAX: usize = 8 * 1024;
/// Inputs that the run has added to those committed.
const POOL_MAX: usize = 512;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// Folder of the inputs of a target, named by the fuzzer's habit.
fn corpus(root: &Path, target: &str) -> PathBuf {
    root.join("corpus").join(target)
}

/// The committed inputs of a target, in the order of their names.
fn inputs(root: &Path, target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = corpus(root, target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut inputs: Vec<_> = entries
        .map(|entry| entry.expect("the folder is readable"))
        .map(|entry| {
            let name = entry.file_name().into_string().expect("names are ASCII");
            (name, fs::read(entry.path()).expect("the input is readable"))
        })
        .collect();
    inputs.sort();
    inputs
}

/// Every one of `seeds` is committed, and each target has its program for libFuzzer. `UPDATE_CORPUS=1` writes
/// what is missing of the former.
///
/// # Panics
/// Where something is missing, with its name.
pub fn check_committed(root: &Path, seeds: Vec<Seed>, targets: &[(&str, Target, usize)]) {
    for (target, name, bytes) in seeds {
        let folder = corpus(root, target);
        let path = folder.join(&name);
        if env::var_os("UPDATE_CORPUS").is_some() && !path.exists() {
            fs::create_dir_all(&folder).expect("the corpus can be written");
            fs::write(&path, &bytes).expect("the corpus can be written");
        }
        assert!(path.exists(), "{target}/{name} is missing: run with UPDATE_CORPUS=1");
    }
    for (target, ..) in targets {
        assert!(root.join(format!("fuzz_targets/{target}.rs")).exists(), "libFuzzer does not run {target}");
    }
}

/// Plays every committed input of a target and `executions` mutations, and says how many there were.
/// `FUZZ_TIMES=50` plays fifty times as many.
///
/// # Panics
/// Where the target does, after the input was printed; where no committed input is accepted, or no
/// mutation refused: such a target would try nothing.
pub fn run(root: &Path, target: &str, decode: Target, executions: usize) {
    let begun = Instant::now();
    let times = env::var("FUZZ_TIMES").map_or(1, |text| text.parse().expect("FUZZ_TIMES is a number"));
    let executions = executions * times;
    let mut pool: Vec<Vec<u8>> = Vec::new();
    let mut accepted = 0;
    for (name, bytes) in inputs(root, target) {
        let shown = Shown { target, what: name, bytes: &bytes };
        accepted += usize::from(decode(&bytes));
        drop(shown);
        pool.push(bytes);
    }
    assert!(accepted > 0, "{target} accepts nothing of its corpus");
    let (committed, mut refused, mut taken) = (pool.len(), 0, 0);
    // The name is the seed, so that targets do not share their mutations.
    let mut random = Random(target.bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31) ^ u64::from(byte)));
    for execution in 0..executions {
        let bytes = mutated(&pool, &mut random);
        let shown = Shown { target, what: format!("mutation {execution}"), bytes: &bytes };
        let is_accepted = decode(&bytes);
        drop(shown);
        if !is_accepted {
            refused += 1;
        } else {
            taken += 1;
            // What is still accepted leads further than what is refused at once.
            if pool.len() < committed + POOL_MAX {
                pool.push(bytes);
            }
        }
    }
    assert!(refused > 0, "{target} refuses nothing");
    println!(
        "{target}: {} executions ({committed} committed inputs; of the mutations {taken} accepted, {refused} refused), {} ms",
        committed + executions,
        begun.elapsed().as_millis()
    );
}

/// Prints the input where the target panics: as hexadecimal, ready for the corpus.
struct Shown<'a> {
    target: &'a str,
    what: String,
    bytes: &'a [u8],
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let digits: String = self.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            eprintln!("{} stopped at {}: {digits}", self.target, self.what);
        }
    }
}

/// One to four changes of one of the inputs.
fn mutated(pool: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = pool[random.below(pool.len())].clone();
    for _ in 0..=random.below(4) {
        mutate(&mut bytes, pool, random);
    }
    bytes.truncate(BYTES_MAX.max(pool[0].len()));
    bytes
}

fn mutate(bytes: &mut Vec<u8>, pool: &[Vec<u8>], random: &mut Random) {
    if bytes.is_empty() {
        bytes.push(random.byte());
        return;
    }
    let at = random.below(bytes.len());
    match random.below(9) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.byte(),
        // Ends of ranges, and what text is made of.
        2 => {
            bytes[at] = *b"\x00\x01\x7f\x80\xff\x20\x22\x27\x2d\x2e\x30\x39\x5b\x5c\x5d\x7b\x7d\x7c\x24\x26\x3d"
                .get(random.below(21))
                .expect("there are 21")
        }
        3 => bytes.truncate(at),
        4 => bytes.insert(at, random.byte()),
        5 => {
            let end = (at + 1 + random.below(16)).min(bytes.len());
            bytes.drain(at..end);
        }
        6 => {
            let end = (at + 1 + random.below(32)).min(bytes.len());
            let copied = bytes[at..end].to_vec();
            let to = random.below(bytes.len() + 1);
            bytes.splice(to..to, copied);
        }
        7 => {
            let other = &pool[random.below(pool.len())];
            if !other.is_empty() {
                let from = random.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
        _ => {
            // A number's place, whatever its width and order.
            let width = [2, 4, 8][random.below(3)];
            let number = [0, 1, u64::MAX, i64::MAX as u64, 1 << 31, 1 << 63, random.next()][random.below(7)];
            let number = if random.below(2) == 0 { number.to_be_bytes() } else { number.to_le_bytes() };
            for (place, byte) in bytes[at..].iter_mut().zip(&number[..width]) {
                *place = *byte;
            }
        }
    }
}
