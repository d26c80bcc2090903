//! The integration tests: one binary, so that they link once. One module per subject.

mod config;
mod exposition;
mod http;
mod layers;
mod records;
mod synthetic;
