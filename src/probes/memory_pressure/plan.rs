//! Whether a run may go on, and how far it goes: from settings and the server's state to a plan, or to the one sentence
//! that says which setting would allow it and at what price. Pure; nothing here asks the server.
//!
//! The rules are those of the safety contract: no key that is not ours may be evicted, and no writer but ours refused,
//! unless the settings say so.

use super::{
    Settings,
    policy::{Policy, Takes},
};
use crate::verdict::human;
use measure::report::Unit;

/// What the server says before anything was done to it.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    /// Memory that counts towards the limit, in bytes.
    pub(super) used: u64,
    /// `maxmemory` in bytes, 0 for none.
    pub(super) limit: u64,
    /// `maxmemory-policy`.
    pub(super) policy: String,
    /// The machine's memory in bytes, where the server knows it.
    pub(super) machine: Option<u64>,
    /// Keys that are not redprobe's, in all databases.
    pub(super) foreign: u64,
    /// Those of them with a time to live.
    pub(super) foreign_expiring: u64,
    /// Their shortest average time to live of any database, in seconds, where the server knows it.
    pub(super) foreign_ttl: Option<f64>,
    /// How long own keys live at the most, in seconds.
    pub(super) own_ttl: f64,
}

/// What a run will do.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    /// The limit in force, in bytes.
    pub(super) limit: u64,
    /// The policy in force.
    pub(super) policy: Policy,
    /// Settings to change, safe ones first.
    pub(super) changes: Vec<(&'static str, String)>,
    /// Used memory to reach, in bytes; beyond the limit, that much is written all the same.
    pub(super) goal: u64,
    /// Bytes to write; 0 where the server is above the goal already.
    pub(super) fill: u64,
    /// Size of each value, in bytes.
    pub(super) value_size: u64,
    /// Foreign keys that the run may find itself beside, and those of them with a time to live.
    pub(super) most_foreign: u64,
    pub(super) most_foreign_expiring: u64,
    /// Used memory at which the run gives way to others, so that nothing of theirs is evicted; none where nothing of
    /// theirs can be.
    pub(super) gives_way_at: Option<u64>,
}

impl Plan {
    /// Whether it goes beyond the limit, so that the policy has to act.
    pub(super) const fn is_above_limit(&self) -> bool {
        self.goal > self.limit
    }
}

/// Allocated for a key beside its value: the entry, the key's name, the two headers, the expiry.
pub(super) const KEY_OVERHEAD: u64 = 200;
/// Values of a large fill: few keys, so that the tables of keys do not grow by much, and each freed in microseconds.
const LARGEST_VALUE: u64 = 64 << 10;
/// Values where own keys have to outnumber others, and of small fills.
const SMALLEST_VALUE: u64 = 1 << 10;
/// What a string's header takes of its allocation.
const STRING_HEADER: u64 = 32;
/// Keys that a fill is cut into at least, so that deleting some shows.
const FEWEST_KEYS: u64 = 1_000;
/// Own keys for each foreign one with a time to live, for `volatile-ttl` to find own ones among the few that it looks at.
const OUTNUMBER: u64 = 4;
/// `maxmemory-samples` at which it finds them whatever their number.
pub(super) const SAMPLES: &str = "64";
/// Share of the limit that a fill beside foreign keys may reach where the policy evicts, in percent.
const BELOW_LIMIT: u64 = 95;
/// Share of the limit at which it gives way, in percent.
const GIVES_WAY: u64 = 97;
/// Share of the machine's memory that a raised limit may let the server reach.
const MACHINE_SHARE: f64 = 0.5;

