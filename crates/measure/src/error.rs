//! Why a measurement or one operation of it did not succeed: the closed set of reasons, and who belongs to which.
//!
//! Every cause that reaches a label is one of [`Reason`]. Server replies and error texts stay in [`Failure::message`],
//! for reports and logs only. How a reason is judged (grade, outcome) belongs to the daemon's `verdict`.

mod tls;

use std::{fmt, io};

use redis::RedisError;
use serde::{Deserialize, Serialize};

pub(crate) use self::tls::tls_reason;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The closed set of causes. Each is a label value; none is ever invented at run time.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Reason { $($(#[$doc])* $variant,)* }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// The label value: `snake_case`, never renamed.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$variant => $name,)* }
            }
        }
    };
}

reasons! {
    /// The host name could not be resolved.
    Dns = "dns",
    /// Nobody listens at the address.
    ConnectRefused = "connect_refused",
    /// The connection was not established in time.
    ConnectTimeout = "connect_timeout",
    /// The server's certificate is past its time.
    TlsExpired = "tls_expired",
    /// The server's certificate is for another name.
    TlsName = "tls_name",
    /// The server's certificate has no known issuer.
    TlsUntrusted = "tls_untrusted",
    /// The TLS handshake failed in any other way.
    TlsProtocol = "tls_protocol",
    /// The server wants a client certificate and got none, or does not accept the one that it got.
    TlsClientCertificate = "tls_client_certificate",
    /// The server wants a password and got none (`NOAUTH`).
    AuthRequired = "auth_required",
    /// The server refused the user or password (`WRONGPASS`).
    AuthRejected = "auth_rejected",
    /// The user may not run this command or touch this key (`NOPERM`).
    Denied = "denied",
    /// The server is still loading its data (`LOADING`).
    Loading = "loading",
    /// A script holds the server (`BUSY`).
    Busy = "busy",
    /// A replica without its master refuses stale reads (`MASTERDOWN`).
    Masterdown = "masterdown",
    /// The cluster does not cover all slots (`CLUSTERDOWN`).
    Clusterdown = "clusterdown",
    /// The key lives on another node (`MOVED`, `ASK`, `CROSSSLOT`).
    Moved = "moved",
    /// The server is a read-only replica (`READONLY`).
    Readonly = "readonly",
    /// The server is at `maxmemory` and may not evict (`OOM`).
    Oom = "oom",
    /// The server cannot persist and refuses writes (`MISCONF`).
    Misconf = "misconf",
    /// Too few replicas for a write (`NOREPLICAS`).
    Noreplicas = "noreplicas",
    /// The server turned the connection away (`maxclients`, protected mode).
    Rejected = "rejected",
    /// No reply within the operation's own timeout.
    Timeout = "timeout",
    /// The connection ended while a reply was due.
    Reset = "reset",
    /// What came back was not a valid reply.
    Protocol = "protocol",
    /// The server does not know the command.
    Unsupported = "unsupported",
    /// No free connection in the pool within its wait timeout.
    PoolTimeout = "pool_timeout",
    /// The whole run took longer than its timeout.
    Deadline = "deadline",
    /// The probe itself broke; a defect of redprobe.
    Panic = "panic",
    /// The previous run of this job, or another exclusive one on the target, was still going.
    Overlap = "overlap",
    /// Another redprobe holds the target's lease.
    Lease = "lease",
    /// The target is not in a state in which this may run.
    Precondition = "precondition",
    /// The configuration does not allow this effect on this target.
    EffectNotAllowed = "effect_not_allowed",
    /// The canary connection stopped being answered while load ran.
    Canary = "canary",
    /// Keys that are not ours were evicted while the probe ran.
    ForeignEviction = "foreign_eviction",
    /// The server restarted during the run.
    Restarted = "restarted",
    /// The run was cancelled, by a stop of the daemon or by hand.
    Cancelled = "cancelled",
    /// A setting was changed by somebody else meanwhile and was left alone.
    RestoreConflict = "restore_conflict",
    /// None of the above; the message in the report says more.
    Other = "other",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Reason {
    /// The reason for the first word of a Redis error reply, such as `OOM` in `-OOM command not allowed`.
    #[must_use]
    pub fn from_code(code: &str) -> Self {
        match code {
            "NOAUTH" => Reason::AuthRequired,
            "WRONGPASS" => Reason::AuthRejected,
            "NOPERM" => Reason::Denied,
            "LOADING" => Reason::Loading,
            "BUSY" => Reason::Busy,
            "MASTERDOWN" => Reason::Masterdown,
            "CLUSTERDOWN" => Reason::Clusterdown,
            "MOVED" | "ASK" | "CROSSSLOT" => Reason::Moved,
            "READONLY" => Reason::Readonly,
            "OOM" => Reason::Oom,
            "MISCONF" => Reason::Misconf,
            "NOREPLICAS" => Reason::Noreplicas,
            "DENIED" => Reason::Rejected,
            _ => Reason::Other,
        }
    }

    /// The reason for a whole error line without its `-`. Some causes share the code `ERR` and differ in the text.
    #[must_use]
    pub fn from_error_line(line: &str) -> Self {
        // What EXEC itself is refused for comes in its own words.
        let line = line.strip_prefix("EXECABORT Transaction discarded because of: ").unwrap_or(line);
        let code = line.split(' ').next().unwrap_or_default();
        match Self::from_code(code) {
            Reason::Other if line.contains("max number of clients") => Reason::Rejected,
            Reason::Other if line.contains("unknown command") || line.contains("unknown subcommand") => {
                Reason::Unsupported
            }
            Reason::Other if line.contains("user executing the script can't") => Reason::Denied,
            Reason::Other if line.contains("Protocol error") => Reason::Protocol,
            Reason::Other
                if line.contains("invalid password") || line.contains("invalid username-password") =>
            {
                Reason::AuthRejected
            }
            reason => reason,
        }
    }

    /// Whether the server itself answered, and did not do what was asked.
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        matches!(
            self,
            Reason::AuthRequired
                | Reason::AuthRejected
                | Reason::Denied
                | Reason::Loading
                | Reason::Busy
                | Reason::Masterdown
                | Reason::Clusterdown
                | Reason::Moved
                | Reason::Readonly
                | Reason::Oom
                | Reason::Misconf
                | Reason::Noreplicas
                | Reason::Rejected
                | Reason::Unsupported
        )
    }

    /// Whether the connection on which this happened can no longer be used: what was asked on it may still be answered,
    /// or never.
    #[must_use]
    pub const fn is_broken_connection(self) -> bool {
        matches!(self, Reason::Timeout | Reason::Reset | Reason::Protocol | Reason::ConnectRefused)
    }

    /// Whether an operation that ended so may still have been carried out: the request left, no answer came.
    #[must_use]
    pub const fn is_indeterminate(self) -> bool {
        matches!(self, Reason::Timeout | Reason::Reset | Reason::Protocol)
    }
}

