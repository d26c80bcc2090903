//! Asking for CLIENT LIST: over a connection of its own, a piece at a time, so that a list of thousands of clients takes
//! no memory here; or over one that is there already, where the server has no room for another.
//!
//! What a line says is in `clients`.

use redis::aio::MultiplexedConnection;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::clients::{Client, Lines};
use crate::{
    conn::{self, Endpoint, Stream},
    error::{Failure, Reason},
    grant::Grant,
    resp,
};

/// What is sent for it.
pub const LIST: Grant = Grant::observe("client|list", "", "see whose connections there are");

/// Bytes read at a time.
const PIECE: usize = 32 * 1024;
/// Longest first line of the answer: a length, or an error.
const LONGEST_HEADER: usize = 4096;
/// A list of so many bytes is no list of clients: 65,000 of them take 20 MB.
const LONGEST_LIST: u64 = 256 << 20;

/// Reads the list over a fresh connection named `name`, which is closed after it; `each` client as it comes. A server
/// that sends nothing for the endpoint's response timeout ends it. Returns the bytes of the list.
///
/// # Errors
/// With the reason for which there is no connection, or no list: denied, unknown to the server, timeout.
pub async fn read_list(
    endpoint: &Endpoint,
    name: &str,
    each: &mut impl FnMut(&Client<'_>),
) -> Result<u64, Failure> {
    let (mut stream, _times) = conn::open(endpoint, name).await?;
    let mut answer = Answer { stream: &mut stream, endpoint, bytes: vec![0; PIECE], begin: 0, end: 0 };
    answer.send(&resp::encode(&[b"CLIENT", b"LIST"])).await?;
    let length = length(&answer.header().await?)?;
    let mut left = length;
    let mut lines = Lines::default();
    while left > 0 {
        if answer.begin == answer.end {
            answer.more().await?;
        }
        let piece = &answer.bytes[answer.begin..answer.end];
        let piece = &piece[..piece.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        lines.feed(piece, each);
        left -= piece.len() as u64;
        answer.begin += piece.len();
    }
    lines.finish(each);
    Ok(length)
}

/// Reads the list over a connection that is there: whole, and then `each` client of it. Returns its bytes.
///
/// # Errors
/// With the server's reason where it gives none.
pub async fn ask_list(
    conn: &mut MultiplexedConnection,
    each: &mut impl FnMut(&Client<'_>),
) -> Result<u64, Failure> {
    let list: Vec<u8> = redis::cmd("CLIENT").arg("LIST").query_async(conn).await?;
    let mut lines = Lines::default();
    lines.feed(&list, each);
    lines.finish(each);
    Ok(list.len() as u64)
}

/// The length that the first line of the answer declares.
fn length(header: &[u8]) -> Result<u64, Failure> {
    let text = String::from_utf8_lossy(header);
    if let Some(error) = text.strip_prefix('-') {
        return Err(Failure::new(Reason::from_error_line(error), error));
    }
    let length = text.strip_prefix('$').and_then(|length| length.parse().ok());
    length.filter(|length| *length <= LONGEST_LIST).ok_or_else(|| {
        Failure::new(
            Reason::Protocol,
            format!("the answer to CLIENT LIST is no list: it begins with {text:?}"),
        )
    })
}

/// The answer on its way in.
struct Answer<'a> {
    stream: &'a mut Stream,
    endpoint: &'a Endpoint,
    bytes: Vec<u8>,
    /// What is read and not taken yet.
    begin: usize,
    end: usize,
}

impl Answer<'_> {
    async fn send(&mut self, request: &[u8]) -> Result<(), Failure> {
        let limit = self.endpoint.response_timeout;
        let sent = async {
            self.stream.write_all(request).await?;
            self.stream.flush().await
        };
        Ok(timeout(limit, sent).await.map_err(|_| self.silent())??)
    }

    /// The first line, without its end; what follows it stays.
    async fn header(&mut self) -> Result<Vec<u8>, Failure> {
        loop {
            let read = &self.bytes[..self.end];
            if let Some(at) = memchr::memchr(b'\n', read) {
                self.begin = at + 1;
                return Ok(read[..at].trim_ascii_end().to_vec());
            }
            if self.end > LONGEST_HEADER {
                let message = "the answer to CLIENT LIST begins with a line that does not end";
                return Err(Failure::new(Reason::Protocol, message));
            }
            self.more().await?;
        }
    }

    /// Waits for more, after what is there or, where all of it was taken, in its place.
    async fn more(&mut self) -> Result<(), Failure> {
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        }
        let read = self.stream.read(&mut self.bytes[self.end..]);
        match timeout(self.endpoint.response_timeout, read).await.map_err(|_| self.silent())?? {
            0 => Err(Failure::new(Reason::Reset, "the server closed the connection within CLIENT LIST")),
            length => {
                self.end += length;
                Ok(())
            }
        }
    }

    fn silent(&self) -> Failure {
        let Endpoint { address, response_timeout, .. } = self.endpoint;
        Failure::new(
            Reason::Timeout,
            format!("{address} sent nothing of CLIENT LIST for {response_timeout:?}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_how_long_the_list_is_or_why_there_is_none() {
        assert_eq!(length(b"$2097152").ok(), Some(2_097_152));
        for (header, reason) in [
            (&b"-NOPERM this user has no permissions to run the 'client|list' command"[..], Reason::Denied),
            (b"-ERR unknown command 'CLIENT', with args beginning with: 'LIST' ", Reason::Unsupported),
            (b"$-1", Reason::Protocol),
            (b"$268435457", Reason::Protocol),
            (b"+OK", Reason::Protocol),
            (b"", Reason::Protocol),
        ] {
            assert_eq!(length(header).unwrap_err().reason, reason, "{}", header.escape_ascii());
        }
    }
}
