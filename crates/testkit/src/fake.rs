//! A scripted server for faults that a real redis-server cannot produce: garbage, huge lengths, half replies, resets.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::net::sockopt::set_socket_linger;

/// What a script reacts to.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A connection was accepted.
    Accepted,
    /// A whole request came, as its words.
    Request(&'a [String]),
}

/// What a script does.
#[derive(Debug, Clone)]
pub enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Waits. For late replies; silence is a script with no steps.
    Wait(Duration),
    /// Ends the connection in order (FIN).
    Close,
    /// Breaks the connection (RST).
    Reset,
}

impl Step {
    /// Sends these bytes.
    #[must_use]
    pub fn send(bytes: impl Into<Vec<u8>>) -> Self {
        Step::Send(bytes.into())
    }
}

type Script = dyn Fn(Event<'_>) -> Vec<Step> + Send + Sync;

/// A server on a free loopback port that does what its script says, on each connection apart. Dropping it ends it.
pub struct FakeServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Box<Script>,
    stopped: AtomicBool,
    accepted: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

impl fmt::Debug for FakeServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeServer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl FakeServer {
    /// A server with this script.
    #[must_use]
    pub fn start(script: impl Fn(Event<'_>) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            script: Box::new(script),
            stopped: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Self { address, shared }
    }

    /// A server that answers every command as an empty, healthy Redis would, save that `steps` answer `command`.
    #[must_use]
    pub fn on(command: &'static str, steps: Vec<Step>) -> Self {
        Self::start(move |event| match event {
            Event::Accepted => Vec::new(),
            Event::Request(words) if words[0].eq_ignore_ascii_case(command) => steps.clone(),
            Event::Request(words) => vec![Step::send(healthy(words))],
        })
    }

    /// A server that does `steps` as soon as it is connected to, and answers nothing.
    #[must_use]
    pub fn greeting(steps: Vec<Step>) -> Self {
        Self::start(move |event| match event {
            Event::Accepted => steps.clone(),
            Event::Request(_) => Vec::new(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `redis://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
        for stream in self.shared.open.lock().expect("no thread panics with it").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// What an empty, healthy Redis answers to the few commands of a login and a health check.
fn healthy(words: &[String]) -> &'static [u8] {
    match words[0].to_ascii_uppercase().as_str() {
        "PING" => b"+PONG\r\n",
        "GET" => b"$-1\r\n",
        "INFO" => b"$20\r\nredis_version:7.0.15\r\n",
        "DEL" | "UNLINK" | "EXISTS" => b":0\r\n",
        _ => b"+OK\r\n",
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::Relaxed) {
            return;
        }
        let Ok(stream) = stream else { continue };
        if let Ok(clone) = stream.try_clone() {
            shared.open.lock().expect("no thread panics with it").push(clone);
        }
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(shared);
        // An error ends the connection, which is all that the other side can see of it.
        thread::spawn(move || serve(&stream, &*shared.script));
    }
}

fn serve(stream: &TcpStream, script: &Script) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    perform(stream, script(Event::Accepted))?;
    while let Some(words) = read_request(&mut reader)? {
        perform(stream, script(Event::Request(&words)))?;
    }
    Ok(())
}

fn perform(mut stream: &TcpStream, steps: Vec<Step>) -> io::Result<()> {
    for step in steps {
        match step {
            Step::Send(bytes) => stream.write_all(&bytes)?,
            Step::Wait(time) => thread::sleep(time),
            Step::Close => stream.shutdown(Shutdown::Both)?,
            Step::Reset => {
                set_socket_linger(stream, Some(Duration::ZERO))?;
                // On Linux a connect to "unspecified" is the one way to send RST while clones are open.
                rustix::net::connect_unspec(stream)?;
            }
        }
    }
    Ok(())
}

/// One request: an array of bulk strings, or a line of words. `None` at the end of the stream.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Vec<String>>> {
    let Some(line) = read_line(reader)? else { return Ok(None) };
    let Some(count) = line.strip_prefix('*') else {
        let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        if words.is_empty() {
            words.push(String::new());
        }
        return Ok(Some(words));
    };
    let mut words = Vec::new();
    for _ in 0..count.parse().unwrap_or(0) {
        let Some(header) = read_line(reader)? else { return Ok(None) };
        let length = header.strip_prefix('$').and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut bytes = vec![0; length + 2];
        reader.read_exact(&mut bytes)?;
        bytes.truncate(length);
        words.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    if words.is_empty() {
        words.push(String::new());
    }
    Ok(Some(words))
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    reader.take(64 * 1024).read_until(b'\n', &mut line)?;
    Ok((!line.is_empty()).then(|| String::from_utf8_lossy(&line).trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(server: &FakeServer, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(server.address())?;
        stream.write_all(request)?;
        let mut reply = vec![0; 64];
        let length = stream.read(&mut reply)?;
        reply.truncate(length);
        Ok(reply)
    }

    #[test]
    fn answers_well_save_what_is_scripted() {
        let server = FakeServer::on("GET", vec![Step::send("$9999999999\r\n")]);
        assert_eq!(ask(&server, b"*1\r\n$4\r\nPING\r\n").unwrap(), b"+PONG\r\n");
        assert_eq!(ask(&server, b"*2\r\n$3\r\nget\r\n$1\r\na\r\n").unwrap(), b"$9999999999\r\n");
        assert_eq!(server.accepted(), 2);
    }

    #[test]
    fn resets_in_the_middle_of_a_reply() {
        let server = FakeServer::on("GET", vec![Step::send("$5\r\nhe"), Step::Reset]);
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(b"GET a\r\n").unwrap();
        let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn greets_and_closes() {
        let server = FakeServer::greeting(vec![Step::send("-ERR no\r\n"), Step::Close]);
        let mut stream = TcpStream::connect(server.address()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(text, "-ERR no\r\n");
    }
}