/// Makes the plan.
///
/// # Errors
/// One sentence: what is in the way, which setting would allow it, and at what price.
pub(super) fn plan(settings: &Settings, state: &State) -> Result<Plan, String> {
    let limit = settings.temp_maxmemory.map_or(state.limit, |size| size.0);
    if limit == 0 {
        return Err("the server has no maxmemory, so that there is no limit to fill up to; set temp_maxmemory (such as \
                    \"128MB\") to give it one for the length of the run, at the price that the probe changes its settings"
            .into());
    }
    let named = settings.temp_policy.as_deref().unwrap_or(&state.policy);
    let Some(policy) = Policy::parse(named) else {
        return Err(format!(
            "what the eviction policy {named:?} takes is not known; set temp_policy to one that is, such as \
             \"noeviction\", at the price that the probe changes the server's settings"
        ));
    };
    let mut plan = Plan {
        limit,
        policy,
        changes: Vec::new(),
        goal: goal(settings, state, limit),
        fill: 0,
        value_size: 0,
        most_foreign: settings.max_foreign_keys,
        most_foreign_expiring: u64::MAX,
        gives_way_at: None,
    };
    plan.fill = plan.goal.saturating_sub(state.used);
    plan.value_size = value_size(plan.fill, settings.delete_keys);
    lowers_safely(settings, state, limit)?;
    raises_safely(settings, state, &plan)?;
    let refused_writers = policy == Policy::Noeviction && plan.goal >= limit;
    if refused_writers && !settings.accept_foreign_oom {
        return Err(format!(
            "target_percent = {} goes to the limit, where noeviction refuses every writer; set accept_foreign_oom = true \
             to allow that, at the price that others' writes fail with OOM while the run lasts",
            settings.target_percent
        ));
    }
    plan.changes = changes(settings, state, limit, policy);
    if state.foreign > 0 {
        beside_foreign(settings, state, &mut plan)?;
    } else if beside_one(settings, state, &mut plan).is_err() {
        // Whoever comes meanwhile meets the same rules.
        plan.most_foreign = 0;
    }
    Ok(plan)
}

fn beside_one(settings: &Settings, state: &State, plan: &mut Plan) -> Result<(), String> {
    let state = State { foreign: 1, foreign_expiring: 1, ..state.clone() };
    let mut with_one = plan.clone();
    raises_safely(settings, &state, plan)?;
    beside_foreign(settings, &state, &mut with_one)?;
    plan.most_foreign_expiring = with_one.most_foreign_expiring;
    plan.gives_way_at = with_one.gives_way_at;
    Ok(())
}

fn goal(settings: &Settings, state: &State, limit: u64) -> u64 {
    let goal = percent(limit, settings.target_percent);
    if settings.max_fill.0 == 0 { goal } else { goal.min(state.used.saturating_add(settings.max_fill.0)) }
}

fn percent(whole: u64, percent: u64) -> u64 {
    u64::try_from(u128::from(whole) * u128::from(percent) / 100).unwrap_or(u64::MAX)
}

/// A power of two, so that it fills what the allocator gives for it; less what the string's header takes.
fn value_size(fill: u64, delete_keys: u64) -> u64 {
    let pieces = FEWEST_KEYS.max(delete_keys.saturating_mul(4));
    let size = (fill / pieces).clamp(SMALLEST_VALUE, LARGEST_VALUE);
    (1 << size.ilog2()) - STRING_HEADER
}

/// Only what differs from what the server has. The policy comes first: where settings are set one by one, no moment may
/// have the new limit with the old policy.
fn changes(settings: &Settings, state: &State, limit: u64, policy: Policy) -> Vec<(&'static str, String)> {
    let mut changes = Vec::new();
    if settings.temp_policy.is_some() && !policy.as_str().eq_ignore_ascii_case(&state.policy) {
        changes.push(("maxmemory-policy", policy.as_str().to_owned()));
    }
    if limit != state.limit {
        changes.push(("maxmemory", limit.to_string()));
    }
    changes
}

/// Under most policies a limit below what is used evicts at once, with no write sent; under `noeviction` it stops every
/// writer.
fn lowers_safely(settings: &Settings, state: &State, limit: u64) -> Result<(), String> {
    if settings.temp_maxmemory.is_none() || limit == state.limit || state.used < limit {
        return Ok(());
    }
    let used = size(state.used);
    Err(format!(
        "temp_maxmemory = {} is not above the {used} that the server uses already, so that setting it would evict keys or \
         stop writers at once; set it to more than {used}, at the price of a larger fill",
        size(limit)
    ))
}

