//! The integration tests: one binary, so that they link once. One module per subject.

mod acl;
mod alerts;
mod cli;
mod config;
mod daemon;
mod deploy;
mod docs;
mod exposition;
mod faults;
mod halt;
mod http;
mod journal;
mod layers;
mod monitoring;
mod nodes;
mod probes;
mod records;
mod run_command;
mod run_plan;
mod runner;
mod secrets;
mod shard;
mod stack;
mod support;
mod synthetic;
mod tls;
