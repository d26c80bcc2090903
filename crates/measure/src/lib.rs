//! The measuring core: honest load, latency and facts of one Redis server, seen from the client's side.
//!
//! What is here works with times, bytes, connections and replies. What must never be here: configuration files,
//! HTTP, Prometheus, schedules, or a judgement of whether a number is good. Those belong to the daemon around it.

pub mod clock;
pub mod conn;
pub mod error;
pub mod facts;
pub mod fault;
pub mod grant;
pub mod journal;
pub mod keys;
pub mod latency;
pub mod lease;
pub mod load;
pub mod metric;
pub mod pace;
pub mod pool;
pub mod report;
pub mod resp;
pub mod stamp;
pub mod watch;
pub mod wire;

mod attribute;
mod guard;

pub use attribute::{CommandCosts, PooledOperation, attribute, attribute_pooled, command_of};
pub use error::{Failure, ProbeError, Reason};
pub use grant::Grant;
pub use guard::{CANARY, Canary, Effect, OwnErrors, PREFLIGHT, Preflight, WATCH, Watch};
pub use redis;