/// A raised limit must fit the machine; and beside foreign keys it is dangerous to take back, since what was filled may
/// still be there when a daemon that was killed comes back and restores.
fn raises_safely(settings: &Settings, state: &State, plan: &Plan) -> Result<(), String> {
    let raised = settings.temp_maxmemory.is_some() && (state.limit == 0 || plan.limit > state.limit);
    if !raised {
        return Ok(());
    }
    let most = state.machine.map(|machine| (machine as f64 * MACHINE_SHARE) as u64);
    if let Some(most) = most.filter(|most| plan.goal.max(state.used) > *most) {
        return Err(format!(
            "temp_maxmemory = {} lets the server grow to {}, and half of the machine's memory is {}; lower \
             temp_maxmemory or target_percent, at the price of less pressure",
            size(plan.limit),
            size(plan.goal),
            size(most)
        ));
    }
    if state.limit > 0 && state.foreign > 0 {
        return Err(format!(
            "temp_maxmemory = {} is above the server's own maxmemory ({}), and {} there could be evicted or refused when \
             it is taken back; set temp_maxmemory to at most that, at the price of less room to fill",
            size(plan.limit),
            size(state.limit),
            human::things(state.foreign, "foreign key"),
        ));
    }
    Ok(())
}

/// The rules for a server that holds keys of others. Gathers everything that would have to be set, so that one look at
/// the message is enough.
fn beside_foreign(settings: &Settings, state: &State, plan: &mut Plan) -> Result<(), String> {
    let mut needed = Vec::new();
    if state.foreign > settings.max_foreign_keys {
        needed.push(format!("max_foreign_keys = {} or more", state.foreign));
    }
    let (danger, price) = match plan.policy.takes() {
        Takes::Nothing => {
            if !settings.accept_foreign_oom {
                needed.push("accept_foreign_oom = true".into());
            }
            ("noeviction refuses their writers once the limit is reached", OOM_PRICE)
        }
        Takes::AnyKey => {
            needed.push(NOEVICTION.into());
            ("the policy evicts them before the probe's own, which are the freshest", OOM_PRICE)
        }
        Takes::AnyExpiring => {
            needed.push(NOEVICTION.into());
            (
                "the policy evicts those with a time to live before the probe's own, which are the freshest",
                OOM_PRICE,
            )
        }
        Takes::ShortestLived => {
            needed.extend(above_beside_foreign(settings, state, plan).err());
            (
                "volatile-ttl spares them only while own keys are the shortest-lived among the few it looks at",
                "that there is less pressure, or that settings are changed",
            )
        }
    };
    if needed.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the server holds {}, and under {} {danger}; set {}, at the price {price}, or give the probe a server of its own",
        human::things(state.foreign, "foreign key"),
        plan.policy,
        needed.join(" and "),
    ))
}

const NOEVICTION: &str = "temp_policy = \"noeviction\" with accept_foreign_oom = true";
const OOM_PRICE: &str = "that others' writes fail with OOM if the limit is reached while the run lasts";

/// `volatile-ttl` beside foreign keys: below the limit as it is; above it only where nearly every key it looks at is ours
/// and shorter-lived than theirs. `Err` names what would have to be set.
fn above_beside_foreign(settings: &Settings, state: &State, plan: &mut Plan) -> Result<(), String> {
    let below = percent(plan.limit, BELOW_LIMIT);
    if state.used.max(plan.goal) <= below {
        plan.gives_way_at = Some(percent(plan.limit, GIVES_WAY));
        return Ok(());
    }
    if state.foreign_expiring == 0 {
        plan.most_foreign_expiring = 0;
        return Ok(());
    }
    if state.used > below || state.foreign_ttl.is_some_and(|ttl| ttl < 2.0 * state.own_ttl) {
        // No number of own keys helps: theirs go first, or are what is left to go.
        return Err(format!("target_percent = {BELOW_LIMIT} or less"));
    }
    if !plan.changes.is_empty() {
        plan.changes.push(("maxmemory-samples", SAMPLES.into()));
        return Ok(());
    }
    plan.value_size = SMALLEST_VALUE - STRING_HEADER;
    let own = (plan.limit - state.used) / (plan.value_size + KEY_OVERHEAD);
    if own >= state.foreign_expiring.saturating_mul(OUTNUMBER) {
        plan.most_foreign_expiring = own / OUTNUMBER;
        return Ok(());
    }
    let limit = settings.temp_maxmemory.map_or(state.limit, |size| size.0);
    Err(format!(
        "target_percent = {BELOW_LIMIT} or less, or temp_policy or temp_maxmemory (now {}) so that maxmemory-samples is \
         raised with it",
        size(limit)
    ))
}

/// A value's size with its header: the round figure that people know.
pub(super) fn rounded(value_size: u64) -> String {
    size(value_size + STRING_HEADER)
}

/// Bytes as people read them.
pub(super) fn size(bytes: u64) -> String {
    human::value(bytes as f64, Unit::Bytes)
}
