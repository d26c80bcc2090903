//! CLIENT LIST in any bytes and any chunks: every client that is found is one however the list was cut, and its texts
//! are parts of one line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use measure::facts::clients::{Client, Lines};

fn list(bytes: &[u8], size: usize) -> Vec<(u64, Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let mut each = |client: &Client<'_>| {
        let _ = (client.host(), client.ip(), client.is_blocked(), client.is_subscribed());
        found.push((client.id, client.name.to_vec(), client.user.to_vec()));
    };
    let mut lines = Lines::default();
    for chunk in bytes.chunks(size.max(1)) {
        lines.feed(chunk, &mut each);
    }
    lines.finish(&mut each);
    found
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let whole = list(bytes, bytes.len());
    assert_eq!(list(bytes, usize::from(size)), whole);
    for (_, name, user) in whole {
        assert!(!name.contains(&b'\n') && !user.contains(&b' '));
    }
});
