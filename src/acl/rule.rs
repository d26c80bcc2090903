//! An ACL rule as text: for `ACL SETUSER`, for a line of `users.acl`, and why each word of it is there.
//!
//! What the rule must hold is decided in `acl`; the password is never known here.

use std::fmt::Write;

use measure::keys::Whose;
use serde_json::{Value, json};

use super::{Need, Needs};

/// Commands that give more than they are needed for, since no rule can narrow them down.
const CARE: &[(&str, &str)] = &[
    (
        "+config|set",
        "whoever has +config|set can change every setting, the password too: keep a user of its own for it, and switch \
         that off (ACL SETUSER NAME off) where it need not run",
    ),
    (
        "+config|get",
        "whoever has +config|get can read requirepass and masterauth: keep passwords in users.acl, as hashes",
    ),
    ("+client|kill", "whoever has +client|kill can end everybody's connections"),
];

/// The rule of one user.
#[derive(Debug)]
pub struct Rule {
    user: String,
    /// Each word that grants something, with those who need it.
    words: Vec<(String, Vec<String>)>,
    needs: Needs,
}

impl Rule {
    /// The rule that grants just this.
    #[must_use]
    pub fn new(user: &str, needs: Needs, whose: Whose<'_>) -> Self {
        let keys =
            needs.patterns(whose).into_iter().map(|(word, why)| (format!("~{word}"), vec![why.into()]));
        let commands = needs.commands().into_iter();
        let commands = commands.map(|(name, needs)| (format!("+{name}"), reasons(&needs)));
        Self { user: user.to_owned(), words: keys.chain(commands).collect(), needs }
    }

    /// For `redis-cli`. It begins with a reset, so that a user who is there already keeps nothing besides.
    #[must_use]
    pub fn set_user(&self) -> String {
        format!("ACL SETUSER {} reset on >PASSWORD {}", self.user, self.granted())
    }

    /// For `users.acl`.
    #[must_use]
    pub fn line(&self) -> String {
        format!("user {} on #SHA256 {}", self.user, self.granted())
    }

    /// Nothing but these words is allowed. (A new user has all channels where `acl-pubsub-default` says so.)
    fn granted(&self) -> String {
        let (keys, commands): (Vec<_>, Vec<_>) =
            self.words.iter().map(|(word, _)| word.as_str()).partition(|word| word.starts_with('~'));
        [&["resetchannels"], &keys[..], &["-@all"], &commands].concat().join(" ")
    }

    /// A comment per grant: who needs it and what for, each on a line, and what is lost without it where nobody depends
    /// on it.
    #[must_use]
    pub fn comments(&self) -> String {
        let width = self.words.iter().map(|(word, _)| word.len()).max().unwrap_or(0);
        let mut out = String::new();
        for (word, reasons) in &self.words {
            for (line, reason) in reasons.iter().enumerate() {
                let word = if line == 0 { word.as_str() } else { "" };
                writeln!(out, "#   {word:width$}  {reason}").ok();
            }
        }
        out
    }

    /// What to know before granting it.
    pub fn care(&self) -> impl Iterator<Item = &'static str> {
        let granted = |word: &str| self.words.iter().any(|(granted, _)| granted == word);
        CARE.iter().filter(move |(word, _)| granted(word)).map(|(_, note)| *note)
    }

    /// Everything, for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let grants = self.words.iter().map(|(word, _)| {
            let by: Vec<Value> = match word.strip_prefix('+') {
                Some(command) => {
                    self.needs.iter().filter(|need| need.grant.command == command).map(need).collect()
                }
                None => Vec::new(),
            };
            json!({ "rule": word, "needed_by": by })
        });
        json!({
            "user": self.user,
            "acl_setuser": self.set_user(),
            "users_acl": self.line(),
            "grants": grants.collect::<Vec<_>>(),
        })
    }
}

fn need(need: &Need) -> Value {
    json!({ "who": need.who, "to": need.grant.to, "effect": need.grant.effect, "without": need.grant.lost })
}

fn reasons(needs: &[&Need]) -> Vec<String> {
    let mut lines = Vec::new();
    for need in needs {
        let same = needs.iter().filter(|other| other.grant.to == need.grant.to);
        let who: Vec<_> = same.map(|other| other.who).collect();
        let line = format!("{}: to {}", who.join(", "), need.grant.to);
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    let lost: Option<Vec<_>> = needs.iter().map(|need| need.grant.lost).collect();
    lines.extend(lost.and_then(|lost| Some(format!("(without it, {})", lost.first()?))));
    lines
}
