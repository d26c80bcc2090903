//! CLIENT LIST, one client at a time: its lines, cut out of whatever chunks they come in, and the fields of one.
//!
//! Fields are found by name, since every version and flavour has others. How the list is asked for is in `client_list`;
//! what its clients mean for a pool belongs to the caller.

use std::net::IpAddr;

/// Bytes of one line that are looked at. A real one has 250 to 400; a client may give itself a name of any length.
const LONGEST_LINE: usize = 16 * 1024;

/// One client, as its line says. What the server does not say is `None`, or empty where it is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Client<'a> {
    /// Grows with every connection since the server started; never used twice.
    pub id: u64,
    /// Address and port, `[::1]:50000` and `/path:0` among them.
    pub address: &'a [u8],
    /// What CLIENT SETNAME said.
    pub name: &'a [u8],
    /// The ACL user (since Redis 6).
    pub user: &'a [u8],
    /// What CLIENT SETINFO said of the library (since Redis 7.2); `None` where the server knows nothing of it.
    pub library: Option<&'a [u8]>,
    /// One letter per flag: `b` waits in a blocking command, `P` is subscribed, `S` is a replica, `N` has none.
    pub flags: &'a [u8],
    /// Its database.
    pub database: Option<u32>,
    /// Seconds since it connected.
    pub age: Option<u64>,
    /// Seconds since it sent something.
    pub idle: Option<u64>,
    /// Channels, patterns and shard channels that it is subscribed to.
    pub subscriptions: u64,
    /// Bytes of its query buffer in use.
    pub query_buffer: Option<u64>,
    /// Bytes of replies that it has not read yet, beyond the first 16 KB.
    pub output_buffer: Option<u64>,
}

impl<'a> Client<'a> {
    /// Reads one line; `None` where it has no id. Of a field that comes twice the first counts.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let mut client = Client::default();
        let mut id = None;
        let mut seen = [false; FIELDS.len()];
        for piece in line.split(|byte| matches!(byte, b' ' | b'\r' | b'\n')) {
            let Some(at) = memchr::memchr(b'=', piece) else { continue };
            let (name, value) = (&piece[..at], &piece[at + 1..]);
            let Some(field) = FIELDS.iter().position(|field| field.as_bytes() == name) else { continue };
            if std::mem::replace(&mut seen[field], true) {
                continue;
            }
            match FIELDS[field] {
                "id" => id = number(value),
                "addr" => client.address = value,
                "name" => client.name = value,
                "user" => client.user = value,
                "lib-name" => client.library = Some(value),
                "flags" => client.flags = value,
                "db" => client.database = number(value).and_then(|number| u32::try_from(number).ok()),
                "age" => client.age = number(value),
                "idle" => client.idle = number(value),
                "qbuf" => client.query_buffer = number(value),
                "omem" => client.output_buffer = number(value),
                _subscriptions => {
                    client.subscriptions =
                        client.subscriptions.saturating_add(number(value).unwrap_or_default());
                }
            }
        }
        id.map(|id| Self { id, ..client })
    }

    /// Whether it waits in a blocking command, such as BLPOP or XREAD BLOCK.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.flags.contains(&b'b')
    }

    /// Whether it is subscribed to something.
    #[must_use]
    pub fn is_subscribed(&self) -> bool {
        self.flags.contains(&b'P') || self.subscriptions > 0
    }

    /// Whether it is a link of replication, a replica or the master, and no client of an application.
    #[must_use]
    pub fn is_replication(&self) -> bool {
        self.flags.contains(&b'S') || self.flags.contains(&b'M')
    }

    /// Whether it watches what others do (MONITOR).
    #[must_use]
    pub fn is_monitor(&self) -> bool {
        self.flags.contains(&b'O')
    }

    /// Its address without the port, and without the brackets of IPv6.
    #[must_use]
    pub fn host(&self) -> &'a [u8] {
        let end = self.address.iter().rposition(|byte| *byte == b':').unwrap_or(self.address.len());
        let host = &self.address[..end];
        host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host)
    }

    /// Its IP address, where it has one; an IPv4 address in IPv6 clothes as IPv4.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        std::str::from_utf8(self.host()).ok()?.parse().ok().map(|ip: IpAddr| ip.to_canonical())
    }
}

/// The fields that are read.
const FIELDS: [&str; 14] = [
    "id", "addr", "name", "user", "lib-name", "flags", "db", "age", "idle", "qbuf", "omem", "sub", "psub",
    "ssub",
];

fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Cuts lines out of chunks, and keeps no more than the one that is not whole yet.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Takes a chunk; `each` client whose line ends in it.
    pub fn feed(&mut self, chunk: &[u8], each: &mut impl FnMut(&Client<'_>)) {
        let mut rest = chunk;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            if self.begun.is_empty() {
                tell(&rest[..end.min(LONGEST_LINE)], each);
            } else {
                self.keep(&rest[..end]);
                tell(&self.begun, each);
                self.begun.clear();
            }
            rest = &rest[end + 1..];
        }
        self.keep(rest);
    }

    /// The last line, where no line end followed it.
    pub fn finish(self, each: &mut impl FnMut(&Client<'_>)) {
        tell(&self.begun, each);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LONGEST_LINE - self.begun.len();
        self.begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

fn tell(line: &[u8], each: &mut impl FnMut(&Client<'_>)) {
    // One that was cut has a last field of which nobody knows how much is missing.
    let cut = line.len() == LONGEST_LINE;
    let end = if cut { line.iter().rposition(|byte| *byte == b' ').unwrap_or(0) } else { line.len() };
    if let Some(client) = Client::parse(&line[..end]) {
        each(&client);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V7_0: &[u8] = b"id=7 addr=10.0.0.5:50000 laddr=10.0.0.1:6379 fd=8 name=api-1 age=120 idle=3 flags=b db=2 \
        sub=0 psub=0 ssub=0 multi=-1 qbuf=26 qbuf-free=20448 argv-mem=10 multi-mem=0 rbs=1024 rbp=0 obl=0 oll=0 \
        omem=4096 tot-mem=22298 events=r cmd=xread user=api redir=-1 resp=2";

    fn parse(line: &str) -> Client<'_> {
        Client::parse(line.as_bytes()).expect("it has an id")
    }

    #[test]
    fn reads_the_fields_of_a_line_by_name() {
        let client = Client::parse(V7_0).unwrap();
        let expected = Client {
            id: 7,
            address: b"10.0.0.5:50000",
            name: b"api-1",
            user: b"api",
            library: None,
            flags: b"b",
            database: Some(2),
            age: Some(120),
            idle: Some(3),
            subscriptions: 0,
            query_buffer: Some(26),
            output_buffer: Some(4096),
        };
        assert_eq!(client, expected);
        assert!(client.is_blocked() && !client.is_subscribed() && !client.is_replication());
        assert_eq!((client.host(), client.ip()), (&b"10.0.0.5"[..], "10.0.0.5".parse().ok()));
    }

    #[test]
    fn other_versions_say_more_or_less() {
        let valkey =
            parse("id=3 addr=[::1]:5 name= flags=P sub=1 psub=2 ssub=3 lib-name=redis-py lib-ver=5 new=1");
        assert_eq!((valkey.library, valkey.subscriptions), (Some(&b"redis-py"[..]), 6));
        assert!(valkey.is_subscribed() && !valkey.is_blocked());
        assert_eq!(valkey.ip(), "::1".parse().ok());
        let little = parse("id=1 addr=/tmp/redis.sock:0");
        assert_eq!((little.host(), little.ip()), (&b"/tmp/redis.sock"[..], None));
        assert_eq!((little.age, little.database, little.name), (None, None, &b""[..]));
        assert_eq!(parse("addr=[::ffff:10.0.0.1]:5 id=2").ip(), "10.0.0.1".parse().ok());
        assert_eq!(Client::parse(b"addr=1.2.3.4:5 name=x"), None);
        assert_eq!(Client::parse(b""), None);
    }

    #[test]
    fn odd_values_are_not_taken_for_fields() {
        let client = parse("id=1 addr=/a b/redis.sock:0 name=a=b=c flags=N id=9 name=late omem=-1 qbuf=x");
        assert_eq!((client.id, client.name), (1, &b"a=b=c"[..]));
        assert_eq!((client.output_buffer, client.query_buffer), (None, None));
        let client = Client::parse(b"id=1 name=\xff\xfe user=\xc3\x28 db=4294967296").unwrap();
        assert_eq!((client.name, client.database), (&b"\xff\xfe"[..], None));
    }

    fn list(chunks: &[&[u8]]) -> Vec<(u64, Vec<u8>, Option<u64>)> {
        let mut found = Vec::new();
        let mut each = |client: &Client<'_>| found.push((client.id, client.name.to_vec(), client.age));
        let mut lines = Lines::default();
        for chunk in chunks {
            lines.feed(chunk, &mut each);
        }
        lines.finish(&mut each);
        found
    }

    #[test]
    fn a_name_without_end_costs_its_own_line_alone() {
        let text = format!("id=1 name={} age=5\nid=2 name=b age=6\n", "x".repeat(3 * LONGEST_LINE));
        let whole = list(&[text.as_bytes()]);
        assert_eq!(whole, [(1, Vec::new(), None), (2, b"b".to_vec(), Some(6))]);
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(1000).collect();
        assert_eq!(list(&pieces), whole);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..6),
        ) {
            let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            for (_, name, _) in list(&chunks) {
                prop_assert!(!name.contains(&b' ') && !name.contains(&b'\n'));
            }
        }

        #[test]
        fn reads_back_what_is_rendered_however_it_is_cut(
            clients in prop::collection::vec((any::<u64>(), "[!-~]{0,20}", any::<u64>()), 0..20),
            size in 1_usize..100,
        ) {
            let line = |(id, name, age): &(u64, String, u64)| {
                format!("id={id} addr=127.0.0.1:1 unknown=7 name={name} age={age} flags=N\n")
            };
            let text: String = clients.iter().map(line).collect();
            let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            let expected: Vec<_> =
                clients.into_iter().map(|(id, name, age)| (id, name.into_bytes(), Some(age))).collect();
            prop_assert_eq!(list(&chunks), expected);
        }
    }
}
