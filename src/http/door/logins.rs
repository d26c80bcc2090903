//! Logins: passwords compared with their hashes, so that neither time nor memory nor processors tell or give more.
//!
//! A name that is no user's is compared like one that is. Few are compared at a time, off the runtime's own threads. Who
//! was right is remembered, who was wrong is not: an entry can only ever say of one password that it fits one hash.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ring::{hmac, rand::SystemRandom};
use tokio::{sync::Semaphore, time::timeout};

use crate::{config::web::Users, http::error::Error};

/// Right logins remembered; a user has one, or a few while passwords change.
const REMEMBERED: usize = 256;
/// How long a login may wait for its turn.
const WAIT: Duration = Duration::from_secs(10);

/// All logins of a server.
#[derive(Debug)]
pub(super) struct Logins {
    /// Of this process alone: without it, what is remembered says nothing of a password.
    key: Option<hmac::Key>,
    right: Mutex<VecDeque<[u8; 32]>>,
    turns: Arc<Semaphore>,
    compared: AtomicU64,
}

impl Default for Logins {
    fn default() -> Self {
        let turns = std::thread::available_parallelism().map_or(1, |cpus| (cpus.get() / 2).max(1));
        Self {
            // Without randomness nothing is remembered, and every login is compared.
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok(),
            right: Mutex::default(),
            turns: Arc::new(Semaphore::new(turns)),
            compared: AtomicU64::new(0),
        }
    }
}

impl Logins {
    /// Whether this is a user's password.
    ///
    /// # Errors
    /// 503 where too many wait to be compared.
    pub(super) async fn is_right(&self, users: &Users, name: &str, password: Vec<u8>) -> Result<bool, Error> {
        let user = users.get(name);
        let hash = user.cloned().unwrap_or_else(|| users.nobody());
        let entry = self.entry(name, hash.as_str(), &password);
        if user.is_some() && entry.is_some_and(|entry| self.remembered().contains(&entry)) {
            return Ok(true);
        }
        let busy = || Error::unavailable("too many logins at a time; try again");
        let turn = timeout(WAIT, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.ok().and_then(Result::ok).ok_or_else(busy)?;
        self.compared.fetch_add(1, Ordering::Relaxed);
        let compared = tokio::task::spawn_blocking(move || {
            // Until it is done, whether or not the client still waits.
            let _turn = turn;
            hash.fits(&password)
        });
        let right = compared.await.map_err(|_| busy())? && user.is_some();
        if let Some(entry) = entry.filter(|_| right) {
            let mut remembered = self.remembered();
            if remembered.len() >= REMEMBERED {
                remembered.pop_front();
            }
            remembered.push_back(entry);
        }
        Ok(right)
    }

    /// What stands for a login. Each part with its length: none can be taken for the end or beginning of another.
    fn entry(&self, name: &str, hash: &str, password: &[u8]) -> Option<[u8; 32]> {
        let mut context = hmac::Context::with_key(self.key.as_ref()?);
        for part in [name.as_bytes(), hash.as_bytes(), password] {
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        context.sign().as_ref().try_into().ok()
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, VecDeque<[u8; 32]>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::web::WebConfig;

    fn users(names: &[(&str, &str)]) -> Users {
        let lines = names.iter().map(|(name, password)| {
            let hash = bcrypt::hash(password, 4).expect("it can be made");
            format!("  \"{name}\": {hash}\n")
        });
        let text = format!("basic_auth_users:\n{}", lines.collect::<String>());
        WebConfig::parse(&text, Path::new("/")).expect("it is good").users
    }

    async fn ask(logins: &Logins, users: &Users, name: &str, password: &str) -> (bool, u64) {
        let before = logins.compared.load(Ordering::Relaxed);
        let right = logins.is_right(users, name, password.into()).await.expect("it has its turn");
        (right, logins.compared.load(Ordering::Relaxed) - before)
    }

    #[tokio::test]
    async fn whoever_is_wrong_costs_one_comparison_user_or_not() {
        let (logins, users) = (Logins::default(), users(&[("joe", "right")]));
        for _ in 0..3 {
            assert_eq!(ask(&logins, &users, "joe", "wrong").await, (false, 1));
            assert_eq!(ask(&logins, &users, "nobody", "wrong").await, (false, 1));
            assert_eq!(ask(&logins, &users, "", "").await, (false, 1));
        }
        assert_eq!(ask(&logins, &users, "joe", "right").await, (true, 1));
        assert_eq!(ask(&logins, &users, "joe", "right").await, (true, 0), "it is remembered");
        assert_eq!(ask(&logins, &users, "joe", "wrong").await, (false, 1));
    }

    #[tokio::test]
    async fn a_new_password_ends_the_old_one() {
        let logins = Logins::default();
        let (before, after) = (users(&[("joe", "old")]), users(&[("joe", "new"), ("jim", "old")]));
        assert_eq!(ask(&logins, &before, "joe", "old").await, (true, 1));
        assert_eq!(ask(&logins, &after, "joe", "old").await, (false, 1));
        assert_eq!(ask(&logins, &after, "jim", "old").await, (true, 1));
        assert_eq!(ask(&logins, &after, "joe", "new").await, (true, 1));
    }

    #[tokio::test]
    async fn no_name_and_password_can_be_taken_for_another_pair() {
        let (logins, users) = (Logins::default(), users(&[("joe", "right"), ("jo", "other")]));
        let hash = users.get("joe").expect("a user").as_str().to_owned();
        let nobody = users.nobody().as_str().to_owned();
        assert_eq!(ask(&logins, &users, "joe", "right").await, (true, 1));
        // What joined parts would make alike: CVE-2022-46146.
        for (name, password) in [
            (format!("joe{hash}"), "right".to_owned()),
            ("joe".into(), format!("{hash}right")),
            ("jo".into(), "eright".into()),
            (format!("joe{nobody}"), "fakepassword".into()),
            ("joe".into(), format!("{nobody}fakepassword")),
            ("joe\0".into(), "right".into()),
        ] {
            assert_eq!(ask(&logins, &users, &name, &password).await, (false, 1), "{name:?} {password:?}");
            assert_eq!(ask(&logins, &users, &name, &password).await, (false, 1), "not remembered either");
        }
    }

    #[tokio::test]
    async fn what_is_remembered_has_an_end() {
        let (logins, users) = (Logins::default(), users(&[("joe", "right")]));
        for number in 0..300 {
            let entry =
                logins.entry("joe", "hash", format!("{number}").as_bytes()).expect("there is randomness");
            let mut right = logins.remembered();
            if right.len() >= REMEMBERED {
                right.pop_front();
            }
            right.push_back(entry);
        }
        assert_eq!(ask(&logins, &users, "joe", "right").await, (true, 1));
        assert_eq!(logins.remembered().len(), REMEMBERED);
    }
}
