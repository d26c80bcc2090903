//! Faults of the way to the server: names, connections, bytes; and servers that are something else.

use std::time::Duration;

use measure::fault::Faults;
use testkit::{FakeServer, Step};

use super::{
    check::Comes::{Error, Never, Passed},
    faults,
};

faults! {
    no_such_host {
        cause: |bed| bed.redirect("redis://no-such-host.invalid:6379"),
        lift: |bed| bed.direct(),
        comes: &[
            ("ping", Error("dns")),
            ("info", Error("dns")),
            ("health", Error("dns")),
            ("latency", Error("dns")),
            ("throughput", Error("dns")),
        ],
    }

    unanswered_connect {
        cause: |bed| bed.redirect_to_full_queue(),
        lift: |bed| bed.direct(),
        comes: &[
            ("ping", Error("connect_timeout")),
            ("health", Error("connect_timeout")),
            ("latency", Error("connect_timeout")),
            ("throughput", Error("connect_timeout")),
        ],
    }

    blackhole {
        proxied: true,
        cause: |bed| bed.on_the_way(Faults { blackhole: true, ..Faults::default() }),
        lift: |bed| bed.on_the_way(Faults::default()),
        comes: &[
            ("ping", Error("timeout")),
            ("info", Error("timeout")),
            ("health", Error("timeout")),
            ("latency", Error("timeout")),
            ("throughput", Error("timeout")),
        ],
    }

    /// The login is through by then; the answer to the first question is not.
    reset_mid_reply {
        proxied: true,
        cause: |bed| bed.on_the_way(Faults { reset_after: Some(30), ..Faults::default() }),
        lift: |bed| bed.on_the_way(Faults::default()),
        comes: &[
            ("ping", Error("reset")),
            ("info", Error("reset")),
            ("health", Error("reset")),
            ("latency", Error("reset")),
            ("throughput", Error("reset")),
        ],
    }

    one_byte_slices {
        proxied: true,
        cause: |bed| bed.on_the_way(Faults { slice: Some(1), ..Faults::default() }),
        lift: |bed| bed.on_the_way(Faults::default()),
        comes: &[
            ("ping", Passed),
            ("info", Passed),
            ("health", Passed),
            ("latency", Passed),
            ("throughput", Passed),
        ],
    }

    /// Every answer comes in its time, and all of them together do not come in the run's.
    slow_way {
        proxied: true,
        cause: |bed| bed.on_the_way(Faults { delay: Duration::from_millis(300), ..Faults::default() }),
        lift: |bed| bed.on_the_way(Faults::default()),
        comes: &[
            ("health", Passed),
            ("latency", Error("deadline")),
        ],
    }

    garbage {
        cause: |bed| {
            bed.redirect_to_fake(FakeServer::greeting(vec![Step::send("HTTP/1.1 400 Bad Request\r\n\r\n")]));
        },
        lift: |bed| bed.direct(),
        comes: &[
            ("ping", Error("protocol")),
            ("info", Error("protocol")),
            ("health", Error("protocol")),
            ("latency", Error("protocol")),
            ("throughput", Error("protocol")),
        ],
    }

    huge_length_at_login {
        cause: |bed| bed.redirect_to_fake(FakeServer::greeting(vec![Step::send("$9999999999\r\n")])),
        lift: |bed| bed.direct(),
        comes: &[
            ("ping", Error("protocol")),
            ("health", Error("protocol")),
            ("latency", Error("protocol")),
            ("throughput", Error("protocol")),
        ],
    }

    /// Where values are read, the rest of what was announced is awaited; where replies are counted, it is refused.
    huge_length {
        cause: |bed| bed.redirect_to_fake(FakeServer::on("GET", vec![Step::send("$9999999999\r\n")])),
        lift: |bed| bed.direct(),
        comes: &[
            ("health", Error("timeout")),
            ("latency", Never("get", "protocol")),
        ],
    }
}
