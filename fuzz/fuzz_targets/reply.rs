//! Replies of a server, in any bytes and cut anywhere: the scanner of `measure::resp` must find the same reply however
//! it arrives, and never one that reaches beyond what came.

#![no_main]

use libfuzzer_sys::fuzz_target;
use measure::resp::scan;

const MAX: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(reply)) = scan(bytes, MAX) else { return };
    assert!(reply.length <= bytes.len() && reply.length > 0, "a reply longer than its bytes, or of none");
    assert_eq!(scan(&bytes[..reply.length], MAX), Ok(Some(reply)), "what follows a reply changed it");
    for cut in 0..reply.length {
        assert_eq!(
            scan(&bytes[..cut], MAX),
            Ok(None),
            "cut at {cut}, it is not the beginning of a reply any more"
        );
    }
});
