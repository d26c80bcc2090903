//! Target URLs in any text: reading one must not panic, and a refusal must not repeat the password.

#![no_main]

use libfuzzer_sys::fuzz_target;
use measure::conn::Endpoint;

const PASSWORD: &str = "Xs3cr3tX";

fuzz_target!(|parts: (&str, &str)| {
    let _ = Endpoint::parse(parts.0);
    let (before, after) = parts;
    if before.contains(PASSWORD) || after.contains(PASSWORD) {
        return;
    }
    if let Err(message) = Endpoint::parse(&format!("redis://{before}:{PASSWORD}@{after}")) {
        assert!(!message.contains(PASSWORD), "the message shows the password: {message}");
    }
});
