//! Where a test may end the process, as a power cut would: between any two steps that must not come apart.

/// A step of a run after which the process may die without harm. In builds with debug assertions, the environment
/// variable `REDPROBE_CRASH_AT=<n>` ends the process here by SIGKILL, if this is the n-th that it comes by; the name goes
/// to stderr. Otherwise nothing happens.
#[inline]
pub fn crash_point(name: &str) {
    #[cfg(debug_assertions)]
    armed::passed(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

#[cfg(debug_assertions)]
mod armed {
    use std::{
        env,
        io::{self, Write},
        process,
        sync::{
            LazyLock,
            atomic::{AtomicU64, Ordering},
        },
    };

    use rustix::process::{Signal, getpid, kill_process};

    static CRASH_AT: LazyLock<Option<u64>> =
        LazyLock::new(|| env::var("REDPROBE_CRASH_AT").ok()?.parse().ok());
    static PASSED: AtomicU64 = AtomicU64::new(0);

    pub(super) fn passed(name: &str) {
        let Some(at) = *CRASH_AT else { return };
        let number = PASSED.fetch_add(1, Ordering::SeqCst) + 1;
        if number == at {
            // Where stderr is closed, the test will see the end all the same.
            let _ = writeln!(io::stderr(), "crash point {number}: {name}");
            let _ = kill_process(getpid(), Signal::KILL);
            process::abort();
        }
    }
}
