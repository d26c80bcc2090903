//! What a probe is: typed for its author, erased for the runner; and all that a probe can reach while it runs.
//!
//! A probe returns data and does nothing else. Permits, deadlines, clean-up, judgement and publishing are the runner's;
//! the probes themselves are in `probes/`.

use std::{future::Future, ops::RangeInclusive, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use measure::{
    Effect, Failure, Grant, OwnErrors, Preflight, ProbeError, Reason,
    clock::{self, Instant},
    conn::{self, ConnectTimes, Endpoint},
    facts::{self, Info, clients::Client},
    journal::{Changes, OwnKeys, Restored},
    keys::KeySpace,
    load::{self, Control, LoadPlan, LoadResult},
    metric::MetricDef,
    redis::aio::MultiplexedConnection,
    report::{ObjectiveDef, Report},
    wire::{Command, WireConnector},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    config::{Mistake, Mistakes, Source, Target, settings::Documented},
    schedule::runner::{KeptConnection, RunLog},
};

pub mod catalogue;
pub mod figures;
pub mod phases;
pub mod pools;

/// One kind of probe.
pub trait Probe: Send + Sync + Sized + 'static {
    /// Config key, `probe` label, URL segment. `snake_case`, never renamed.
    const NAME: &'static str;
    /// One sentence for `redprobe probes`, the docs and the default config.
    const SUMMARY: &'static str;
    /// The least effect it can do with.
    const EFFECT: Effect;
    /// The greatest effect any of its phases has. A phase above what the target allows is skipped and says so.
    const REACH: Effect = Self::EFFECT;
    /// Whether it judges the server as it is configured, and so must not look while a run that disrupts may have changed
    /// settings for a time.
    const AS_CONFIGURED: bool = false;
    /// Every command that it sends itself, for the ACL rule: `redprobe acl`, and the check at start. Those of logging in,
    /// preflight, own keys' removal and the lease are the runner's, and not here.
    const COMMANDS: &'static [Grant];
    /// Every metric it can set.
    const METRICS: &'static [&'static MetricDef];
    /// Every objective it can observe.
    const OBJECTIVES: &'static [&'static ObjectiveDef];
    /// Its settings; the default must work out of the box.
    type Settings: Default + Serialize + DeserializeOwned + Documented + Send;

    /// Checks the settings: all of it, at start or reload, never in `run`.
    ///
    /// # Errors
    /// Every mistake, with the setting's name.
    fn new(settings: Self::Settings) -> Result<Self, Vec<SettingError>>;

    /// Cuts durations to at most 5 s and counts to a tenth, for `--quick`.
    fn quick(settings: &mut Self::Settings);

    /// What a run takes from the server at the most, with the phases whose effect is up to `allowed`. Before a run it is
    /// asked for [`Probe::EFFECT`] alone: a phase that does more has its own needs checked when it begins, and is skipped
    /// where there is no room for it.
    fn needs(&self, allowed: Effect) -> Needs;

    /// Runs once. Returns data; never judges, logs its failure, or outlives the call.
    fn run(&self, cx: &ProbeCx) -> impl Future<Output = Result<Report, ProbeError>> + Send;
}

/// A setting that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError {
    /// The setting's name.
    pub setting: &'static str,
    /// What is wrong, what was expected, how to mend it.
    pub message: String,
}

/// What is wrong with a probe's settings, gathered so that all of it is said at once.
#[derive(Debug, Default)]
pub struct SettingErrors(Vec<SettingError>);

impl SettingErrors {
    /// Adds `message`, which says what was expected, unless the setting `holds`.
    pub fn check(&mut self, holds: bool, setting: &'static str, message: &str) {
        if !holds {
            self.0.push(SettingError { setting, message: message.to_owned() });
        }
    }

    /// Adds an error unless the number is in the range.
    pub fn check_range(&mut self, number: u64, range: RangeInclusive<u64>, setting: &'static str) {
        let expected = format!("expected {} to {}", range.start(), range.end());
        self.check(range.contains(&number), setting, &expected);
    }

    /// The probe, where nothing is wrong.
    ///
    /// # Errors
    /// Everything that was added.
    pub fn or<P>(self, probe: P) -> Result<P, Vec<SettingError>> {
        if self.0.is_empty() { Ok(probe) } else { Err(self.0) }
    }
}

/// What a run takes from the server at the most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// Connections at a time.
    pub connections: u64,
    /// Keys at a time.
    pub keys: u64,
    /// Bytes of values at a time.
    pub bytes: u64,
}

/// A configured probe, its type forgotten.
pub trait DynProbe: Send + Sync {
    /// What kind it is.
    fn kind(&self) -> &'static ProbeKind;
    /// See [`Probe::needs`].
    fn needs(&self, allowed: Effect) -> Needs;
    /// See [`Probe::run`].
    fn run<'a>(&'a self, cx: &'a ProbeCx) -> BoxFuture<'a, Result<Report, ProbeError>>;
}

