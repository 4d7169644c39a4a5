//! The size of generated data, and what all generators share.

use crate::error::SimulatorError;

/// The size and the seed of generated data.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratorConfig {
    /// Seed of all data.
    pub seed: u64,
    /// Name of the repository with the data.
    pub repository: String,
    /// Number of its signatures.
    pub signatures: usize,
    /// Mean number of data per signature. A signature has none to three times as many.
    pub data_per_signature: usize,
    /// Frameworks, id and name; each signature group belongs to one.
    pub frameworks: Vec<(u32, String)>,
    /// Size of the largest signature group. About half of the groups have one signature, and one in `n` groups has at
    /// least `n` signatures.
    pub largest_group: usize,
    /// Number of alert summaries, spread over the three years before `end`.
    pub alerts: usize,
    /// Number of pushes between `start` and `end`.
    pub pushes: usize,
    /// Start of the data, seconds since the epoch.
    pub start: i64,
    /// End of the data, seconds since the epoch; also the default of the server's clock.
    pub end: i64,
}

impl Default for GeneratorConfig {
    /// A small repository with data of the five months before 2026-11-22.
    fn default() -> Self {
        let framework = |id, name: &str| (id, name.to_owned());
        Self {
            seed: 1,
            repository: "autoland".to_owned(),
            signatures: 1000,
            data_per_signature: 200,
            frameworks: vec![
                framework(1, "talos"),
                framework(2, "build_metrics"),
                framework(4, "awsy"),
                framework(6, "platform_microbench"),
                framework(11, "js-bench"),
                framework(12, "devtools"),
                framework(13, "browsertime"),
                framework(15, "mozperftest"),
                framework(16, "fxrecord"),
                framework(18, "mozharness"),
            ],
            largest_group: 64,
            alerts: 400,
            pushes: 1000,
            start: 1_782_259_200,
            end: 1_795_305_600,
        }
    }
}

/// More than this would not fit the scheme of ids.
const MOST_SIGNATURES: usize = 20_000_000;
const MOST_DATA: usize = 10_000_000;
const MOST_PUSHES: usize = 5_000_000;
const MOST_ALERTS: usize = 10_000_000;
/// Minimal mean time between two pushes, so that their times stay in order.
const LEAST_SECONDS_PER_PUSH: i64 = 8;

impl GeneratorConfig {
    /// Checks the numbers.
    ///
    /// # Errors
    /// A number is zero or too large, or the pushes do not fit between start and end.
    pub(super) fn validate(&self) -> Result<(), SimulatorError> {
        let span = self.end.saturating_sub(self.start);
        let complaint = if self.frameworks.is_empty() {
            "add a framework"
        } else if self.repository.is_empty() {
            "set the name of the repository"
        } else if self.signatures > MOST_SIGNATURES || self.data_per_signature > MOST_DATA || self.alerts > MOST_ALERTS
        {
            "use at most 20 million signatures, 10 million alerts and 10 million data per signature"
        } else if self.pushes == 0 || self.pushes > MOST_PUSHES {
            "use 1 to 5 million pushes"
        } else if span / LEAST_SECONDS_PER_PUSH < self.pushes as i64 {
            "leave at least 8 seconds per push between start and end"
        } else if self.start < 0 || self.end > 32_503_680_000 {
            "choose start and end between the years 1970 and 3000"
        } else {
            return Ok(());
        };
        Err(SimulatorError::Generator { complaint })
    }
}

/// The domains of random numbers, one per purpose.
pub(super) mod domain {
    pub(in crate::generator) const GROUP_SIZE: u64 = 1;
    pub(in crate::generator) const GROUP: u64 = 2;
    pub(in crate::generator) const SIGNATURE: u64 = 3;
    pub(in crate::generator) const PUSH: u64 = 4;
    pub(in crate::generator) const RUN: u64 = 5;
    pub(in crate::generator) const BLOCK: u64 = 6;
    pub(in crate::generator) const JOB: u64 = 7;
    pub(in crate::generator) const VALUE: u64 = 8;
    pub(in crate::generator) const ALERT: u64 = 9;
    pub(in crate::generator) const COMMIT: u64 = 10;
    pub(in crate::generator) const TIE: u64 = 11;
    pub(in crate::generator) const REPLICATES: u64 = 12;
}

/// Forty hexadecimal digits: a hash or a revision.
pub(super) type Hex40 = [u8; 40];

pub(super) fn hex40(mut draw: crate::draw::Draw) -> Hex40 {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = [0; 40];
    for part in hex.chunks_mut(16) {
        let mut bits = draw.bits();
        for digit in part {
            *digit = DIGITS[(bits & 15) as usize];
            bits >>= 4;
        }
    }
    hex
}

/// The digits as text.
pub(super) fn hex_text(hex: &Hex40) -> &str {
    std::str::from_utf8(hex).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_contradict_each_other_are_refused() {
        let sound = GeneratorConfig::default();
        assert!(sound.validate().is_ok());
        for broken in [
            GeneratorConfig { pushes: 0, ..sound.clone() },
            GeneratorConfig { end: sound.start, ..sound.clone() },
            GeneratorConfig { end: sound.start + 100, ..sound.clone() },
            GeneratorConfig { frameworks: Vec::new(), ..sound.clone() },
            GeneratorConfig { signatures: usize::MAX, ..sound.clone() },
        ] {
            assert!(broken.validate().is_err(), "{broken:?}");
        }
    }
}
