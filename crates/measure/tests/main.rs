//! The core against real redis-servers, and against a scripted one for what a real one never does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod attribute;
mod conn;
mod conn_tls;
mod errors;
mod facts;
mod fault;
mod guard;
mod journal;
mod keys;
mod lease;
mod load;
mod pool;
mod support;
mod watch;
