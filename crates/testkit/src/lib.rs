//! Test fixtures: a real redis-server of one's own, a scripted fake for what a real one cannot be made to do, and
//! polling with a deadline in place of fixed sleeps.
//!
//! Only ever a dev-dependency. Fixtures panic, with a message that says what to do, where a test could not go on.
//! What is checked belongs to the tests; nothing here knows the measuring core.

mod client_tls;
mod cluster;
mod fake;
mod poll;
mod sentinel;
mod server;
mod tls;

pub use client_tls::{Authority, Identity};
pub use cluster::Cluster;
pub use fake::{Event, FakeServer, Step};
pub use poll::{poll_until, poll_until_async};
pub use sentinel::{Sentinel, Watched};
pub use server::RedisServer;
pub use tls::{Certificate, Issuer};
