//! INFO as a server sends it, where that is more than text.

use measure::{conn, facts::Info};
use testkit::{FakeServer, Step};

use crate::support::endpoint;

#[tokio::test]
async fn a_byte_that_is_no_text_costs_one_field() {
    let text = b"redis_version:7.0.15\r\nexecutable:/opt/\xff\r\nrole:master\r\nused_memory:42\r\n";
    let reply = [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat();
    let server = FakeServer::on("INFO", vec![Step::send(reply)]);
    let (mut conn, _) = conn::connect(&endpoint(&server.url()), "redprobe-test").await.unwrap();
    let info = Info::ask(&mut conn, &[]).await.unwrap();
    assert_eq!(info.integer("used_memory"), Some(42));
    assert_eq!(info.text("role"), Some("master"));
}
