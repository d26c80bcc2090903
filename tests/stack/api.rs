//! The HTTP APIs of Prometheus and Alertmanager, as far as the tests ask them.
//!
//! What is asked, and what the answer should be, belongs to the callers.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

/// For an answer of a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// `GET path` of a JSON document; or why there is none, for people.
pub(super) fn get(server: SocketAddr, path: &str) -> Result<Value, String> {
    let exchange = || {
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // 1.0, so that the body comes in one piece.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: test\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text).map(|_| text)
    };
    let text = exchange().map_err(|error| format!("{path}: {error}"))?;
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).map_err(|error| format!("{path}: {error} in {text:?}"))
}

/// The series that a PromQL expression gives now; or why it gives none, for people.
pub(super) fn query(prometheus: SocketAddr, expression: &str) -> Result<Vec<Value>, String> {
    let encoded: String = url::form_urlencoded::byte_serialize(expression.as_bytes()).collect();
    let answer = get(prometheus, &format!("/api/v1/query?query={encoded}"))?;
    match &answer["data"]["result"] {
        // A scalar is a pair, and one series.
        scalar if answer["data"]["resultType"] == "scalar" => Ok(vec![scalar.clone()]),
        Value::Array(series) => Ok(series.clone()),
        _ => Err(format!("{expression}: {answer}")),
    }
}
