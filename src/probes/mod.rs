//! THE REGISTRY: one line per probe. Every other list (config keys, docs, catalogue, default config) comes from it.
//!
//! A probe is one file here, or one folder: settings, metrics, objectives, probe, unit tests. What two probes share belongs
//! to `probe` or to the measuring core, not here.

use crate::probe::ProbeKind;

pub mod client_census;
pub mod config_audit;
pub mod health;
pub mod latency_baseline;
pub mod memory_pressure;
pub mod mixed_workload;
pub mod pool_exhaustion;
pub mod pool_sizing;
pub mod pool_starvation;
pub mod server_info;
pub mod split_pool;
pub mod throughput;

/// Every probe, by name.
pub static PROBES: &[&ProbeKind] = &[
    &const { ProbeKind::of::<client_census::ClientCensus>() },
    &const { ProbeKind::of::<config_audit::ConfigAudit>() },
    &const { ProbeKind::of::<health::Health>() },
    &const { ProbeKind::of::<latency_baseline::LatencyBaseline>() },
    &const { ProbeKind::of::<memory_pressure::MemoryPressure>() },
    &const { ProbeKind::of::<mixed_workload::MixedWorkload>() },
    &const { ProbeKind::of::<pool_exhaustion::PoolExhaustion>() },
    &const { ProbeKind::of::<pool_sizing::PoolSizing>() },
    &const { ProbeKind::of::<pool_starvation::PoolStarvation>() },
    &const { ProbeKind::of::<server_info::ServerInfo>() },
    &const { ProbeKind::of::<split_pool::SplitPool>() },
    &const { ProbeKind::of::<throughput::Throughput>() },
];

/// The probe of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static ProbeKind> {
    PROBES.iter().copied().find(|kind| kind.name == name)
}
