//! Keeps what the process knows to itself: its memory holds the passwords of every target.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// From now on no core is written where the process crashes, and other processes of the same user can neither look into
/// its memory nor read its environment.
///
/// Both calls are needed: a core that is piped to a handler knows no limit, and the limit is what children get.
pub fn keep_secrets() {
    // Neither fails on a Linux that is not broken; where one does, a probe is still worth more than none.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).ok();
    set_dumpable_behavior(DumpableBehavior::NotDumpable).ok();
}

#[cfg(test)]
mod tests {
    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn no_core_and_no_look_inside() {
        keep_secrets();
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
        assert_eq!(getrlimit(Resource::Core), Rlimit { current: Some(0), maximum: Some(0) });
    }
}
