//! The door: what of the web configuration file is in force now, and what it says of one request.
//!
//! The file and the certificates that it names are looked at for each connection and request, and read again when one has
//! changed. A file that cannot be used shuts the door until it can; and a lock that was once on stays on until a restart,
//! so that a file that is emptied for the moment in which it is written again lets nobody in. How the file is read belongs
//! to `config::web`, what a connection is to `conn`.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::{HeaderMap, StatusCode, header};
use base64::{Engine, prelude::BASE64_STANDARD};
use measure::{clock, stamp::Stamp};

use self::{bucket::Bucket, logins::Logins};
use super::error::Error;
use crate::config::{
    Mistake,
    web::{Admission, ClientAuth, WebConfig},
};

mod bucket;
mod logins;

/// A file that changed this shortly before it was read may change again without another time of change.
const UNSETTLED: Duration = Duration::from_millis(100);

/// Says whether a request shows the API token, which opens the door, too.
pub type ShowsToken = Box<dyn Fn(&HeaderMap) -> bool + Send + Sync>;

/// The door of one server.
#[derive(Debug)]
pub struct Door {
    file: Option<PathBuf>,
    in_force: Mutex<InForce>,
    logins: Logins,
}

/// What is in force until the next change.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) web: WebConfig,
    bucket: Option<Arc<Bucket>>,
}

#[derive(Debug)]
struct InForce {
    /// `None` while the door is shut.
    rules: Option<Arc<Rules>>,
    /// The last that could be used: what locks it has stay.
    last: Arc<Rules>,
    seen: Vec<(PathBuf, Option<Stamp>)>,
    settled: bool,
    digest: Vec<u8>,
    /// What was said of the file that cannot be used, so that it is said once.
    said: Vec<Mistake>,
}

impl Door {
    /// One that stands open: no web configuration file.
    #[must_use]
    pub fn open() -> Self {
        Self::new(None, Rules { web: WebConfig::default(), bucket: None })
    }

    /// The door of this file.
    ///
    /// # Errors
    /// Every mistake in the file.
    pub fn of(file: Option<&Path>) -> Result<Self, Vec<Mistake>> {
        let Some(file) = file else { return Ok(Self::open()) };
        let began = clock::wall();
        let loaded = WebConfig::load(file);
        let rules = Rules::new(loaded.outcome?, None);
        for note in &rules.web.notes {
            tracing::warn!(file = %file.display(), "{note}");
        }
        let door = Self::new(Some(file.to_owned()), rules);
        door.lock().see(loaded.files, loaded.digest, began);
        Ok(door)
    }

    fn new(file: Option<PathBuf>, rules: Rules) -> Self {
        let last = Arc::new(rules);
        let rules = Some(Arc::clone(&last));
        let in_force =
            InForce { rules, last, seen: Vec::new(), settled: true, digest: Vec::new(), said: Vec::new() };
        Self { file, in_force: Mutex::new(in_force), logins: Logins::default() }
    }

    /// What is in force; `None` while the door is shut. Reads files that have changed, which are small and local.
    pub(super) fn now(&self) -> Option<Arc<Rules>> {
        let mut in_force = self.lock();
        if let Some(file) = self.file.as_deref().filter(|_| in_force.is_stale()) {
            in_force.read_again(file);
        }
        in_force.rules.clone()
    }

    /// Whether connections begin with TLS. Also while the door is shut.
    pub(super) fn has_tls(&self) -> bool {
        self.now();
        self.lock().last.web.tls.is_some()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, InForce> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this request may come in, and whether a user of the file sent it.
    ///
    /// # Errors
    /// 429 where there are too many, 401 where it shows neither a login nor the token.
    pub(super) async fn admit(
        &self,
        rules: &Rules,
        headers: &HeaderMap,
        shows_token: &ShowsToken,
    ) -> Result<bool, Error> {
        if rules.bucket.as_ref().is_some_and(|bucket| !bucket.take(clock::now())) {
            let sentence =
                "too many requests; rate_limit of the web configuration says how many are answered";
            return Err(Error::new(StatusCode::TOO_MANY_REQUESTS, sentence));
        }
        if rules.web.users.is_empty() {
            return Ok(false);
        }
        if shows_token(headers) {
            return Ok(false);
        }
        let Some((name, password)) = basic(headers) else {
            return Err(Error::login(
                "this needs a login: a user of the web configuration's basic_auth_users",
            ));
        };
        if self.logins.is_right(&rules.web.users, &name, password).await? {
            Ok(true)
        } else {
            Err(Error::login("this is no user of the web configuration, or not the right password"))
        }
    }
}

impl Rules {
    fn new(web: WebConfig, before: Option<&Rules>) -> Self {
        let kept = before.and_then(|before| before.bucket.clone());
        let bucket = web.rate_limit.map(|limit| {
            // A certificate that is renewed must not fill it up again.
            kept.filter(|bucket| bucket.limit() == limit)
                .unwrap_or_else(|| Arc::new(Bucket::new(limit, clock::now())))
        });
        Self { web, bucket }
    }

