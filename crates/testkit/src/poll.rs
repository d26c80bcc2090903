//! Waiting for a condition with a deadline, for threads and for tasks.

use std::{future::Future, thread, time::Duration};

use tokio::time::Instant;

/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks at `condition` until it holds, for `limit` at the most; returns whether it came to hold. Blocks the thread.
#[must_use]
pub fn poll_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(PAUSE);
    }
}

/// [`poll_until`] for tasks: `condition` may await.
pub async fn poll_until_async<F>(limit: Duration, mut condition: impl FnMut() -> F) -> bool
where
    F: Future<Output = bool>,
{
    let end = Instant::now() + limit;
    loop {
        if condition().await {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
