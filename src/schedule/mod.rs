//! When jobs run.

pub mod locks;
pub mod runner;
