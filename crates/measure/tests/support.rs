//! What the tests here share: endpoints with short timeouts, and strings to a load.

use std::time::Duration;

use measure::{
    conn::{self, Endpoint},
    load::{Control, Progress},
    redis::aio::MultiplexedConnection,
};
use testkit::RedisServer;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The endpoint of `url`, with timeouts long enough for a busy machine and short enough for a test.
pub(crate) fn endpoint(url: &str) -> Endpoint {
    let mut endpoint = Endpoint::parse(url).unwrap();
    endpoint.connect_timeout = Duration::from_secs(2);
    endpoint.response_timeout = Duration::from_secs(2);
    endpoint
}

/// A connection named `test`.
pub(crate) async fn connect(server: &RedisServer) -> MultiplexedConnection {
    conn::connect(&endpoint(&server.url()), "test").await.unwrap().0
}

/// Strings that nobody pulls.
pub(crate) fn control() -> Control {
    Control {
        kill: CancellationToken::new(),
        progress: watch::Sender::new(Progress::default()),
        threads: TaskTracker::new(),
    }
}
