//! Configuration files of any content: reading one gives a plan or a list of mistakes, never a panic.

#![no_main]

use std::{fs, path::PathBuf};

use libfuzzer_sys::fuzz_target;
use redprobe::config::{Overrides, Plan};

fuzz_target!(init: { rustls::crypto::ring::default_provider().install_default().ok(); }, |text: &str| {
    let path = PathBuf::from(format!("/dev/shm/redprobe-fuzz-{}.toml", std::process::id()));
    fs::write(&path, text).expect("memory can be written to");
    if let Err(mistakes) = Plan::load(Some(&path), &Overrides::default()) {
        assert!(!mistakes.is_empty(), "refused without a mistake");
    }
});
