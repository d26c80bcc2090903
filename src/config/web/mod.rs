//! The web configuration file (`--web.config.file`): who may come in, over which TLS, with which headers.
//!
//! The format is exporter-toolkit's, which all of Prometheus' own daemons read. Here it is read and checked, and every
//! mistake collected; nothing here listens or answers. What it does to a connection and a request belongs to `http::door`.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::http::{HeaderName, HeaderValue};

use self::{files::Files, node::Node, table::Table};
use super::{Mistake, Mistakes};

mod clients;
mod files;
mod headers;
mod names;
mod node;
mod pem;
mod protocol;
mod rate;
mod table;
mod tls;
mod users;

pub use clients::{Admission, ClientAuth};
pub use tls::{Tls, provider};
pub use users::{Hash, Users};

/// What a web configuration file says, checked.
#[derive(Debug, Default)]
pub struct WebConfig {
    /// Certificate and what is asked of clients; `None` is plain HTTP.
    pub tls: Option<Tls>,
    /// Headers of every response.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Who may come in; everybody where there are none.
    pub users: Users,
    /// How many requests are answered.
    pub rate_limit: Option<RateLimit>,
    /// What is no mistake and may surprise.
    pub notes: Vec<String>,
}

/// A bucket of requests: it holds `burst`, and gets one more each `interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Above zero.
    pub interval: Duration,
    /// With none, no request is ever answered.
    pub burst: u32,
}

/// What came of reading a file, and what was read for it.
pub struct Loaded {
    /// The configuration, or every mistake in it.
    pub outcome: Result<WebConfig, Vec<Mistake>>,
    /// The file and those that it names, also where they could not be read: when one changes, read them again.
    pub files: Vec<PathBuf>,
    /// Digest of all that was read: equal where nothing has changed.
    pub digest: Vec<u8>,
}

const SECTIONS: [&str; 4] = ["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"];

impl WebConfig {
    /// Reads the file and the certificates that it names; relative names are relative to its directory.
    #[must_use]
    pub fn load(path: &Path) -> Loaded {
        let mut files = Files::beside(path);
        let outcome = files.text(path).map_err(|message| vec![Mistake::new("", message)]);
        let outcome = outcome.and_then(|text| Self::read(&text, &mut files));
        let place = path.display();
        let named = |mistake: Mistake| match mistake.key.as_str() {
            "" => Mistake::new(place.to_string(), mistake.message),
            key => Mistake::new(format!("{place}: {key}"), mistake.message),
        };
        let outcome = outcome.map_err(|mistakes| mistakes.into_iter().map(named).collect());
        let (files, digest) = files.end();
        Loaded { outcome, files, digest }
    }

    /// Reads this text as a file in `directory`.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(text: &str, directory: &Path) -> Result<Self, Vec<Mistake>> {
        Self::read(text, &mut Files::beside(&directory.join("web.yml")))
    }

    fn read(text: &str, files: &mut Files) -> Result<Self, Vec<Mistake>> {
        let node = Node::parse(text).map_err(|message| vec![Mistake::new("", message)])?;
        let mut found = Findings::default();
        let mut root = Table::new("", node, &mut found);
        let mut http = root.table("http_server_config", &mut found);
        let http2 = http.flag("http2", true, &mut found);
        let headers = headers::read(http.table("headers", &mut found), &mut found);
        http.end(&["http2", "headers"], &mut found);
        let tls = tls::read(root.table("tls_server_config", &mut found), http2, files, &mut found);
        let users = users::read(root.table("basic_auth_users", &mut found), &mut found);
        let rate_limit = rate::read(root.table("rate_limit", &mut found), &mut found);
        root.end(&SECTIONS, &mut found);
        if tls.is_none() && !users.is_empty() {
            found.note("basic_auth_users without tls_server_config: passwords travel in the clear");
        }
        let Findings { mut mistakes, notes } = found;
        mistakes.0.sort();
        mistakes.or(Some(Self { tls, headers, users, rate_limit, notes }))
    }
}

/// What is found while a file is read.
#[derive(Default)]
struct Findings {
    mistakes: Mistakes,
    notes: Vec<String>,
}

impl Findings {
    /// A mistake at this key.
    fn refuse(&mut self, key: impl Into<String>, message: impl AsRef<str>) {
        self.mistakes.add(key, message);
    }

    /// Something that is no mistake and may surprise.
    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// A key that must be there, unless it is and was refused for something else.
    fn missing(&mut self, key: &str, why: &str) {
        if !self.mistakes.0.iter().any(|mistake| mistake.key == key) {
            self.refuse(key, format!("missing; {why}"));
        }
    }

    /// What came of a step; a mistake becomes `None`.
    fn take<T>(&mut self, key: &str, result: Result<T, String>) -> Option<T> {
        self.mistakes.take(key, result)
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("outcome", &self.outcome)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}