    /// The locks, strongest meaning first; what is true must stay so.
    fn locks(&self) -> [(bool, &'static str); 4] {
        let admission = self.web.tls.as_ref().map(|tls| &tls.admission);
        let verified = |admission: &Admission| admission.auth == ClientAuth::RequireAndVerifyClientCert;
        [
            (self.web.tls.is_some(), "tls_server_config with a certificate"),
            (admission.is_some_and(verified), "client_auth_type: RequireAndVerifyClientCert"),
            (admission.is_some_and(|admission| !admission.names.is_empty()), "client_allowed_sans"),
            (!self.web.users.is_empty(), "basic_auth_users"),
        ]
    }
}

impl InForce {
    fn is_stale(&self) -> bool {
        !self.settled || self.seen.iter().any(|(path, stamp)| Stamp::of(path) != *stamp)
    }

    /// Remembers what was read; it began `began`.
    fn see(&mut self, files: Vec<PathBuf>, digest: Vec<u8>, began: std::time::SystemTime) {
        let safe = clock::unix_seconds(began) - UNSETTLED.as_secs_f64();
        self.seen = files
            .into_iter()
            .map(|path| (Stamp::of(&path), path))
            .map(|(stamp, path)| (path, stamp))
            .collect();
        self.settled = self.seen.iter().all(|(_, stamp)| stamp.is_none_or(|stamp| stamp.is_older_than(safe)));
        self.digest = digest;
    }

    fn read_again(&mut self, file: &Path) {
        let began = clock::wall();
        let loaded = WebConfig::load(file);
        let same = loaded.digest == self.digest;
        self.see(loaded.files, loaded.digest, began);
        if same {
            return;
        }
        let rules =
            loaded.outcome.and_then(|web| self.at_least_as_locked(file, Rules::new(web, Some(&self.last))));
        match rules {
            Ok(rules) => {
                tracing::info!(file = %file.display(), "the web configuration has changed and is in force");
                for note in rules.web.notes.iter().filter(|note| !self.last.web.notes.contains(note)) {
                    tracing::warn!(file = %file.display(), "{note}");
                }
                self.last = Arc::new(rules);
                self.rules = Some(Arc::clone(&self.last));
                self.said.clear();
            }
            Err(mistakes) => {
                self.rules = None;
                for mistake in mistakes.iter().filter(|mistake| !self.said.contains(mistake)) {
                    tracing::error!(%mistake, "the web configuration cannot be used, so nobody is let in until it can");
                }
                self.said = mistakes;
            }
        }
    }

    fn at_least_as_locked(&self, file: &Path, rules: Rules) -> Result<Rules, Vec<Mistake>> {
        let pairs = self.last.locks().into_iter().zip(rules.locks());
        let gone = pairs.filter(|((before, _), (now, _))| *before && !now).map(|((_, lock), _)| {
            Mistake::new(
                file.display().to_string(),
                format!("{lock} is gone; what has locked the door is taken away by a restart only"),
            )
        });
        let gone: Vec<Mistake> = gone.collect();
        if gone.is_empty() { Ok(rules) } else { Err(gone) }
    }
}

/// Name and password of `Authorization: Basic …`.
fn basic(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let (scheme, text) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(6)?;
    let text = scheme.eq_ignore_ascii_case(b"basic ").then(|| text.trim_ascii())?;
    let mut name = BASE64_STANDARD.decode(text).ok()?;
    let colon = name.iter().position(|byte| *byte == b':')?;
    let password = name.split_off(colon + 1);
    name.pop();
    Some((String::from_utf8(name).ok()?, password))
}

#[cfg(test)]
mod tests;
