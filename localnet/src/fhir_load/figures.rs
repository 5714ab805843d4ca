//! What a server gave, and how two compare.

use std::time::Duration;

use super::senders::Measured;

const BYTES_PER_MEGABYTE: f64 = 1e6;

/// What one server gave with so many patients.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Which server, with how many patients.
    pub name: String,
    /// In the order in which it was asked.
    pub measured: Vec<Measured>,
    /// The most memory that it held; none where the system does not say.
    pub peak_memory_bytes: Option<u64>,
}

impl Figures {
    /// None yet.
    pub fn new(name: String) -> Self {
        Self { name, measured: Vec::new(), peak_memory_bytes: None }
    }

    /// The most memory, in words.
    pub fn memory(&self) -> String {
        let megabytes = |bytes: u64| format!("{:.0} MB", bytes as f64 / BYTES_PER_MEGABYTE);
        self.peak_memory_bytes.map_or_else(|| "not known".to_owned(), megabytes)
    }

    /// Prints these beside others, which were measured alike.
    pub fn compare(&self, other: &Self) {
        say!("\n{} ÷ {}: requests per second, median times, processor time of a request", self.name, other.name);
        for (own, other) in self.measured.iter().zip(&other.measured) {
            let [rate, median, computed] = ratios(own, other).map(shown);
            say!("{:<34} {:>3} connections: {rate}, {median}, {computed}", own.kind.name(), own.connections);
        }
        let memory = self.peak_memory_bytes.zip(other.peak_memory_bytes);
        say!("most memory: {}\n", shown(memory.map(|(own, other)| own as f64 / other as f64)));
    }
}

/// Of requests per second, median times and processor time.
fn ratios(own: &Measured, other: &Measured) -> [Option<f64>; 3] {
    let ratio = |own: Duration, other: Duration| own.as_secs_f64() / other.as_secs_f64();
    [
        Some(own.per_second / other.per_second),
        Some(ratio(own.median, other.median)),
        own.computed.zip(other.computed).map(|(own, other)| ratio(own, other)),
    ]
}

fn shown(ratio: Option<f64>) -> String {
    ratio.filter(|ratio| ratio.is_finite()).map_or_else(|| "not known".to_owned(), |ratio| format!("{ratio:.2}"))
}

#[cfg(test)]
mod tests {
    use super::super::requests::Kind;
    use super::*;

    #[test]
    fn ratios_are_of_the_first_to_the_other_and_unknown_where_one_is() {
        let one = |per_second, median, computed: Option<u64>| Measured {
            kind: Kind::Read,
            connections: 1,
            per_second,
            median: Duration::from_millis(median),
            ninety_ninth: Duration::from_millis(median),
            computed: computed.map(Duration::from_millis),
        };
        let ours = one(600.0, 2, Some(3));
        assert_eq!(ratios(&ours, &one(100.0, 8, Some(12))), [Some(6.0), Some(0.25), Some(0.25)]);
        assert_eq!(ratios(&ours, &one(100.0, 8, None))[2], None);
        assert_eq!(shown(ratios(&ours, &one(100.0, 8, Some(0)))[2]), "not known");
    }
}
