//! Who may run beside whom on one target: inside this process by a lock, beside another process by a file.
//!
//! Observe shares with everything and takes no lock, but that an audit does not look at settings which a run that disrupts
//! may have changed for a time. Touch shares with Touch. Load and Disrupt run alone. What another
//! machine does is kept out by the lease in the target, which is the measuring core's.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::lock_file::{Refused, lock_file};
use measure::{Effect, ProbeError, Reason};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, OwnedSemaphorePermit, RwLock, Semaphore};

/// The right to run on a target. Dropping it lets the next one in.
#[derive(Debug)]
pub(super) enum Permit {
    /// Beside anything.
    Free,
    /// Beside others that touch.
    Shared { _lock: OwnedRwLockReadGuard<()> },
    /// Alone.
    Alone { _lock: OwnedRwLockWriteGuard<()>, _slot: OwnedSemaphorePermit },
}

/// The lock of one target. Fair: who came first goes first, so that a stream of small runs cannot keep a load out.
#[derive(Debug, Default)]
pub(super) struct TargetLock(Arc<RwLock<()>>);

impl TargetLock {
    /// Waits until a run of this effect may go. `least` is what the probe can do with: one that can do with Observe
    /// does not wait for a load to end, but observes. Returns the effect that the run may have.
    pub(super) async fn enter(
        &self,
        effect: Effect,
        least: Effect,
        slots: Arc<Semaphore>,
    ) -> (Permit, Effect) {
        let lock = Arc::clone(&self.0);
        match effect {
            Effect::Observe => (Permit::Free, effect),
            Effect::Touch if least == Effect::Observe => match lock.try_read_owned() {
                Ok(lock) => (Permit::Shared { _lock: lock }, effect),
                Err(_loaded) => (Permit::Free, Effect::Observe),
            },
            Effect::Touch => (Permit::Shared { _lock: lock.read_owned().await }, effect),
            Effect::Load | Effect::Disrupt => {
                // The slot first: waiting for it with the lock held would keep every touching run off the target.
                let slot = slots.acquire_owned().await.expect("the semaphore is never closed");
                (Permit::Alone { _lock: lock.write_owned().await, _slot: slot }, effect)
            }
        }
    }
}

/// Keeps runs that judge a target's settings apart from those that may change them for a time.
#[derive(Debug, Default)]
pub(super) struct SettingsLock(Arc<RwLock<()>>);

/// A hold on a target's settings, until dropped.
#[derive(Debug)]
pub(super) enum SettingsHold {
    /// They do not matter to the run.
    None,
    /// They stay as they are.
    Steady { _lock: OwnedRwLockReadGuard<()> },
    /// The run may change them.
    Changing { _lock: OwnedRwLockWriteGuard<()> },
}

impl SettingsLock {
    /// Waits until a run of this effect may go; `as_configured` where it judges settings. Those are given back before the
    /// run that changed them is over.
    pub(super) async fn hold(&self, effect: Effect, as_configured: bool) -> SettingsHold {
        let lock = Arc::clone(&self.0);
        match effect {
            Effect::Disrupt => SettingsHold::Changing { _lock: lock.write_owned().await },
            _ if as_configured => SettingsHold::Steady { _lock: lock.read_owned().await },
            _ => SettingsHold::None,
        }
    }
}

/// Keeps other redprobe processes of this machine that have the same state directory away from a target.
#[derive(Debug)]
pub(super) struct LockFile {
    file: File,
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // To close it leaves it, for a moment, with whatever process was just being started. Closing is what is left
        // where this fails.
        let _ = self.file.unlock();
    }
}

