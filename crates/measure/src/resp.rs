//! The Redis protocol as bytes: encoding requests, and finding where a reply ends and of what kind it is.
//!
//! Nothing is built and nothing is allocated by a length that the peer declared: a reply that cannot fit is refused at
//! its header. RESP2, and the RESP3 types that a RESP2 connection may still meet.

/// Deepest nesting of a reply.
const MAX_DEPTH: u32 = 32;
/// Longest line (simple string, error, number); Redis errors are far shorter.
const MAX_LINE: usize = 64 * 1024;

/// What kind of reply it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `+OK`.
    Simple,
    /// `-ERR …`, or a RESP3 bulk error.
    Error,
    /// `:1`.
    Integer,
    /// `$3`, or a RESP3 verbatim string.
    Bulk,
    /// `$-1`, `*-1`, or RESP3's `_`.
    Nil,
    /// Array, set, map, push; or RESP3's boolean, double, big number.
    Other,
}

/// One whole reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply<'a> {
    /// What it is.
    pub kind: Kind,
    /// Bytes that it takes, header and end included.
    pub length: usize,
    /// The first line without type byte and line end: the text of a simple string or an error.
    pub line: &'a [u8],
}

/// Why bytes are no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// Not a type that exists.
    #[error("a reply began with byte {0:#04x}, which is no Redis reply type")]
    Type(u8),
    /// A length or number that is none.
    #[error("a reply's length is not a number")]
    Length,
    /// More than was asked for could ever give.
    #[error("a reply declares more than the {0} bytes that may come")]
    TooLarge(usize),
    /// No line end where one must be.
    #[error("a reply has no line end where one must be")]
    LineEnd,
    /// Arrays in arrays in arrays.
    #[error("a reply is nested too deep")]
    TooDeep,
}

