//! Counts a server's real clients, in groups and in the pools that are declared, by CLIENT LIST; by INFO alone where
//! that is denied.
//!
//! Settings, objectives and the order of a run are here. Who belongs to which group is in `groups`, what is counted of
//! them in `tally`, what is remembered from run to run in `memory`, what a report says of it in `figures` and
//! `findings`.

use std::sync::Arc;

use measure::{
    Effect, Failure, Grant, ProbeError, Reason,
    facts::{self, Info},
    metric::MetricDef,
    report::{Doubt, Report, SkippedPhase},
};

use self::{
    groups::{GroupRule, Groups},
    memory::{Memories, Way},
    tally::{Census, Tally},
};
use crate::{
    config::settings::{Size, Span},
    probe::{Needs, Probe, ProbeCx, SettingError, SettingErrors},
    settings,
};

mod figures;
mod findings;
mod groups;
mod memory;
mod tally;

settings! {
    /// Settings of `client_census`.
    pub struct Settings {
        /// Groups that clients are counted in, besides the declared pools: the first rule that fits a client names its
        /// group; several rules may name the same one, or a pool, and add to it. Without one it is `other`; redprobe's
        /// own are `redprobe`.
        /// `[{ name = "workers", match = { name = "worker-*" } }, { name = "batch", match = { user = "batch" } }]`; what
        /// a match can say is listed at `[pools]`. These names are the only labels there are.
        groups: Vec<GroupRule> = Vec::new(),
        /// A connection counts as idle when it has sent nothing for longer than this, and neither waits in a blocking
        /// command nor is subscribed.
        idle_limit: Span = Span::secs(3600),
        /// A client counts as a slow reader when more than this much of its replies waits for it in the server's memory.
        output_buffer_limit: Size = Size(1 << 20),
        /// Clients above which CLIENT LIST is not asked for in every run: it holds up the server, by 10 to 35 ms and
        /// 2 MB for 8,000 clients.
        sample_above: u64 = 2_000,
        /// Above that, every how many runs it is asked for. Those between show the figures of the last list again, and
        /// its age.
        sample_every: u32 = 10,
    }
}

/// Most rules: each is tried for each client.
const MOST_RULES: usize = 100;

/// The probe.
#[derive(Debug)]
pub struct ClientCensus {
    settings: Settings,
    rules: Vec<groups::Rule>,
    memories: Memories,
}

impl Probe for ClientCensus {
    const NAME: &'static str = "client_census";
    const SUMMARY: &'static str = "Counts the server's clients in groups and declared pools: open, blocked, idle, subscribed, coming and going.";
    const EFFECT: Effect = Effect::Observe;
    const COMMANDS: &'static [Grant] = &[
        Grant::observe("info", "", "count the clients"),
        facts::LIST.optional("it is not known whose connections they are: no groups and no pools"),
    ];
    const METRICS: &'static [&'static MetricDef] = figures::METRICS;
    const OBJECTIVES: &'static [&'static measure::report::ObjectiveDef] = findings::OBJECTIVES;
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Vec<SettingError>> {
        let mut errors = SettingErrors::default();
        errors.check(settings.idle_limit >= Span::secs(1), "idle_limit", "expected 1s or more");
        errors.check_range(settings.sample_every.into(), 1..=10_000, "sample_every");
        errors.check(settings.groups.len() <= MOST_RULES, "groups", "expected 100 rules at the most");
        let (rules, wrong) = groups::rules(&settings.groups);
        for message in wrong {
            errors.check(false, "groups", &message);
        }
        errors.or(Self { settings, rules, memories: Memories::default() })
    }

    fn quick(_settings: &mut Settings) {}

    fn needs(&self, _allowed: Effect) -> Needs {
        Needs { connections: 2, ..Needs::default() }
    }

    async fn run(&self, cx: &ProbeCx) -> Result<Report, ProbeError> {
        let mut conn = cx.observer().await?;
        // The default sections, since servers before 7.0 take the name of one at the most.
        let info = cx.info(&mut conn, &[]).await?;
        let Some(connected) = info.integer("connected_clients") else {
            return Err(ProbeError::failed(
                Reason::Protocol,
                "the answer to INFO has no connected_clients; this is not a Redis server, or INFO is filtered",
            ));
        };
        let target = &cx.target.id;
        let server = info.text("run_id").unwrap_or_default();
        let groups = Groups::new(&cx.target.pools, &self.rules);
        let mut turned_away = false;
        let seen = match self.memories.way(target, server, connected, &self.settings) {
            Way::Denied(failure) => Err(failure),
            Way::Again(census) => Ok(census),
            Way::List => {
                let mut tally = Tally::new(&groups, &self.settings);
                let listed =
                    cx.client_list(&mut conn, has_room(&info), &mut |client| tally.add(client)).await;
                match listed {
                    Ok(own) => {
                        turned_away = own;
                        Ok(self.memories.learn(target, tally.done()))
                    }
                    Err(error) => Err(self.denied(target, error)?),
                }
            }
        };
        let rejected = self.memories.rejected(target, &info, turned_away);
        Ok(report(&groups, &info, seen, rejected))
    }
}

impl ClientCensus {
    /// Remembers a refusal, so that the server's ACL LOG does not grow with every run. Anything else is the error.
    fn denied(&self, target: &str, error: ProbeError) -> Result<Failure, ProbeError> {
        match error {
            ProbeError::Failed(failure) if matches!(failure.reason, Reason::Denied | Reason::Unsupported) => {
                self.memories.deny(target, &failure);
                Ok(failure)
            }
            error => Err(error),
        }
    }
}

/// Whether the server takes another connection: beyond maxclients it would be turned away, and count as that.
fn has_room(info: &Info) -> bool {
    let number = |field| info.integer(field).unwrap_or_default();
    info.integer("maxclients")
        .is_none_or(|max| number("connected_clients") + number("connected_slaves") < max)
}

fn report(groups: &Groups, info: &Info, seen: Result<Arc<Census>, Failure>, rejected: Option<u64>) -> Report {
    let mut report = Report::default();
    figures::of_server(info, groups, rejected, &mut report);
    findings::observe_server(info, groups, rejected, &mut report);
    match seen {
        Ok(census) => {
            figures::of_list(groups, &census, &mut report);
            findings::observe_list(groups, &census, &mut report);
            report.conclusion = findings::conclusion(groups, &census, info);
        }
        Err(Failure { reason, message }) => {
            report.set(&figures::LISTED, 0.0);
            report.doubts.insert(Doubt::PhaseSkipped);
            let message = format!(
                "{message}; not asked again until redprobe reads its configuration anew or the server restarts"
            );
            report.skipped_phases.push(SkippedPhase { phase: "list", reason, message });
            report.conclusion = findings::without_list(info);
        }
    }
    report
}

#[cfg(test)]
mod tests;