/// A kind of probe as data: an entry of the registry.
pub struct ProbeKind {
    /// See [`Probe::NAME`].
    pub name: &'static str,
    /// See [`Probe::SUMMARY`].
    pub summary: &'static str,
    /// See [`Probe::EFFECT`].
    pub effect: Effect,
    /// See [`Probe::REACH`].
    pub reach: Effect,
    /// See [`Probe::AS_CONFIGURED`].
    pub as_configured: bool,
    /// See [`Probe::COMMANDS`].
    pub commands: &'static [Grant],
    /// See [`Probe::METRICS`].
    pub metrics: &'static [&'static MetricDef],
    /// See [`Probe::OBJECTIVES`].
    pub objectives: &'static [&'static ObjectiveDef],
    /// Setting names with their documentation.
    pub settings: &'static [(&'static str, &'static str)],
    /// The default settings.
    pub defaults: fn() -> serde_json::Value,
    /// Reads, checks and builds. `quick` cuts durations and counts.
    pub build: fn(source: Source, quick: bool) -> Result<Built, Vec<Mistake>>,
}

impl std::fmt::Debug for ProbeKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProbeKind").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A probe ready to run, with the settings in force.
pub struct Built {
    /// The probe.
    pub probe: Arc<dyn DynProbe>,
    /// Its settings, defaults filled in.
    pub settings: serde_json::Value,
}

struct Erased<P>(P, &'static ProbeKind);

impl<P: Probe> DynProbe for Erased<P> {
    fn kind(&self) -> &'static ProbeKind {
        self.1
    }

    fn needs(&self, allowed: Effect) -> Needs {
        self.0.needs(allowed)
    }

    fn run<'a>(&'a self, cx: &'a ProbeCx) -> BoxFuture<'a, Result<Report, ProbeError>> {
        Box::pin(self.0.run(cx))
    }
}

impl ProbeKind {
    /// Whether a run with this effect is let in by preflight alone. A probe that can do with Observe also judges servers
    /// that may not be touched (loading, read-only).
    #[must_use]
    pub fn is_guarded(&self, allowed: Effect) -> bool {
        self.effect > Effect::Observe || allowed >= Effect::Load
    }

    /// The registry entry of a probe type.
    #[must_use]
    pub const fn of<P: Probe>() -> Self {
        Self {
            name: P::NAME,
            summary: P::SUMMARY,
            effect: P::EFFECT,
            reach: P::REACH,
            as_configured: P::AS_CONFIGURED,
            commands: P::COMMANDS,
            metrics: P::METRICS,
            objectives: P::OBJECTIVES,
            settings: P::Settings::DOCS,
            defaults: || serde_json::to_value(P::Settings::default()).expect("settings are plain data"),
            build: build::<P>,
        }
    }
}

fn build<P: Probe>(source: Source, quick: bool) -> Result<Built, Vec<Mistake>> {
    let path = source.path.clone();
    let kind = crate::probes::find(P::NAME).expect("a probe that is built is registered");
    let mut mistakes = Mistakes::default();
    // What can be read is checked whatever is wrong with the rest: all mistakes are reported at once.
    let settings: Option<P::Settings> = source.read_rest(&mut mistakes);
    let built = settings.and_then(|mut settings| {
        if quick {
            P::quick(&mut settings);
        }
        let shown = serde_json::to_value(&settings).expect("settings are plain data");
        let probe = P::new(settings).map_err(|errors| {
            for SettingError { setting, message } in errors {
                let value = Some(&shown[setting]).filter(|value| !value.is_null());
                let value = value.map_or_else(String::new, |value| format!("{value} is refused: "));
                mistakes.add(format!("{path}.{setting}"), format!("{value}{message}"));
            }
        });
        Some(Built { probe: Arc::new(Erased(probe.ok()?, kind)), settings: shown })
    });
    mistakes.or(built)
}

/// How long a probe that puts settings back waits for memory to be free again.
const RESTORE_PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at it.
const RESTORE_AGAIN: Duration = Duration::from_millis(100);

/// Everything a probe can reach while it runs.
pub struct ProbeCx {
    /// The run's id, part of its keys and of its connections' names.
    pub run_id: String,
    /// The target.
    pub target: Arc<Target>,
    /// Its server, where it is as long as the run goes on.
    pub endpoint: Endpoint,
    /// The key of the server's lease.
    pub lease: String,
    /// Why the run may only look, where the server is in no state for more.
    pub only_looks: Option<Failure>,
    /// The greatest effect this run may have.
    pub allowed: Effect,
    /// The run's keys.
    pub keys: KeySpace,
    /// Kill switch, progress and thread count of its load.
    pub control: Control,
    /// When the runner will end it.
    pub deadline: Instant,
    /// The run's own log, kept with its record.
    pub log: RunLog,
    /// Refusals that the run brought upon itself (OOM, MISCONF, a connection turned away): a run that disrupts notes
    /// each of its own here, since the watch stops it for everybody else's.
    pub own_errors: OwnErrors,
    /// `redprobe-<probe>-<run>`.
    pub client_name: String,
    pub(crate) kept: KeptConnection,
    pub(crate) settings: Changes,
}