/// A request of these words, as an array of bulk strings.
#[must_use]
pub fn encode(words: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + words.iter().map(|word| word.len() + 16).sum::<usize>());
    let mut number = itoa::Buffer::new();
    out.push(b'*');
    out.extend_from_slice(number.format(words.len()).as_bytes());
    out.extend_from_slice(b"\r\n");
    for word in words {
        out.push(b'$');
        out.extend_from_slice(number.format(word.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The first whole reply in `bytes`, or `None` while more must come. A reply of more than `max` bytes is refused as
/// soon as that can be seen.
///
/// # Errors
/// Where the bytes cannot be the beginning of any reply; the connection is then of no more use.
pub fn scan(bytes: &[u8], max: usize) -> Result<Option<Reply<'_>>, ScanError> {
    let mut scanner = Scanner { bytes, at: 0, max };
    let Some((kind, line)) = scanner.reply(0)? else {
        return if bytes.len() > max { Err(ScanError::TooLarge(max)) } else { Ok(None) };
    };
    Ok(Some(Reply { kind, length: scanner.at, line }))
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    max: usize,
}

type Found<'a> = Result<Option<(Kind, &'a [u8])>, ScanError>;

impl<'a> Scanner<'a> {
    fn reply(&mut self, depth: u32) -> Found<'a> {
        if depth > MAX_DEPTH {
            return Err(ScanError::TooDeep);
        }
        let Some(&first) = self.bytes.get(self.at) else { return Ok(None) };
        if !b"+-:$*_#,(!=~%>|".contains(&first) {
            return Err(ScanError::Type(first));
        }
        self.at += 1;
        let Some(line) = self.line()? else { return Ok(None) };
        match first {
            b'+' => Ok(Some((Kind::Simple, line))),
            b'-' => Ok(Some((Kind::Error, line))),
            b':' => number(line).map(|_| Some((Kind::Integer, line))),
            b'_' => Ok(Some((Kind::Nil, line))),
            b'#' | b',' | b'(' => Ok(Some((Kind::Other, line))),
            b'$' | b'=' | b'!' => self.bulk(first, line),
            _ => self.aggregate(first, line, depth),
        }
    }

    fn bulk(&mut self, first: u8, line: &'a [u8]) -> Found<'a> {
        let Some(length) = self.declared(line, 1)? else { return Ok(Some((Kind::Nil, line))) };
        let Some(end) = self.bytes.get(self.at + length..self.at + length + 2) else {
            return Ok(None);
        };
        if end != b"\r\n" {
            return Err(ScanError::LineEnd);
        }
        let body = &self.bytes[self.at..self.at + length];
        self.at += length + 2;
        Ok(Some(if first == b'!' { (Kind::Error, body) } else { (Kind::Bulk, line) }))
    }

    fn aggregate(&mut self, first: u8, line: &'a [u8], depth: u32) -> Found<'a> {
        // The shortest element takes three bytes, such as `_\r\n`.
        let Some(count) = self.declared(line, 3)? else { return Ok(Some((Kind::Nil, line))) };
        let elements = if matches!(first, b'%' | b'|') { count * 2 } else { count };
        for _ in 0..elements {
            if self.reply(depth + 1)?.is_none() {
                return Ok(None);
            }
        }
        // Attributes are not the reply: it follows them.
        if first == b'|' { self.reply(depth + 1) } else { Ok(Some((Kind::Other, line))) }
    }

    /// A declared length or count, `None` for −1; refused where `each` times it could not fit.
    fn declared(&self, line: &[u8], each: usize) -> Result<Option<usize>, ScanError> {
        let number = number(line)?;
        if number == -1 {
            return Ok(None);
        }
        let number = usize::try_from(number).map_err(|_| ScanError::Length)?;
        if number > self.max / each {
            return Err(ScanError::TooLarge(self.max));
        }
        Ok(Some(number))
    }

    fn line(&mut self) -> Result<Option<&'a [u8]>, ScanError> {
        let rest = &self.bytes[self.at..];
        match memchr::memchr(b'\n', rest) {
            Some(end) if end > 0 && rest[end - 1] == b'\r' => {
                self.at += end + 1;
                Ok(Some(&rest[..end - 1]))
            }
            Some(_) => Err(ScanError::LineEnd),
            None if rest.len() > MAX_LINE => Err(ScanError::LineEnd),
            None => Ok(None),
        }
    }
}

fn number(line: &[u8]) -> Result<i64, ScanError> {
    std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).ok_or(ScanError::Length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 1 << 20;

    #[test]
    fn replies_of_each_kind() {
        for (bytes, kind) in [
            (&b"+OK\r\n"[..], Kind::Simple),
            (b"-OOM command not allowed\r\n", Kind::Error),
            (b":-12\r\n", Kind::Integer),
            (b"$3\r\nabc\r\n", Kind::Bulk),
            (b"$0\r\n\r\n", Kind::Bulk),
            (b"$-1\r\n", Kind::Nil),
            (b"*-1\r\n", Kind::Nil),
            (b"_\r\n", Kind::Nil),
            (b"*2\r\n:1\r\n*1\r\n+x\r\n", Kind::Other),
            (b"%1\r\n+a\r\n:1\r\n", Kind::Other),
            (b"|1\r\n+ttl\r\n:1\r\n$1\r\nx\r\n", Kind::Bulk),
            (b"!5\r\nOOM x\r\n", Kind::Error),
        ] {
            let reply = scan(bytes, MAX).unwrap().unwrap();
            assert_eq!((reply.kind, reply.length), (kind, bytes.len()), "{}", bytes.escape_ascii());
            // Cut anywhere, it is not there yet; and what follows does not matter.
            for cut in 0..bytes.len() {
                assert_eq!(scan(&bytes[..cut], MAX), Ok(None), "{} at {cut}", bytes.escape_ascii());
            }
            let followed = [bytes, b"+OK\r\n"].concat();
            assert_eq!(scan(&followed, MAX).unwrap().unwrap().length, bytes.len());
        }
    }

    #[test]
    fn garbage_is_refused_at_once() {
        for (bytes, error) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], ScanError::Type(b'H')),
            (b"$9999999999\r\n", ScanError::TooLarge(MAX)),
            (b"*1000000000\r\n", ScanError::TooLarge(MAX)),
            (b"$-2\r\n", ScanError::Length),
            (b":abc\r\n", ScanError::Length),
            (b"+OK\n", ScanError::LineEnd),
            (b"$1\r\nabc", ScanError::LineEnd),
        ] {
            assert_eq!(scan(bytes, MAX), Err(error), "{}", bytes.escape_ascii());
        }
        let deep = b"*1\r\n".repeat(100);
        assert_eq!(scan(&deep, MAX), Err(ScanError::TooDeep));
    }

    proptest! {
        #[test]
        fn any_bytes_are_scanned_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some(reply)) = scan(&bytes, 100) {
                prop_assert!(reply.length <= bytes.len());
            }
        }

        #[test]
        fn requests_are_arrays_of_bulk_strings(words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6)) {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let bytes = encode(&words);
            let reply = scan(&bytes, MAX).unwrap().unwrap();
            prop_assert_eq!((reply.kind, reply.length), (Kind::Other, bytes.len()));
        }
    }
}
