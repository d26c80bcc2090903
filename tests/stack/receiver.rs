//! Where Alertmanager sends what it has to say: a webhook that keeps everything, with the time it came.
//!
//! What ought to come, and by when, is in `scenarios.rs`.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Json, Router, extract::State, routing::post};
use measure::clock::{self, Instant};
use serde::Deserialize;
use testkit::poll_until;
use tokio::net::TcpListener;

/// One alert of one notification.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Notice {
    /// `firing` or `resolved`.
    pub(super) status: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(skip, default = "clock::now")]
    pub(super) came: Instant,
}

/// Which notices are meant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) alert: &'a str,
    pub(super) status: &'a str,
    /// A label beside the name; none where the alert is about the daemon itself.
    pub(super) label: Option<(&'a str, &'a str)>,
}

#[derive(Debug, Deserialize)]
struct Notification {
    alerts: Vec<Notice>,
}

type Inbox = Arc<Mutex<Vec<Notice>>>;

/// The webhook. It ends with the runtime that it was started on.
#[derive(Debug)]
pub(super) struct Receiver {
    address: SocketAddr,
    inbox: Inbox,
}

impl Receiver {
    /// Listens on a free loopback port.
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let inbox = Inbox::default();
        let app = Router::new().route("/", post(keep)).with_state(Arc::clone(&inbox));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, inbox }
    }

    /// What Alertmanager is to call.
    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The first such notice that came after `since`, for which it waits.
    pub(super) fn await_notice(&self, wanted: Wanted<'_>, since: Instant, limit: Duration) -> Option<Notice> {
        let mut found = None;
        let came = poll_until(limit, || {
            found = self.find(wanted, since);
            found.is_some()
        });
        came.then_some(found)?
    }

    /// [`Receiver::await_notice`] without waiting.
    pub(super) fn find(&self, wanted: Wanted<'_>, since: Instant) -> Option<Notice> {
        let inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.iter().find(|notice| notice.came >= since && wanted.fits(notice)).cloned()
    }

    /// Everything that came, one line each, for people.
    pub(super) fn list(&self, began: Instant) -> String {
        let inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |notice: &Notice| {
            let after = notice.came.saturating_duration_since(began).as_secs_f64();
            format!("{after:7.1} s  {:8}  {:?}\n", notice.status, notice.labels)
        };
        inbox.iter().map(line).collect()
    }
}

impl Wanted<'_> {
    fn fits(&self, notice: &Notice) -> bool {
        let has = |name: &str, value: &str| notice.labels.get(name).is_some_and(|label| label == value);
        notice.status == self.status
            && has("alertname", self.alert)
            && self.label.is_none_or(|(name, value)| has(name, value))
    }
}

async fn keep(State(inbox): State<Inbox>, Json(notification): Json<Notification>) {
    inbox.lock().unwrap_or_else(PoisonError::into_inner).extend(notification.alerts);
}
