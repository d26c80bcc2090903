//! What a supervisor is told (systemd, `Type=notify`): ready, alive, stopping. Silent where nobody asked.
//!
//! What the words follow from belongs to `daemon`; signals from outside are `shutdown`'s.

use std::time::Duration;

use sd_notify::NotifyState;

/// The start is over.
pub(crate) fn ready() {
    tell(NotifyState::Ready);
}

/// The stop has begun.
pub(crate) fn stopping() {
    tell(NotifyState::Stopping);
}

/// Says that the process is alive, twice as often as it is asked to, for as long as `is_alive` returns: where that waits
/// for a lock which nobody gives back, or is never called since the event loop stands still, the supervisor starts the
/// process again.
pub(crate) async fn keep_alive(is_alive: impl Fn()) {
    let Some(patience) = sd_notify::watchdog_enabled().filter(|patience| *patience > Duration::ZERO) else {
        return std::future::pending().await;
    };
    let mut ticks = tokio::time::interval(patience / 2);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        is_alive();
        tell(NotifyState::Watchdog);
    }
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the supervisor that started this process cannot be told how it is: see NOTIFY_SOCKET");
    }
}
