//! redprobe: a daemon that probes Redis servers on a schedule and exports what it finds as Prometheus metrics.
//!
//! `main.rs` turns arguments into a call of [`cli`]; everything else is here. The measuring itself lives in the
//! `measure` crate, which knows nothing of configuration, HTTP or Prometheus. ARCHITECTURE.md has the map.

pub mod acl;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod http;
pub mod private;
pub mod probe;
pub mod probes;
pub mod schedule;
pub mod selfwatch;
pub mod shutdown;
pub mod sink;
mod supervisor;
pub mod telemetry;
pub mod verdict;
