//! The first words on a stream: AUTH, SELECT, CLIENT SETNAME, PING, by hand, since the redis crate loses the server's
//! text where the reason is in it (`max number of clients`, `WRONGPASS`).
//!
//! Replies are read as short lines into a bounded buffer, so that a peer that is not Redis cannot do harm.

use std::{io, time::Duration};

use secrecy::ExposeSecret;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::{Endpoint, Password};
use crate::error::{Failure, Reason};

/// More than any error line of Redis; protected mode's, the longest, has 1 KB.
const LONGEST_LINE: usize = 4096;

/// What a reply is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Auth,
    Select,
    SetName,
    Ping,
}

/// Logs in on a fresh stream, within the endpoint's connect timeout: AUTH where there is a user or password, SELECT
/// where it is not database 0, CLIENT SETNAME (unless refused), and a PING.
///
/// A server that answers PING with NOPERM, MISCONF or MASTERDOWN counts as connected: it does answer, INFO and
/// clean-up work on it, and the commands that do not will say so themselves.
///
/// # Errors
/// With the reason of the first reply that is an error, or for which there is none.
pub(super) async fn login<S>(stream: &mut S, endpoint: &Endpoint, name: &str) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limit = endpoint.connect_timeout;
    let done = timeout(limit, converse(stream, endpoint, name)).await;
    let done = done.unwrap_or_else(|_| Err(no_answer(endpoint, limit)));
    // Whoever answers may repeat what it was sent.
    done.map_err(|failure| match &endpoint.password {
        Some(password) => Failure::new(failure.reason, password.hide(failure.message)),
        None => failure,
    })
}

fn no_answer(endpoint: &Endpoint, limit: Duration) -> Failure {
    let message = format!("{} accepted the connection and did not answer within {limit:?}", endpoint.address);
    Failure::new(Reason::Timeout, message)
}

async fn converse<S>(stream: &mut S, endpoint: &Endpoint, name: &str) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (request, steps) = greeting(endpoint, name);
    // A server at maxclients sends its error and closes without reading: the write may fail while that error waits.
    let written = match stream.write_all(&request).await {
        Ok(()) => stream.flush().await,
        error => error,
    };
    let mut replies = Replies::default();
    for step in steps {
        let line = match (replies.next_line(stream).await, &written) {
            (Ok(line), _) => line,
            (Err(_), Err(error)) => {
                return Err(Failure::from(io::Error::new(error.kind(), error.to_string())));
            }
            (Err(failure), Ok(())) => return Err(failure),
        };
        judge(step, &line)?;
    }
    if replies.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(Reason::Protocol, "the peer sent more than it was asked for"))
    }
}

/// All requests in one write, and what is asked by each.
fn greeting(endpoint: &Endpoint, name: &str) -> (Vec<u8>, Vec<Step>) {
    let mut request = Vec::new();
    let mut steps = Vec::new();
    let mut ask = |step: Step, words: &[&str]| {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        request.extend_from_slice(&command.get_packed_command());
        steps.push(step);
    };
    let password = endpoint.password.as_ref().map(Password::current).unwrap_or_default();
    let password = password.expose_secret();
    match &endpoint.username {
        Some(user) => ask(Step::Auth, &["AUTH", user, password]),
        None if !password.is_empty() => ask(Step::Auth, &["AUTH", password]),
        None => {}
    }
    if endpoint.database != 0 {
        ask(Step::Select, &["SELECT", &endpoint.database.to_string()]);
    }
    ask(Step::SetName, &["CLIENT", "SETNAME", name]);
    ask(Step::Ping, &["PING"]);
    (request, steps)
}

/// Whether this reply lets the login go on.
fn judge(step: Step, line: &str) -> Result<(), Failure> {
    let Some(error) = line.strip_prefix('-') else {
        let expected = if step == Step::Ping { "+PONG" } else { "+OK" };
        if line == expected {
            return Ok(());
        }
        // The text stays out: an answer to AUTH from who knows whom could repeat the password.
        return Err(Failure::new(Reason::Protocol, "the peer does not answer as a Redis server does"));
    };
    let reason = match (step, Reason::from_error_line(error)) {
        // "AUTH called without any password configured", or a Redis before 6 that knows no users.
        (Step::Auth, Reason::Other) => Reason::AuthRejected,
        (Step::SetName, Reason::Denied | Reason::Unsupported) => return Ok(()),
        (Step::Ping, Reason::Denied | Reason::Misconf | Reason::Masterdown) => return Ok(()),
        (_, reason) => reason,
    };
    // "ERR unknown command 'AUTH', with args beginning with: " and as much of the password as fits.
    let without_arguments = error.split(", with args").next().unwrap_or_default();
    Err(Failure::new(reason, if step == Step::Auth { without_arguments } else { error }))
}

/// Reads lines, and keeps what came after them.
#[derive(Debug, Default)]
struct Replies {
    bytes: Vec<u8>,
}

impl Replies {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    async fn next_line<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Result<String, Failure> {
        loop {
            if !matches!(self.bytes.first(), None | Some(b'+' | b'-')) {
                return Err(Failure::new(Reason::Protocol, "the peer does not speak the Redis protocol"));
            }
            if let Some(at) = memchr::memchr(b'\n', &self.bytes) {
                let line: Vec<u8> = self.bytes.drain(..=at).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.bytes.len() > LONGEST_LINE {
                return Err(Failure::new(Reason::Protocol, "the peer answers with a line that does not end"));
            }
            let mut chunk = [0; 512];
            let length = stream.read(&mut chunk).await?;
            if length == 0 {
                return Err(Failure::new(Reason::Reset, "the server closed the connection during login"));
            }
            self.bytes.extend_from_slice(&chunk[..length]);
        }
    }
}