impl LockFile {
    /// Takes `<state_dir>/locks/<target>.lock` (`<target>.<node>.lock`), or says who has it.
    ///
    /// # Errors
    /// Skipped: `lease` where another process has it, `precondition` where there can be no such file.
    pub(super) fn take(state_dir: &Path, target: &str, run: &str) -> Result<Self, ProbeError> {
        let folder = state_dir.join("locks");
        let path = path_of(state_dir, target);
        let unusable = |error: io::Error| {
            ProbeError::skipped(
                Reason::Precondition,
                format!(
                    "the lock file {} cannot be used: {error}; load needs a state_dir that can be written",
                    path.display()
                ),
            )
        };
        fs::create_dir_all(&folder).map_err(unusable)?;
        match lock_file(&path, &format!("process {}, run {run}", std::process::id())) {
            Ok(file) => Ok(Self { file }),
            Err(Refused::Held(holder)) => Err(ProbeError::skipped(
                Reason::Lease,
                format!("another redprobe on this machine is loading {target}: {holder}"),
            )),
            Err(Refused::Unusable(error)) => Err(unusable(error)),
        }
    }

    /// The last run on this machine that took it, where that one has it no more: it is over, or its process is dead.
    /// Looking takes it for a moment, so that this is for the start of a process and not for every minute.
    pub(super) fn last_run(state_dir: &Path, target: &str) -> Option<String> {
        let file = File::open(path_of(state_dir, target)).ok()?;
        file.try_lock_shared().ok()?;
        let text = io::read_to_string((&file).take(LONGEST));
        file.unlock().ok()?;
        let text = text.ok()?;
        Some(text.trim().rsplit_once("run ")?.1.to_owned())
    }
}

/// Longest text of a lock file that is read.
const LONGEST: u64 = 200;

fn path_of(state_dir: &Path, target: &str) -> PathBuf {
    // No name has a dot. A target that was given as a URL is named by it.
    let name =
        target.replace('/', ".").replace(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)), "_");
    state_dir.join("locks").join(format!("{name}.lock"))
}

/// The runs that are on a target now, and which of them were beside another that can change their figures.
#[derive(Debug, Clone, Default)]
pub(super) struct Company(Arc<Mutex<Vec<Arc<Member>>>>);

#[derive(Debug)]
struct Member {
    /// Whether it can change what others measure.
    heavy: bool,
    disturbed: AtomicBool,
}

/// One run's stay on a target; ends when dropped.
#[derive(Debug)]
pub(super) struct Stay {
    company: Company,
    member: Arc<Member>,
}

impl Company {
    /// Joins. A `heavy` run disturbs all others; a light one (a few commands) disturbs nobody.
    pub(super) fn join(&self, heavy: bool) -> Stay {
        let member = Arc::new(Member { heavy, disturbed: AtomicBool::new(false) });
        let mut members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for other in members.iter() {
            other.disturbed.fetch_or(heavy, Ordering::Relaxed);
            member.disturbed.fetch_or(other.heavy, Ordering::Relaxed);
        }
        members.push(Arc::clone(&member));
        Stay { company: self.clone(), member }
    }
}

