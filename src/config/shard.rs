//! `--shard 2/5`: which of several daemons with one configuration has a target.
//!
//! By the target's name, the way Prometheus' relabelling has it (`action: hashmod`), so that others can compute it too.
//! What is done with targets of other shards belongs to `plan` and to whoever reads it.

use std::fmt;

/// One of several parts of the targets. They count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    number: u64,
    of: u64,
}

impl Shard {
    /// Reads `2/5`.
    ///
    /// # Errors
    /// With what is wrong, and how it is written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse::<u64>().ok();
        let parts = text.split_once('/').and_then(|(number_, of)| Some((number(number_)?, number(of)?)));
        match parts {
            None => Err(format!("{text:?} is no shard; write which one and of how many: \"2/5\"")),
            Some((_, 0)) => {
                Err(format!("{text:?} leaves no shard for any target; write 1 or more after the /"))
            }
            Some((0, of)) => Err(format!("{text:?}: shards count from 1; the first is \"1/{of}\"")),
            Some((number, of)) if number > of => {
                Err(format!("{text:?}: there are {of} shards; write 1 to {of} before the /"))
            }
            Some((number, of)) => Ok(Self { number, of }),
        }
    }

    /// Which one, from 1.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.number
    }

    /// Of how many, at least 1.
    #[must_use]
    pub const fn of(self) -> u64 {
        self.of
    }

    /// The shard, of as many as there are, that has the target of this name.
    #[must_use]
    pub fn of_target(self, name: &str) -> Self {
        Self { number: hashmod(name, self.of) + 1, of: self.of }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// What Prometheus computes for `action: hashmod`: the last eight bytes of the MD5 of the value, the most significant
/// first, modulo `modulus` (`model/relabel/relabel.go` there).
fn hashmod(value: &str, modulus: u64) -> u64 {
    let md5::Digest(bytes) = md5::compute(value);
    let last = bytes[8..].iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
    last % modulus
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(text: &str) -> Shard {
        Shard::parse(text).unwrap()
    }

    #[test]
    fn what_is_no_shard_is_said() {
        assert_eq!(shard("2/5"), Shard { number: 2, of: 5 });
        assert_eq!(shard(" 1 / 1 ").to_string(), "1/1");
        for (text, said) in [
            ("", "\"\" is no shard; write which one and of how many: \"2/5\""),
            ("2", "\"2\" is no shard; write which one and of how many: \"2/5\""),
            ("two/5", "\"two/5\" is no shard; write which one and of how many: \"2/5\""),
            ("-1/5", "\"-1/5\" is no shard; write which one and of how many: \"2/5\""),
            ("0/5", "\"0/5\": shards count from 1; the first is \"1/5\""),
            ("6/5", "\"6/5\": there are 5 shards; write 1 to 5 before the /"),
            ("1/0", "\"1/0\" leaves no shard for any target; write 1 or more after the /"),
        ] {
            assert_eq!(Shard::parse(text).unwrap_err(), said);
        }
    }

    /// 1,000 names on 5 shards: 200 each on average, with a standard deviation of sqrt(1000 × 0.2 × 0.8) = 12.6. The
    /// names are fixed, so that this holds for ever or never: within three of them, as 99.7 % of all sets of names.
    #[test]
    fn shards_are_of_one_size_and_have_each_target_once() {
        for prefix in ["cache", "redis_eu_west_1", "t"] {
            let mut targets = [0_u32; 5];
            for number in 0..1_000 {
                let name = format!("{prefix}_{number}");
                let has: Vec<usize> = (1..=5)
                    .filter(|own| {
                        let own = shard(&format!("{own}/5"));
                        own.of_target(&name) == own
                    })
                    .collect();
                assert_eq!(has.len(), 1, "{name} is in the shards {has:?}");
                targets[has[0] - 1] += 1;
            }
            assert!(targets.iter().all(|count| (162..=238).contains(count)), "{prefix}: {targets:?}");
        }
    }

    #[test]
    fn one_shard_has_all() {
        let own = shard("1/1");
        assert!(["a", "b", "c"].iter().all(|name| own.of_target(name) == own));
    }
}
