//! What a user of the server must be allowed to do: one [`Grant`] per command that is sent, declared beside the code
//! that sends it.
//!
//! Data alone. Making a rule of them and asking a server for what is missing belongs to the daemon's `acl`.

use crate::guard::Effect;

/// A command that is sent, as the server's ACL sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// As a rule has it after the plus sign, in lower case: `set`, `config|get`. Never a command whose subcommands can
    /// be told apart.
    pub command: &'static str,
    /// The words that follow it in a call, so that `ACL DRYRUN` finds their number right. `{key}` stands for an own key,
    /// `{lease}` for the lease: the rule has the pattern that covers it. (A channel is not foreseen: nothing uses one.)
    pub call: &'static str,
    /// What it is for, after "to": `remove its keys`.
    pub to: &'static str,
    /// The least effect with which it is sent.
    pub effect: Effect,
    /// The effect from which on it is not sent any more, where there is one.
    pub below: Option<Effect>,
    /// What is lost where it is denied and everything goes on without it; `None` where nothing goes on.
    pub lost: Option<&'static str>,
    /// The probe's setting that must be given (neither false nor left out) for it to be sent, or have the value after an
    /// equals sign, as in `reader=xread`.
    pub setting: Option<&'static str>,
    /// The first version of Redis that knows it.
    pub since: (u16, u16),
}

/// The oldest version that rules are written for.
pub const OLDEST: (u16, u16) = (6, 2);

impl Grant {
    /// A command that is sent whatever the target allows.
    #[must_use]
    pub const fn observe(command: &'static str, call: &'static str, to: &'static str) -> Self {
        Self {
            command,
            call,
            to,
            effect: Effect::Observe,
            below: None,
            lost: None,
            setting: None,
            since: OLDEST,
        }
    }

    /// A command that is sent from Touch on.
    #[must_use]
    pub const fn touch(command: &'static str, call: &'static str, to: &'static str) -> Self {
        Self { effect: Effect::Touch, ..Self::observe(command, call, to) }
    }

    /// A command that is sent from Load on.
    #[must_use]
    pub const fn load(command: &'static str, call: &'static str, to: &'static str) -> Self {
        Self { effect: Effect::Load, ..Self::observe(command, call, to) }
    }

    /// A command that is sent with Disrupt alone.
    #[must_use]
    pub const fn disrupt(command: &'static str, call: &'static str, to: &'static str) -> Self {
        Self { effect: Effect::Disrupt, ..Self::observe(command, call, to) }
    }

    /// The same, for what is sent only where less than this is allowed.
    #[must_use]
    pub const fn below(self, effect: Effect) -> Self {
        Self { below: Some(effect), ..self }
    }

    /// The same, where it can be done without: `lost` says at what price, as in "without it, …".
    #[must_use]
    pub const fn optional(self, lost: &'static str) -> Self {
        Self { lost: Some(lost), ..self }
    }

    /// The same, sent only where this setting of the probe is given.
    #[must_use]
    pub const fn with_setting(self, setting: &'static str) -> Self {
        Self { setting: Some(setting), ..self }
    }

    /// The same, for a command that came with a later version of Redis than [`OLDEST`]. (Valkey has all that Redis 7.2
    /// had, and nothing of what came to Redis after it.)
    #[must_use]
    pub const fn since(self, major: u16, minor: u16) -> Self {
        Self { since: (major, minor), ..self }
    }

    /// Whether it is sent where this is allowed.
    #[must_use]
    pub fn is_sent_with(&self, allowed: Effect) -> bool {
        self.effect <= allowed && self.below.is_none_or(|below| allowed < below)
    }

    /// The words of a call with these keys.
    #[must_use]
    pub fn words<'a>(&self, key: &'a str, lease: &'a str) -> Vec<&'a str> {
        let call = self.command.split('|').chain(self.call.split_whitespace());
        let filled = call.map(|word| match word {
            "{key}" => key,
            "{lease}" => lease,
            word => word,
        });
        filled.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_names_its_keys() {
        let words = |grant: Grant| grant.words("own", "lease").join(" ");
        assert_eq!(words(Grant::touch("set", "{key} x PX 1", "write")), "set own x PX 1");
        assert_eq!(words(Grant::observe("config|get", "save", "read")), "config get save");
        assert_eq!(words(Grant::load("eval", "return 1 {lease}", "renew")), "eval return 1 lease");
        assert_eq!(words(Grant::observe("ping", "", "ask")), "ping");
    }

    #[test]
    fn effects_bound_it_on_both_sides() {
        let sent = |grant: Grant| {
            [Effect::Observe, Effect::Touch, Effect::Load, Effect::Disrupt]
                .map(|allowed| grant.is_sent_with(allowed))
        };
        assert_eq!(sent(Grant::load("get", "{key}", "read")), [false, false, true, true]);
        assert_eq!(sent(Grant::observe("ping", "", "ask").below(Effect::Touch)), [true, false, false, false]);
    }
}
