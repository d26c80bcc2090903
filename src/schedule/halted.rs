//! What is halted, as the state directory keeps it: over restarts, and between the processes that share it. Its file,
//! `halted.json`, and the file `halt`, which an operator can make where nothing else is at hand.
//!
//! Only files and sentences. Who is stopped and when it is looked at is `halts`'.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use measure::{Effect, Reason};
use serde::{Deserialize, Serialize};

use super::lock_file::{Refused, lock_file};

/// While this file is there, nothing that loads or disrupts runs.
pub(crate) const HALT_FILE: &str = "halt";
const KEPT: &str = "halted.json";
const SCHEMA: u32 = 1;
/// How often, and after what pause, a change is tried while another process makes one.
const TRIES: (u32, Duration) = (50, Duration::from_millis(20));

/// Something that may not run until it is allowed again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// The target; all targets where there is none.
    pub target: Option<String>,
    /// The probe that had to be stopped and stays off; where there is none, somebody halted by hand all that loads or
    /// disrupts.
    pub probe: Option<String>,
    /// When, as RFC 3339.
    pub at: String,
    /// Why.
    pub reason: Reason,
    /// Why, in one sentence.
    pub message: String,
    /// The run that was stopped.
    pub run: Option<String>,
}

impl Halt {
    /// What takes it back.
    fn remedy(&self) -> String {
        let target = self.target.as_ref().map(|name| format!(" --target {name}")).unwrap_or_default();
        let probe = self.probe.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        format!("`redprobe rearm{target}{probe}`")
    }

    /// What it is, for people.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Halt { at, reason, message, .. } = self;
        let what = match (&self.probe, &self.target) {
            (Some(probe), _) => format!(
                "{probe} halted at {at} ({reason}): {message}; it stays off until it is allowed again"
            ),
            (None, Some(_)) => format!(
                "halted by hand at {at}: nothing that loads or disrupts runs here until it is allowed again"
            ),
            (None, None) => format!(
                "halted by hand at {at}: nothing that loads or disrupts runs on any target until it is allowed again"
            ),
        };
        format!("{what} by {}", self.remedy())
    }

    fn concerns(&self, target: &str, probe: Option<&str>) -> bool {
        self.target.as_deref().is_none_or(|own| covers(own, target))
            && probe.is_none_or(|probe| self.probe.as_deref().is_none_or(|own| own == probe))
    }

    /// The greatest effect beside it.
    const fn leaves(&self) -> Effect {
        if self.probe.is_some() { Effect::Load } else { Effect::Touch }
    }
}

/// Whether a target of this name, or node of this id, has in it what `id` stands for: a target has its nodes.
fn covers(name: &str, id: &str) -> bool {
    id.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// All that is halted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Halted {
    /// What was halted and not allowed again.
    pub halts: Vec<Halt>,
    /// The halt file, where it is there.
    pub file: Option<PathBuf>,
    /// Why what was halted is not known.
    pub unreadable: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    schema: u32,
    halts: Vec<Halt>,
}

