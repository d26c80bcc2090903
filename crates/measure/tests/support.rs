//! What the tests here share: endpoints with short timeouts.

use std::time::Duration;

use measure::{
    conn::{self, Endpoint},
    redis::aio::MultiplexedConnection,
};
use testkit::RedisServer;

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