impl Stay {
    /// Whether a heavy run was beside this one at any time.
    pub(super) fn was_disturbed(&self) -> bool {
        self.member.disturbed.load(Ordering::Relaxed)
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let mut members = self.company.0.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|member| !Arc::ptr_eq(member, &self.member));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    fn slots() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(1))
    }

    #[tokio::test]
    async fn touch_shares_with_touch_and_load_is_alone() {
        let (lock, slots) = (TargetLock::default(), slots());
        let enter = |effect| lock.enter(effect, effect, Arc::clone(&slots));
        let (first, _) = enter(Effect::Touch).await;
        let (second, _) = enter(Effect::Touch).await;
        let (_observer, _) = enter(Effect::Observe).await;
        let mut load = Box::pin(enter(Effect::Load));
        assert!(load.as_mut().now_or_never().is_none());
        drop((first, second));
        let (loading, effect) = load.await;
        assert_eq!(effect, Effect::Load);
        assert!(enter(Effect::Touch).now_or_never().is_none());
        assert!(enter(Effect::Disrupt).now_or_never().is_none());
        assert!(enter(Effect::Observe).now_or_never().is_some());
        drop(loading);
        assert!(enter(Effect::Touch).now_or_never().is_some());
    }

    #[tokio::test]
    async fn what_can_observe_observes_beside_a_load() {
        let (lock, slots) = (TargetLock::default(), slots());
        let (_loading, _) = lock.enter(Effect::Load, Effect::Load, Arc::clone(&slots)).await;
        let (permit, effect) = lock.enter(Effect::Touch, Effect::Observe, slots).await;
        assert!(matches!(permit, Permit::Free));
        assert_eq!(effect, Effect::Observe);
    }

    #[tokio::test]
    async fn settings_are_not_judged_while_a_run_may_have_changed_them() {
        let lock = SettingsLock::default();
        let changing = lock.hold(Effect::Disrupt, false).await;
        let mut audit = Box::pin(lock.hold(Effect::Observe, true));
        assert!(audit.as_mut().now_or_never().is_none());
        assert!(lock.hold(Effect::Observe, false).now_or_never().is_some());
        drop(changing);
        let steady = audit.await;
        assert!(lock.hold(Effect::Observe, true).now_or_never().is_some());
        assert!(lock.hold(Effect::Disrupt, false).now_or_never().is_none());
        drop(steady);
        assert!(lock.hold(Effect::Disrupt, false).now_or_never().is_some());
    }

    #[tokio::test]
    async fn small_runs_cannot_keep_a_load_out() {
        let (lock, slots) = (TargetLock::default(), slots());
        let (first, _) = lock.enter(Effect::Touch, Effect::Touch, Arc::clone(&slots)).await;
        let mut load = Box::pin(lock.enter(Effect::Load, Effect::Load, Arc::clone(&slots)));
        assert!(load.as_mut().now_or_never().is_none());
        let mut touch = Box::pin(lock.enter(Effect::Touch, Effect::Touch, slots));
        assert!(touch.as_mut().now_or_never().is_none(), "came later, but went first");
        drop(first);
        drop(tokio::time::timeout(Duration::from_secs(5), load).await.unwrap());
        tokio::time::timeout(Duration::from_secs(5), touch).await.unwrap();
    }

    #[tokio::test]
    async fn no_more_loads_than_there_are_slots() {
        let (one, other, slots) = (TargetLock::default(), TargetLock::default(), slots());
        let (loading, _) = one.enter(Effect::Load, Effect::Load, Arc::clone(&slots)).await;
        let mut second = Box::pin(other.enter(Effect::Load, Effect::Load, Arc::clone(&slots)));
        assert!(second.as_mut().now_or_never().is_none());
        // While it waits for its slot, it keeps nobody off its target.
        assert!(other.enter(Effect::Touch, Effect::Touch, slots).now_or_never().is_some());
        drop(loading);
        second.await;
    }

    #[test]
    fn a_lock_file_names_its_holder_and_is_free_again() {
        let dir = tempfile::tempdir().unwrap();
        let held = LockFile::take(dir.path(), "cache", "01RUN").unwrap();
        let ProbeError::Skipped(failure) = LockFile::take(dir.path(), "cache", "01OTHER").unwrap_err() else {
            panic!("not skipped")
        };
        assert_eq!(failure.reason, Reason::Lease);
        assert!(failure.message.contains("run 01RUN"), "{}", failure.message);
        LockFile::take(dir.path(), "redis://host:1/0", "01URL").unwrap();
        assert_eq!(LockFile::last_run(dir.path(), "cache"), None, "it may still go on");
        drop(held);
        assert_eq!(LockFile::last_run(dir.path(), "cache").as_deref(), Some("01RUN"));
        assert_eq!(LockFile::last_run(dir.path(), "nowhere"), None);
        LockFile::take(dir.path(), "cache", "01NEXT").unwrap();
    }

    #[test]
    fn without_a_folder_there_is_no_load() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = LockFile::take(&file, "cache", "01RUN").unwrap_err();
        assert_eq!(error.failure().reason, Reason::Precondition);
    }

    #[test]
    fn only_heavy_company_disturbs() {
        let company = Company::default();
        let light = company.join(false);
        let lighter = company.join(false);
        assert!(!light.was_disturbed() && !lighter.was_disturbed());
        let heavy = company.join(true);
        assert!(light.was_disturbed() && !heavy.was_disturbed());
        drop(heavy);
        assert!(!company.join(false).was_disturbed());
        assert_eq!(company.0.lock().unwrap().len(), 2);
    }
}
