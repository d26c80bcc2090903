//! Every way in which a server or the way to it can break: what a run then comes to, and that nothing else suffers.
//!
//! From outside, over the whole daemon. A fault is one entry of a table: in `servers` what a Redis server itself does,
//! in `ways` what happens between it and us, in `midrun` what strikes while load runs. `check` holds what is the same
//! for all of them.

mod bed;
mod check;
mod midrun;
mod schedule;
mod servers;
mod ways;

/// A test for each fault: its name, and the fields of [`check::Fault`] that are its own.
macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $value:expr,)* })*) => {
        $($(#[$doc])*
        #[test]
        fn $name() {
            $crate::faults::check::check(&$crate::faults::check::Fault {
                $($field: $value,)*
                ..$crate::faults::check::Fault::NONE
            });
        })*
    };
}
use faults;
