//! What a server says of itself, in any bytes: the parsers of `measure::facts` must take it all and find no numbers
//! that are none.

#![no_main]

use libfuzzer_sys::fuzz_target;
use measure::facts::Info;

fuzz_target!(|text: &str| {
    let info = Info::parse(text);
    for field in ["used_memory", "mem_fragmentation_ratio", "role", "aof_enabled", "a", ""] {
        let _ = (info.text(field), info.integer(field), info.flag(field));
        if let Some(number) = info.number(field) {
            assert!(number.is_finite(), "{field} became {number}");
        }
    }
    let _ = (info.server(), info.commands(), info.errors(), info.keyspace());
});