impl ProbeCx {
    /// Whether a phase with this effect may run.
    #[must_use]
    pub fn allows(&self, effect: Effect) -> bool {
        effect <= self.allowed
    }

    /// Time left until the runner ends the run.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(clock::now())
    }

    /// The target's kept connection: opened once, shared by the observing probes, dropped at the first error.
    ///
    /// # Errors
    /// With the reason for which it could not be opened.
    pub async fn observer(&self) -> Result<MultiplexedConnection, ProbeError> {
        Ok(self.kept.get(&self.endpoint).await?)
    }

    /// A connection of this run's own.
    ///
    /// # Errors
    /// With the reason for which it could not be opened.
    pub async fn connect(&self) -> Result<(MultiplexedConnection, ConnectTimes), ProbeError> {
        let connected = conn::connect(&self.endpoint, &self.client_name).await;
        Ok(connected.inspect_err(|failure| self.own_errors.note(failure.reason))?)
    }

    /// `INFO` of the given sections over `conn`; a command denied, busy or loading is the error.
    ///
    /// # Errors
    /// With the server's reason.
    pub async fn info(
        &self,
        conn: &mut MultiplexedConnection,
        sections: &[&str],
    ) -> Result<Info, ProbeError> {
        Ok(Info::ask(conn, sections).await?)
    }

    /// `each` client of the server, as CLIENT LIST has it: over a connection of its own, which takes no memory for a long
    /// list; over `kept` where the server has no `room` for that or turns it away, and the list is then in memory whole.
    /// Whether the server has turned one away.
    ///
    /// # Errors
    /// With the server's reason.
    pub async fn client_list(
        &self,
        kept: &mut MultiplexedConnection,
        room: bool,
        each: &mut impl FnMut(&Client<'_>),
    ) -> Result<bool, ProbeError> {
        if room {
            match facts::read_list(&self.endpoint, &self.client_name, each).await {
                Err(failure) if failure.reason == Reason::Rejected => {}
                listed => return Ok(listed.map(|_| false)?),
            }
        }
        facts::ask_list(kept, each).await?;
        Ok(room)
    }

    /// The safety contract's checks before a phase of this effect.
    ///
    /// # Errors
    /// Skipped where the server is not in a state for it.
    pub async fn preflight(&self, conn: &mut MultiplexedConnection, needs: Needs) -> Result<(), ProbeError> {
        Preflight { effect: self.allowed, connections: needs.connections, bytes: needs.bytes }
            .check(conn)
            .await
    }

    /// Changes settings of the server for the time of the run, in this order where the server cannot take them at once;
    /// those that have the value already are left as they are. What the probe does not put back itself, the runner does,
    /// and if redprobe dies, the next one. Make own keys safe first: the policy, then the limit.
    ///
    /// # Errors
    /// Skipped where Disrupt is not allowed, where what they were cannot be written down first, or where the server does
    /// not have one of them; failed where the server refuses. Nothing stays changed then, or the runner sees to it.
    pub async fn change_settings(
        &self,
        conn: &mut MultiplexedConnection,
        settings: &[(&str, String)],
    ) -> Result<(), ProbeError> {
        if !self.allows(Effect::Disrupt) {
            return Err(ProbeError::skipped(
                Reason::EffectNotAllowed,
                format!("settings are changed only where targets.{}.allow is disrupt", self.target.name),
            ));
        }
        self.settings.change(conn, settings).await?;
        for setting in self.settings.pending() {
            self.log.note(format!(
                "{} is {:?} now; it was {:?}",
                setting.parameter, setting.ours, setting.original
            ));
        }
        Ok(())
    }

    /// Puts back every setting that the run has changed and nobody else has since. Remove own keys before: until memory
    /// is below the limit that will be in force again, it waits, since others would lose keys.
    ///
    /// # Errors
    /// Where that is not to be had, or the server refuses or is away; the runner tries again after the run.
    pub async fn restore_settings(&self, conn: &mut MultiplexedConnection) -> Result<Restored, ProbeError> {
        let until = clock::now() + RESTORE_PATIENCE.min(self.time_left());
        loop {
            // Keys that expired by themselves were not seen to be gone.
            let keys = if self.keys.is_untouched() { OwnKeys::Gone } else { OwnKeys::MayBeThere };
            match self.settings.restore(conn, keys).await {
                Err(failure) if failure.reason == Reason::Precondition && clock::now() < until => {
                    tokio::time::sleep(RESTORE_AGAIN).await;
                }
                done => return Ok(done?),
            }
        }
    }

    /// Runs one phase of load over raw connections; `commands` in the order of the plan's mix.
    ///
    /// # Errors
    /// Where it could not run at all.
    pub async fn load(&self, plan: LoadPlan, commands: Vec<Command>) -> Result<LoadResult, ProbeError> {
        let connector = WireConnector::new(self.endpoint.clone(), &self.client_name, commands, &plan);
        Ok(load::run(plan, connector, &self.control).await?)
    }
}
