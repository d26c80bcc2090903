//! The integration tests: one binary, so that they link once. One module per subject.

mod config;
mod exposition;
mod layers;
mod synthetic;
