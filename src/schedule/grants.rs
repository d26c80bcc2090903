//! Before the first run on a target: what its user lacks, and what it may do needlessly. Told once, and kept for the
//! records of runs that are denied something.
//!
//! How that is asked is `acl`'s. Nothing waits for it but the command line, and nothing is refused because of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use measure::{Failure, ProbeError, Reason};
use tokio_util::task::AbortOnDropHandle;

use super::{admit::Place, runner::Runner};
use crate::{
    acl::{
        Needs, Wanted,
        check::{self, Checked, Findings, Missing},
    },
    config::{Job, Plan, Target},
};

/// Targets asked at a time.
const AT_A_TIME: usize = 8;
/// Bound of asking one.
const PATIENCE: Duration = Duration::from_secs(5);
/// Until those that did not answer are asked again.
const AGAIN: Duration = Duration::from_secs(10);

/// What is known of a target's user.
#[derive(Debug, Default)]
pub(super) struct Grants(Mutex<Option<Checked>>);

impl Grants {
    /// Takes this on; whether it is news.
    fn learn(&self, checked: &Checked) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.replace(checked.clone()).as_ref() != Some(checked)
    }

    /// The error of a run of `job`, with what its user lacks where it was denied something.
    pub(super) fn explain(&self, job: &Job, error: ProbeError) -> ProbeError {
        let ProbeError::Failed(failure) = &error else { return error };
        if failure.reason != Reason::Denied {
            return error;
        }
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Checked::Known(findings)) = known.as_ref() else { return error };
        let (probe, target) = (job.kind().name, &job.target);
        // What a run can do without is not why it failed.
        let felt = |lacks: &&Missing| lacks.lost.is_none() && lacks.concerns(probe);
        let missing: Vec<_> = findings.missing.iter().filter(felt).collect();
        if missing.is_empty() {
            return error;
        }
        // At start: what somebody has granted since is not known here.
        let (user, list) = (check::user(&target.endpoint), check::list(missing));
        let more = format!("at start, the user {user} lacked {list}; {}", command(&[probe]));
        ProbeError::failed(Reason::Denied, format!("{}; {more}", failure.message))
    }
}

/// One target and the probes that run on it.
type Asked = (Arc<Target>, Vec<Wanted>);

/// Asks every target of the plan until it has answered once, a few at a time. Ends with them, or when dropped.
pub(super) fn watch(runner: Arc<Runner>, plan: &Plan) -> AbortOnDropHandle<()> {
    let mut left = asked(plan);
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            left = round(&runner, left).await;
            if left.is_empty() {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }))
}

/// Asks every target of the plan, once.
pub(super) async fn ask_once(runner: &Runner, plan: &Plan) {
    round(runner, asked(plan)).await;
}

fn asked(plan: &Plan) -> Vec<Asked> {
    let mut targets = BTreeMap::<&str, Asked>::new();
    for job in &plan.jobs {
        let none = || (Arc::clone(&job.target), Vec::new());
        targets.entry(&job.target.id).or_insert_with(none).1.push(Wanted::of(job));
    }
    targets.into_values().collect()
}

/// Returns those that could not be asked.
async fn round(runner: &Runner, targets: Vec<Asked>) -> Vec<Asked> {
    let ask = |asked: Asked| async {
        let done = one(&runner.place(&asked.0.name), &asked).await;
        done.is_err().then_some(asked)
    };
    let left = stream::iter(targets.into_iter().map(ask)).buffer_unordered(AT_A_TIME);
    left.filter_map(std::future::ready).collect().await
}

async fn one(place: &Place, (target, wanted): &Asked) -> Result<(), Failure> {
    let needs = Needs::of(wanted, target.endpoint.database).finding(target);
    let asking = async {
        let endpoint = target.endpoint.find().await?;
        check::check(&endpoint, target.whose_keys(), &needs).await
    };
    let late = |_| Failure::new(Reason::Timeout, "no answer to ACL DRYRUN");
    let checked = tokio::time::timeout(PATIENCE, asking).await.map_err(late).flatten();
    let name = &target.id;
    let checked = checked.inspect_err(|failure| {
        tracing::debug!(target = name, %failure, "what its user may do is not known yet");
    })?;
    if place.grants.learn(&checked) {
        tell(target, wanted, &checked);
    }
    Ok(())
}

fn tell(target: &Target, wanted: &[Wanted], checked: &Checked) {
    let (name, user) = (&target.id, check::user(&target.endpoint));
    let Findings { missing, needless } = match checked {
        Checked::Known(findings) => findings,
        Checked::Unknown(why) => {
            tracing::debug!(target = name, user, "the server does not say what its user may do: {why}");
            return;
        }
    };
    let mut probes: Vec<_> = wanted.iter().map(|wanted| wanted.kind.name).collect();
    probes.sort_unstable();
    probes.dedup();
    if !missing.is_empty() {
        let (list, rule) = (check::list(missing), command(&probes));
        tracing::warn!(target = name, user, "the user {user} lacks {list}; {rule}");
    }
    if !needless.is_empty() {
        let (needless, rule) = (needless.join(", "), command(&probes));
        tracing::info!(
            target = name,
            user,
            "the user {user} may do more than these probes need, {needless} among it; {rule}"
        );
    }
}

/// How to mend it. Without the target's name: it may have been given as a URL.
fn command(probes: &[&str]) -> String {
    format!("`redprobe acl {}`, with this --target, prints a rule that is just enough", probes.join(" "))
}