/// One failure: its closed reason, and the text for reports and logs.
///
/// The message never carries a secret: it is built from server replies and system errors, not from URLs.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Failure {
    /// The label.
    pub reason: Reason,
    /// The text, for people.
    pub message: String,
}

impl Failure {
    /// A failure of this reason with this text, made one line of bounded length.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: one_line(&message.into()) }
    }
}

/// Longest text of a failure, in characters: a server may send any amount of it.
const LONGEST: usize = 1_000;

/// A server's words as they may be shown: a line break would look like a line of the log, an escape steer a terminal.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let reason = tls_reason(&error).unwrap_or_else(|| io_reason(error.kind()));
        Self::new(reason, error.to_string())
    }
}

impl From<RedisError> for Failure {
    /// Names are resolved, TLS is spoken and passwords are given by [`crate::conn`] before the redis crate has the
    /// stream, so none of those failures comes through here.
    fn from(error: RedisError) -> Self {
        if let Some(line) = server_line(&error) {
            return Self::new(Reason::from_error_line(&line), line);
        }
        let reason = match error.kind() {
            // How its parser says that the stream ended within a reply.
            redis::ErrorKind::Parse if error.to_string().contains("end of input") => Reason::Reset,
            redis::ErrorKind::Parse => Reason::Protocol,
            redis::ErrorKind::AuthenticationFailed => Reason::AuthRejected,
            _ if error.is_timeout() => Reason::Timeout,
            _ if error.is_connection_refusal() => Reason::ConnectRefused,
            _ if error.is_connection_dropped() => Reason::Reset,
            _ => Reason::Other,
        };
        Self::new(reason, error.to_string())
    }
}

/// The error line as the server sent it; of a pipeline or transaction, the first.
fn server_line(error: &RedisError) -> Option<String> {
    let line = |code: &str, detail: Option<&str>| {
        format!("{code} {}", detail.unwrap_or_default()).trim_end().to_owned()
    };
    // A transaction has the code EXECABORT, whatever made it abort.
    let first = error.clone().into_server_errors().and_then(|errors| {
        let (_, first) = errors.first()?;
        Some(line(first.code(), first.details()))
    });
    first.or_else(|| Some(line(error.code()?, error.detail())))
}

/// The reason for an error of a socket in use. Errors of opening one are told apart where it is opened.
fn io_reason(kind: io::ErrorKind) -> Reason {
    match kind {
        io::ErrorKind::ConnectionRefused => Reason::ConnectRefused,
        io::ErrorKind::TimedOut => Reason::Timeout,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::NotConnected => Reason::Reset,
        io::ErrorKind::InvalidData => Reason::Protocol,
        _ => Reason::Other,
    }
}

