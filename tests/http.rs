//! The HTTP server: its bounds on clients (`hostile`), who may come in (`door`), and its routes over a whole daemon (`routes`).

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

mod door;
mod hostile;
mod routes;

/// Longer than anything here takes on a busy machine; a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Names and values.
type Headers<'a> = &'a [(&'a str, &'a str)];

/// One answer, as it came.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.get(9..12).and_then(|digits| digits.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not an answer: {text:?}"));
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }
}

/// Sends `request` as it is and reads until the server closes.
async fn exchange(address: SocketAddr, request: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    // A server that refuses early closes before it has read everything; what it said still arrives.
    let _ = stream.write_all(request.as_ref()).await;
    read_to_end(&mut stream).await
}

/// Everything until the server closes, which it must.
async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut chunk = [0; 16 << 10];
    loop {
        match timeout(PATIENCE, stream.read(&mut chunk)).await.expect("the server closes the connection") {
            Ok(0) | Err(_) => return String::from_utf8_lossy(&text).into_owned(),
            Ok(read) => text.extend_from_slice(&chunk[..read]),
        }
    }
}

/// `GET path` on a connection of its own.
async fn get(address: SocketAddr, path: &str) -> Answer {
    Answer::parse(&exchange(address, request_text(address, "GET", path, &[], "")).await)
}

/// A request after which the server closes the connection.
fn request_text(address: SocketAddr, method: &str, path: &str, headers: Headers<'_>, body: &str) -> String {
    let extra: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{extra}{length}\r\n{body}")
}
