//! `basic_auth_users`: who may come in, each with the bcrypt hash of a password. Neither hash nor password is ever shown.

use std::{collections::BTreeMap, fmt};

use bcrypt::HashParts;

use super::{Findings, node::Node, table::Table};

const MAKE_ONE: &str = "make one with: htpasswd -nBC 10 \"\" | tr -d ':\\n'";

/// What stands for the hash of a user that there is not. Whatever the password, comparing takes as long as with a user's.
const NOBODY: &str = "Xk3wS5sXkA0mZr7u8pQ1eOeJ1n0m4tG2Zs7Yc3bq8Hd5Lw6Vf9KiO";

/// Names and hashes of passwords.
#[derive(Default, Clone, PartialEq, Eq)]
pub struct Users(BTreeMap<String, Hash>);

/// A bcrypt hash, known to be one.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash {
    text: String,
    cost: u32,
}

impl Users {
    /// Whether there is nobody: then everybody may come in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The hash of a user.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Hash> {
        self.0.get(name)
    }

    /// The hash to compare with where there is no such user. It costs what the dearest user's costs.
    #[must_use]
    pub fn nobody(&self) -> Hash {
        let cost = self.costs().max().unwrap_or(10);
        Hash { text: format!("$2b${cost:02}${NOBODY}"), cost }
    }

    fn costs(&self) -> impl Iterator<Item = u32> {
        self.0.values().map(|hash| hash.cost)
    }
}

impl Hash {
    /// Reads a hash.
    fn parse(text: &str) -> Option<Self> {
        let cost = text.parse::<HashParts>().ok()?.get_cost();
        (4..=31).contains(&cost).then(|| Self { text: text.to_owned(), cost })
    }

    /// The hash as text, to tell one from another.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Compares, in constant time, after 2^cost rounds: up to seconds. Not for the runtime's own threads.
    #[must_use]
    pub fn fits(&self, password: &[u8]) -> bool {
        bcrypt::verify(password, &self.text).unwrap_or(false)
    }
}

pub(super) fn read(table: Table, found: &mut Findings) -> Users {
    let path = table.key("");
    let mut users = BTreeMap::new();
    for (name, node) in table.rest() {
        let key = format!("{path}{name}");
        if name.contains(':') {
            found.refuse(&key, "a name with a colon cannot log in; choose another");
        }
        let hash = match &node {
            Node::Text(text) => Hash::parse(text),
            _ => None,
        };
        match hash {
            Some(hash) => drop(users.insert(name, hash)),
            None => found.refuse(key, format!("is no bcrypt hash (value not shown); {MAKE_ONE}")),
        }
    }
    let users = Users(users);
    if users.costs().min() != users.costs().max() {
        found.note(
            "basic_auth_users: hashes of different cost take different time, which tells users apart; give all the same",
        );
    }
    users
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash(cost {})", self.cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobodys_hash_is_one_and_costs_what_a_users_does() {
        let hash = bcrypt::hash("right", 5).expect("it can be made");
        let users = Users(BTreeMap::from([("a".to_owned(), Hash::parse(&hash).expect("it is one"))]));
        let nobody = users.nobody();
        assert_eq!(Hash::parse(&nobody.text), Some(nobody.clone()), "else comparing would end at once");
        assert_eq!(nobody.cost, 5);
        assert!(users.get("a").expect("a user").fits(b"right"));
        for password in ["", "right", "fakepassword"] {
            assert!(!nobody.fits(password.as_bytes()));
        }
        assert!(!format!("{users:?} {nobody:?}").contains("$2"));
    }
}
