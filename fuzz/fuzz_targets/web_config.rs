//! Web configuration files of any content: reading one gives rules or a list of mistakes that show no secret, never a panic.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use redprobe::config::web::WebConfig;

const SECRET: &str = "hunter2";

fuzz_target!(|text: &str| {
    // Names of keys and of enumerations are shown; the places of secrets are these.
    for place in ["basic_auth_users:\n  joe: ", "tls_server_config:\n  cert_file: /dev/null\n  key: "] {
        let planted = format!("{place}{SECRET}{}\n", text.replace('\n', "\n    "));
        if let Err(mistakes) = WebConfig::parse(&planted, Path::new("/nowhere")) {
            assert!(!mistakes.is_empty(), "refused without a mistake");
            assert!(!mistakes.iter().any(|mistake| mistake.message.contains(SECRET)), "a secret is shown: {mistakes:?}");
        }
    }
    if let Err(mistakes) = WebConfig::parse(text, Path::new("/nowhere")) {
        assert!(!mistakes.is_empty(), "refused without a mistake");
    }
});