impl Halted {
    /// What the state directory says. Nothing is halted where it says nothing.
    #[must_use]
    pub fn read(dir: &Path) -> Self {
        let file = dir.join(HALT_FILE);
        let (halts, unreadable) = match read_kept(dir) {
            Ok(halts) => (halts, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        Self { halts, file: file.try_exists().unwrap_or(false).then_some(file), unreadable }
    }

    /// The greatest effect that this probe may have on this target, and why no more; `None` where nothing is halted.
    #[must_use]
    pub fn cap(&self, target: &str, probe: &str) -> Option<(Effect, String)> {
        let halts = self.halts.iter().filter(|halt| halt.concerns(target, Some(probe)));
        self.general()
            .into_iter()
            .chain(halts.map(|halt| (halt.leaves(), halt.sentence())))
            .min_by_key(|(cap, _)| *cap)
    }

    /// What is halted on this target, in sentences.
    #[must_use]
    pub fn on(&self, target: &str) -> Vec<String> {
        let halts = self.halts.iter().filter(|halt| halt.concerns(target, None)).map(Halt::sentence);
        self.general().into_iter().map(|(_, sentence)| sentence).chain(halts).collect()
    }

    /// All that is halted, in sentences.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        self.general()
            .into_iter()
            .map(|(_, sentence)| sentence)
            .chain(self.halts.iter().map(Halt::sentence))
            .collect()
    }

    /// Whether anything is halted on this target.
    #[must_use]
    pub fn is_halted(&self, target: &str) -> bool {
        self.file.is_some()
            || self.unreadable.is_some()
            || self.halts.iter().any(|halt| halt.concerns(target, None))
    }

    /// What concerns every target and probe alike.
    fn general(&self) -> Vec<(Effect, String)> {
        let file = self.file.as_ref().map(|path| {
            let path = path.display();
            (
                Effect::Touch,
                format!("halted by the file {path}: nothing that loads or disrupts runs until it is removed"),
            )
        });
        let unreadable = self.unreadable.as_ref().map(|why| {
            let sentence = format!(
                "{why}: which probes were halted is not known, so that none that disrupts runs; mend the file, or \
                 allow all of them again by `redprobe rearm`"
            );
            (Effect::Load, sentence)
        });
        file.into_iter().chain(unreadable).collect()
    }
}

fn read_kept(dir: &Path) -> Result<Vec<Halt>, String> {
    let path = dir.join(KEPT);
    let wrong = |error: String| format!("{} cannot be read ({error})", path.display());
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice::<Kept>(&text)
            .map(|kept| kept.halts)
            .map_err(|error| wrong(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// Which halts to take back; all of them where neither is given.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Only those of this target.
    pub target: Option<String>,
    /// Only those of this probe.
    pub probe: Option<String>,
}

impl Wish {
    /// Whether it takes back this one. A halt of everything is not taken back for one target alone, nor one of a target
    /// for one node.
    pub(super) fn covers(&self, halt: &Halt) -> bool {
        let of = |own: &Option<String>, wish: &str| own.as_deref().is_some_and(|own| covers(wish, own));
        self.target.as_deref().is_none_or(|wish| of(&halt.target, wish))
            && (self.probe.is_none() || self.probe == halt.probe)
    }

    fn is_everything(&self) -> bool {
        self.target.is_none() && self.probe.is_none()
    }
}

/// Adds a halt; an earlier one of the same target and probe gives way.
///
/// # Errors
/// Where the file cannot be read or written; the sentence says which, and why.
pub(super) fn add(dir: &Path, halt: &Halt) -> Result<(), String> {
    change(dir, |halts| {
        let mut halts = halts?;
        halts.retain(|old| (&old.target, &old.probe) != (&halt.target, &halt.probe));
        halts.push(halt.clone());
        Ok((halts, ()))
    })
}

/// Takes back what the wish covers, and returns it. A wish for everything also mends an unreadable file.
///
/// # Errors
/// Where the file cannot be read or written; the sentence says which, and why.
pub fn rearm(dir: &Path, wish: &Wish) -> Result<Vec<Halt>, String> {
    if !dir.join(KEPT).try_exists().unwrap_or(true) {
        return Ok(Vec::new());
    }
    change(dir, |halts| match halts {
        Ok(halts) => {
            let (gone, kept) = halts.into_iter().partition(|halt| wish.covers(halt));
            Ok((kept, gone))
        }
        Err(_unreadable) if wish.is_everything() => Ok((Vec::new(), Vec::new())),
        Err(why) => Err(format!("{why}: mend it, or allow everything again by `redprobe rearm`")),
    })
}

/// Reads, changes and writes the file while no other process does. A reader sees the old content or the new one.
fn change<T>(
    dir: &Path,
    change: impl FnOnce(Result<Vec<Halt>, String>) -> Result<(Vec<Halt>, T), String>,
) -> Result<T, String> {
    let _lock = lock(dir)?;
    let (halts, result) = change(read_kept(dir))?;
    let mut text =
        serde_json::to_vec_pretty(&Kept { schema: SCHEMA, halts }).map_err(|error| error.to_string())?;
    text.push(b'\n');
    let path = dir.join(KEPT);
    replace(dir, &path, &text).map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    Ok(result)
}

fn lock(dir: &Path) -> Result<File, String> {
    let path = dir.join("halted.lock");
    let (tries, pause) = TRIES;
    for _ in 0..tries {
        match lock_file(&path, &format!("process {}", std::process::id())) {
            Ok(lock) => return Ok(lock),
            Err(Refused::Held(_)) => thread::sleep(pause),
            Err(Refused::Unusable(error)) => {
                return Err(format!("{} cannot be written: {error}", path.display()));
            }
        }
    }
    Err(format!("{} is held by another process", path.display()))
}

fn replace(dir: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let new = path.with_extension("json.new");
    let mut file = File::create(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    // The name has to be on the disk too.
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halt(target: Option<&str>, probe: Option<&str>) -> Halt {
        Halt {
            target: target.map(str::to_owned),
            probe: probe.map(str::to_owned),
            at: "2027-01-01T00:00:00Z".into(),
            reason: Reason::ForeignEviction,
            message: "foreign keys were evicted".into(),
            run: None,
        }
    }

    fn wish(target: Option<&str>, probe: Option<&str>) -> Wish {
        Wish { target: target.map(str::to_owned), probe: probe.map(str::to_owned) }
    }

    #[test]
    fn a_halt_is_kept_until_it_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Halted::read(dir.path()), Halted::default());
        assert!(rearm(dir.path(), &wish(None, None)).unwrap().is_empty());
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            0,
            "nothing is written where nothing was halted"
        );

        let pressing = halt(Some("cache"), Some("memory_pressure"));
        add(dir.path(), &pressing).unwrap();
        add(dir.path(), &pressing).unwrap();
        let halted = Halted::read(dir.path());
        assert_eq!(halted.halts, std::slice::from_ref(&pressing));
        let (cap, why) = halted.cap("cache", "memory_pressure").unwrap();
        assert_eq!(cap, Effect::Load);
        assert!(why.contains("memory_pressure halted at 2027-01-01T00:00:00Z (foreign_eviction)"), "{why}");
        assert!(why.contains("`redprobe rearm --target cache memory_pressure`"), "{why}");
        assert!(halted.cap("cache", "persistence_recovery").is_none());
        assert!(halted.cap("other", "memory_pressure").is_none());
        assert!(halted.is_halted("cache") && !halted.is_halted("other"));

        for other in [wish(Some("other"), None), wish(None, Some("throughput"))] {
            assert!(rearm(dir.path(), &other).unwrap().is_empty());
        }
        assert_eq!(rearm(dir.path(), &wish(None, Some("memory_pressure"))).unwrap(), [pressing]);
        assert_eq!(Halted::read(dir.path()), Halted::default());
    }

    #[test]
    fn by_hand_all_that_loads_is_halted() {
        let dir = tempfile::tempdir().unwrap();
        add(dir.path(), &halt(Some("cache"), Some("memory_pressure"))).unwrap();
        add(dir.path(), &halt(None, None)).unwrap();
        let halted = Halted::read(dir.path());
        let (cap, why) = halted.cap("cache", "memory_pressure").unwrap();
        assert_eq!(cap, Effect::Touch, "the lower of the two");
        assert!(why.contains("by hand") && why.contains("`redprobe rearm`"), "{why}");
        assert!(halted.is_halted("other") && halted.on("cache").len() == 2);
        assert!(rearm(dir.path(), &wish(Some("other"), None)).unwrap().is_empty());
        assert_eq!(rearm(dir.path(), &wish(Some("cache"), None)).unwrap().len(), 1);
        assert_eq!(rearm(dir.path(), &wish(None, None)).unwrap().len(), 1);
    }

    #[test]
    fn a_halt_of_a_target_is_one_of_all_its_nodes() {
        let dir = tempfile::tempdir().unwrap();
        add(dir.path(), &halt(Some("orders"), None)).unwrap();
        add(dir.path(), &halt(Some("cache/master"), None)).unwrap();
        let halted = Halted::read(dir.path());
        assert!(
            halted.is_halted("orders") && halted.is_halted("orders/a") && halted.is_halted("cache/master")
        );
        assert!(
            !halted.is_halted("orders_a") && !halted.is_halted("cache/replica") && !halted.is_halted("cache")
        );
        assert!(rearm(dir.path(), &wish(Some("orders/a"), None)).unwrap().is_empty(), "it was all of them");
        assert_eq!(rearm(dir.path(), &wish(Some("cache"), None)).unwrap().len(), 1);
        assert_eq!(rearm(dir.path(), &wish(Some("orders"), None)).unwrap().len(), 1);
    }

    #[test]
    fn the_halt_file_is_seen_and_left() {
        let dir = tempfile::tempdir().unwrap();
        File::create(dir.path().join(HALT_FILE)).unwrap();
        rearm(dir.path(), &wish(None, None)).unwrap();
        let (cap, why) = Halted::read(dir.path()).cap("cache", "throughput").unwrap();
        assert_eq!(cap, Effect::Touch);
        assert!(why.contains("/halt: nothing that loads or disrupts runs until it is removed"), "{why}");
    }

    #[test]
    fn what_cannot_be_read_halts_all_that_disrupts_and_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "{}", "{\"schema\":1,\"halts\":[{}]}", "\0"] {
            fs::write(dir.path().join(KEPT), text).unwrap();
            let (cap, why) = Halted::read(dir.path()).cap("cache", "any").unwrap();
            assert_eq!(cap, Effect::Load);
            assert!(why.contains("halted.json cannot be read"), "{why}");
            add(dir.path(), &halt(None, None)).unwrap_err();
            rearm(dir.path(), &wish(Some("cache"), None)).unwrap_err();
            assert_eq!(fs::read(dir.path().join(KEPT)).unwrap(), text.as_bytes());
            rearm(dir.path(), &wish(None, None)).unwrap();
            assert_eq!(Halted::read(dir.path()), Halted::default());
        }
    }
}
