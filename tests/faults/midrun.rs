//! Faults that strike while load runs.

use measure::fault::Faults;

use super::{
    check::Comes::{Error, Failing, Halted},
    faults,
};

faults! {
    restart_midrun {
        midrun: true,
        lasts: "3s",
        cause: |bed| bed.server.restart(),
        comes: &[("throughput", Error("restarted"))],
    }

    restart_midrun_without_load {
        midrun: true,
        lasts: "3s",
        cause: |bed| bed.server.restart(),
        comes: &[("latency", Error("restarted"))],
    }

    oom_midrun {
        midrun: true,
        lasts: "3s",
        cause: |bed| bed.server.ok(&["CONFIG", "SET", "maxmemory", "1"]),
        lift: |bed| bed.server.ok(&["CONFIG", "SET", "maxmemory", "0"]),
        comes: &[("throughput", Failing("oom"))],
    }

    /// The canary stops the load; the keys can only be removed once the server goes on.
    stopped_midrun {
        midrun: true,
        lasts: "8s",
        cause: |bed| bed.server.pause(),
        lift: |bed| bed.server.resume(),
        comes: &[("throughput", Halted("canary"))],
    }

    resets_midrun {
        midrun: true,
        lasts: "3s",
        proxied: true,
        cause: |bed| bed.on_the_way(Faults { reset_after: Some(4_000), ..Faults::default() }),
        lift: |bed| bed.on_the_way(Faults::default()),
        comes: &[("throughput", Failing("reset"))],
    }
}
