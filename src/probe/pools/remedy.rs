//! The fix as settings of common clients: two pools, one for blocking reads and one for the rest.
//!
//! Text made of the user's own numbers. Whether the fix works is what `split_pool` shows.

use measure::report::Remedy;

use super::Numbers;

/// Two pools of these sizes in the words of each client.
#[must_use]
pub fn split(numbers: &Numbers, stream: u64, general: u64) -> Vec<Remedy> {
    let seconds = numbers.pool_timeout.as_secs_f64();
    let millis = numbers.pool_timeout.as_nanos() / 1_000_000;
    let block = numbers.block.as_nanos() / 1_000_000;
    let python = |name: &str, size: u64| {
        format!(
            "{name} = Redis(connection_pool=BlockingConnectionPool(max_connections={size}, timeout={seconds}, health_check_interval=30))"
        )
    };
    let go = |name: &str, size: u64| {
        format!(
            "{name} := redis.NewClient(&redis.Options{{PoolSize: {size}, PoolTimeout: {millis} * time.Millisecond}})"
        )
    };
    let rust = |name: &str, size: u64| {
        format!(
            "{name}: PoolConfig {{ max_size: {size}, timeouts: Timeouts {{ wait: Some({millis} ms), .. }} }}"
        )
    };
    let java = |name: &str, size: u64| {
        format!("{name}: setMaxTotal({size}), setMaxWait(Duration.ofMillis({millis})), setTestOnBorrow(true)")
    };
    vec![
        Remedy {
            client: "redis-py",
            settings: vec![python("streams", stream), python("general", general)],
            note: format!("Give socket_timeout more than the {block} ms that a read blocks, or none, on streams."),
        },
        Remedy {
            client: "go-redis",
            settings: vec![go("streams", stream), go("general", general)],
            note: "XRead's Block extends the read timeout by itself.".to_owned(),
        },
        Remedy {
            client: "deadpool-redis",
            settings: vec![rust("streams", stream), rust("general", general)],
            note: format!(
                "Bound pool.get() as a whole too: the wait timeout bounds neither the check of a connection nor opening one. \
                 Give the streams' connections a response timeout above {block} ms, and take one whose blocking command was \
                 cut short out of the pool."
            ),
        },
        Remedy {
            client: "lettuce",
            settings: vec![java("streams", stream), java("general", general)],
            note: "GenericObjectPoolConfig of ConnectionPoolSupport. What does not block can share one connection without \
                   a pool; what blocks needs one of its own."
                .to_owned(),
        },
    ]
}