/// Why a probe has no report. The runner turns it into the outcome of the same name.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProbeError {
    /// Not measured: something went wrong.
    #[error("{0}")]
    Failed(Failure),
    /// Not measured: the target is not in a state in which this may run.
    #[error("skipped: {0}")]
    Skipped(Failure),
    /// Stopped half-way, because going on could have done harm.
    #[error("halted: {0}")]
    Halted(Failure),
}

impl ProbeError {
    /// Not measured, for this reason.
    pub fn failed(reason: Reason, message: impl Into<String>) -> Self {
        Self::Failed(Failure::new(reason, message))
    }

    /// Skipped, for this reason.
    pub fn skipped(reason: Reason, message: impl Into<String>) -> Self {
        Self::Skipped(Failure::new(reason, message))
    }

    /// Halted, for this reason.
    pub fn halted(reason: Reason, message: impl Into<String>) -> Self {
        Self::Halted(Failure::new(reason, message))
    }

    /// The failure inside.
    #[must_use]
    pub const fn failure(&self) -> &Failure {
        match self {
            Self::Failed(failure) | Self::Skipped(failure) | Self::Halted(failure) => failure,
        }
    }
}

impl<E: Into<Failure>> From<E> for ProbeError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_names_are_unique_snake_case() {
        let mut names: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
        assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    }

    #[test]
    fn serde_uses_the_label() {
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }

    #[test]
    fn error_lines_map_to_reasons() {
        for (line, reason) in [
            ("OOM command not allowed when used memory > 'maxmemory'.", Reason::Oom),
            ("ERR max number of clients reached", Reason::Rejected),
            ("ERR unknown command 'CONFIG', with args beginning with: ", Reason::Unsupported),
            ("NOAUTH Authentication required.", Reason::AuthRequired),
            ("WRONGPASS invalid username-password pair or user is disabled.", Reason::AuthRejected),
            ("NOPERM this user has no permissions to run the 'set' command", Reason::Denied),
            (
                "EXECABORT Transaction discarded because of: NOPERM this user has no permissions to run the 'exec' command",
                Reason::Denied,
            ),
            ("DENIED Redis is running in protected mode because", Reason::Rejected),
            ("LOADING Redis is loading the dataset in memory", Reason::Loading),
            ("BUSY Redis is busy running a script.", Reason::Busy),
            (
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
                Reason::Masterdown,
            ),
            ("MISCONF Redis is configured to save RDB snapshots", Reason::Misconf),
            ("NOREPLICAS Not enough good replicas to write.", Reason::Noreplicas),
            ("READONLY You can't write against a read only replica.", Reason::Readonly),
            ("MOVED 3999 127.0.0.1:6381", Reason::Moved),
            ("CLUSTERDOWN Hash slot not served", Reason::Clusterdown),
            ("CROSSSLOT Keys in request don't hash to the same slot", Reason::Moved),
            ("ERR Protocol error: invalid multibulk length", Reason::Protocol),
            ("ERR DEBUG command not allowed. If the enable-debug-command option", Reason::Other),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", Reason::Other),
        ] {
            assert_eq!(Reason::from_error_line(line), reason, "{line}");
        }
    }

    #[test]
    fn a_text_is_one_line_of_bounded_length() {
        let failure = Failure::new(Reason::Other, "ERR a\n2026-01-01 ERROR forged\r\u{1b}[31m");
        assert_eq!(failure.message, "ERR a 2026-01-01 ERROR forged  [31m");
        assert_eq!(Failure::new(Reason::Other, "é".repeat(1_000_000)).message.chars().count(), 1_000);
    }

    #[test]
    fn socket_errors_map_to_reasons() {
        for (kind, reason) in [
            (io::ErrorKind::ConnectionRefused, Reason::ConnectRefused),
            (io::ErrorKind::TimedOut, Reason::Timeout),
            (io::ErrorKind::ConnectionReset, Reason::Reset),
            (io::ErrorKind::BrokenPipe, Reason::Reset),
            (io::ErrorKind::UnexpectedEof, Reason::Reset),
            (io::ErrorKind::InvalidData, Reason::Protocol),
            (io::ErrorKind::PermissionDenied, Reason::Other),
        ] {
            assert_eq!(Failure::from(io::Error::from(kind)).reason, reason, "{kind}");
            // The redis crate wraps the same errors.
            if !matches!(reason, Reason::Protocol | Reason::Other) {
                assert_eq!(Failure::from(RedisError::from(io::Error::from(kind))).reason, reason, "{kind}");
            }
        }
    }

    #[test]
    fn end_of_stream_is_a_reset() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::UnexpectedEof));
        assert_eq!(failure.reason, Reason::Reset);
    }
}
