//! One change of settings as it is written down: what, where, and what it was before; and how a reader knows that it
//! reads what was written. Where the file lies is `file`'s matter, what is done with it `restore`'s.

use serde::{Deserialize, Serialize};

/// Version of the form below.
const VERSION: u32 = 1;

/// One setting: what it was, and what we made of it. As the server words values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its name, as in `redis.conf`.
    pub parameter: String,
    /// The value found.
    pub original: String,
    /// The value set.
    pub ours: String,
}

/// One change. It names the server by name and address and never holds what is needed to log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    v: u32,
    /// The target's name in the configuration of who wrote it.
    pub target: String,
    /// Where the server listens.
    pub address: String,
    /// Which of the servers that were ever there: its `run_id`, another one after each start.
    pub server_run_id: String,
    /// The run that changed it.
    pub run: String,
    /// The connection that changed it, by the id that the server gave it; `None` where it would not say.
    pub client_id: Option<u64>,
    /// Seconds since 1970 after which no key of that run can be left, by its TTL.
    pub keys_gone_at: u64,
    /// What was changed, in the order in which it was.
    pub settings: Vec<Setting>,
}

/// What a file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A change.
    Entry(Entry),
    /// Nothing: its writer died while it wrote, so before it changed anything.
    Torn,
    /// What cannot be trusted, with the reason.
    Damaged(String),
}

const BEFORE: &str = "{\"entry\":";
const BETWEEN: &str = ",\"crc32\":\"";
const AFTER: &str = "\"}";

impl Entry {
    pub(super) fn new(
        [target, address, server_run_id, run]: [&str; 4],
        client_id: Option<u64>,
        keys_gone_at: u64,
        settings: Vec<Setting>,
    ) -> Self {
        Self {
            v: VERSION,
            target: target.to_owned(),
            address: address.to_owned(),
            server_run_id: server_run_id.to_owned(),
            run: run.to_owned(),
            client_id,
            keys_gone_at,
            settings,
        }
    }

    /// One line of JSON: the entry, and the CRC-32 of its text.
    pub(super) fn seal(&self) -> String {
        let text = serde_json::to_string(self).expect("an entry is plain data");
        let sum = crc32fast::hash(text.as_bytes());
        format!("{BEFORE}{text}{BETWEEN}{sum:08x}{AFTER}\n")
    }

    /// Reads what [`Entry::seal`] has written.
    pub(super) fn unseal(bytes: &[u8]) -> Read {
        let Some(text) = checked(bytes.strip_suffix(b"\n").unwrap_or(bytes)) else {
            // The line break is written last.
            if !bytes.ends_with(b"\n") {
                return Read::Torn;
            }
            return Read::Damaged("its checksum does not fit its text".into());
        };
        let version = serde_json::from_str(text).map(|Version { v }| v);
        match version {
            Ok(VERSION) => match serde_json::from_str(text) {
                Ok(entry) => Read::Entry(entry),
                Err(error) => Read::Damaged(error.to_string()),
            },
            Ok(newer) => Read::Damaged(format!(
                "it has form {newer} and this redprobe knows form {VERSION}: restore with the redprobe that wrote it"
            )),
            Err(error) => Read::Damaged(error.to_string()),
        }
    }
}

/// In every form there is.
#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// The entry's text, where the checksum is that of it.
fn checked(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line).ok()?;
    let (text, sum) = line.strip_prefix(BEFORE)?.strip_suffix(AFTER)?.rsplit_once(BETWEEN)?;
    (sum == format!("{:08x}", crc32fast::hash(text.as_bytes()))).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Entry {
        let setting = |parameter: &str, original: &str, ours: &str| Setting {
            parameter: parameter.into(),
            original: original.into(),
            ours: ours.into(),
        };
        Entry::new(
            ["cache", "127.0.0.1:6379", "abc", "01RUN"],
            Some(7),
            1_800_000_000,
            vec![
                setting("maxmemory-policy", "allkeys-lru", "noeviction"),
                setting("maxmemory", "0", "134217728"),
            ],
        )
    }

    #[test]
    fn reads_what_it_wrote() {
        let entry = sample();
        let line = entry.seal();
        assert_eq!(line.matches('\n').count(), 1);
        serde_json::from_str::<serde_json::Value>(&line).unwrap();
        assert_eq!(Entry::unseal(line.as_bytes()), Read::Entry(entry));
    }

    #[test]
    fn cut_off_anywhere_it_is_not_there() {
        let line = sample().seal();
        // Without the line break alone it is whole.
        assert_eq!(Entry::unseal(line.trim_end().as_bytes()), Read::Entry(sample()));
        for length in 0..line.len() - 1 {
            assert_eq!(Entry::unseal(&line.as_bytes()[..length]), Read::Torn, "after {length} bytes");
        }
        assert_eq!(Entry::unseal(&vec![0; line.len()]), Read::Torn);
    }

    #[test]
    fn another_version_is_left_to_who_knows_it() {
        let entry = Entry { v: 2, ..sample() };
        let Read::Damaged(why) = Entry::unseal(entry.seal().as_bytes()) else { panic!("it was read") };
        assert!(why.contains("form 2"), "{why}");
    }

    #[test]
    fn damage_is_seen_wherever_it_is() {
        let line = sample().seal().into_bytes();
        for (at, bit) in (0..line.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut bytes = line.clone();
            bytes[at] ^= 1 << bit;
            let read = Entry::unseal(&bytes);
            // Only the line break is not under the checksum.
            let expected = match at == line.len() - 1 {
                true => matches!(&read, Read::Entry(entry) if *entry == sample()) || read == Read::Torn,
                false => matches!(read, Read::Damaged(_)),
            };
            assert!(expected, "bit {bit} of byte {at}: {read:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_never_takes_another_value(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in any::<prop::sample::Index>()) {
            let _ = Entry::unseal(&bytes);
            let mut line = sample().seal().into_bytes();
            line.truncate(cut.index(line.len()));
            line.extend(bytes);
            if let Read::Entry(entry) = Entry::unseal(&line) {
                prop_assert_eq!(entry, sample());
            }
        }

        #[test]
        fn reads_back_any_value(original in "\\PC*", ours in "(?s).*") {
            let mut entry = sample();
            entry.settings[0].original = original;
            entry.settings[0].ours = ours;
            prop_assert_eq!(Entry::unseal(entry.seal().as_bytes()), Read::Entry(entry));
        }
    }
}
