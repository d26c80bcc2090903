//! Logins, the rate limit and the headers, over the wire.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    super::{Answer, exchange, get, request_text},
    server::Server,
};

fn users(names: &[(&str, &str)]) -> String {
    let lines = names.iter().map(|(name, password)| {
        format!("  {name}: {}\n", bcrypt::hash(password, 4).expect("it can be made"))
    });
    format!("basic_auth_users:\n{}", lines.collect::<String>())
}

async fn ask(server: &Server, path: &str, authorization: &str) -> Answer {
    let headers = [("Authorization", authorization)];
    let headers = if authorization.is_empty() { &headers[..0] } else { &headers };
    Answer::parse(&exchange(server.address, request_text(server.address, "GET", path, headers, "")).await)
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")))
}

#[tokio::test]
async fn only_users_and_the_token_come_in() {
    let server = Server::start(&users(&[("joe", "right"), ("jim", "p:w ü")])).await;
    for (authorization, comes_in) in [
        (String::new(), false),
        (basic("joe", "right"), true),
        (basic("joe", "right").replacen("Basic", "bAsIc", 1), true),
        (basic("jim", "p:w ü"), true),
        (basic("joe", "wrong"), false),
        (basic("joe", ""), false),
        (basic("jim", "right"), false),
        (basic("nobody", "right"), false),
        (basic("nobody", "fakepassword"), false),
        (basic("", ""), false),
        ("Basic !!!".into(), false),
        ("Basic".into(), false),
        ("Bearer right".into(), true),
        ("Bearer wrong".into(), false),
    ] {
        // Once cold and once from memory.
        for _ in 0..2 {
            let answer = ask(&server, "/metrics", &authorization).await;
            assert_eq!(answer.status, if comes_in { 200 } else { 401 }, "{authorization:?}: {answer:?}");
            let challenged = answer.head.contains("\r\nwww-authenticate: basic\r\n");
            assert_eq!(challenged, !comes_in, "{authorization:?}: {answer:?}");
        }
    }
    // What is not there needs a login, too: else one could find out what is.
    assert_eq!(ask(&server, "/nothing", "").await.status, 401);
    assert_eq!(ask(&server, "/nothing", &basic("joe", "right")).await.status, 404);
    server.end().await;
}

#[tokio::test]
async fn a_user_is_one_from_the_change_on() {
    let server = Server::start(&users(&[("joe", "old")])).await;
    assert_eq!(ask(&server, "/metrics", &basic("joe", "old")).await.status, 200);
    server.write("web.yml", &users(&[("joe", "new")]));
    assert_eq!(ask(&server, "/metrics", &basic("joe", "old")).await.status, 401);
    assert_eq!(ask(&server, "/metrics", &basic("joe", "new")).await.status, 200);
    server.write("web.yml", "");
    for authorization in ["", &basic("joe", "new")] {
        assert_eq!(ask(&server, "/metrics", authorization).await.status, 500, "no users is no file any more");
    }
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_logins_without_end_do_not_keep_a_known_user_out() {
    let hash = bcrypt::hash("right", 8).expect("it can be made");
    let server = Server::start(&format!("basic_auth_users:\n  joe: {hash}\n")).await;
    assert_eq!(ask(&server, "/metrics", &basic("joe", "right")).await.status, 200);
    let (address, wrong) = (server.address, basic("joe", "wrong"));
    let flood: Vec<_> = (0..50)
        .map(|_| {
            let text = request_text(address, "GET", "/metrics", &[("Authorization", wrong.as_str())], "");
            tokio::spawn(async move { exchange(address, text).await })
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(ask(&server, "/metrics", &basic("joe", "right")).await.status, 200);
    }
    flood.iter().for_each(tokio::task::JoinHandle::abort);
    server.end().await;
}

#[tokio::test]
async fn more_requests_than_the_limit_are_answered_429() {
    let server =
        Server::start(&format!("rate_limit:\n  interval: 1h\n  burst: 3\n{}", users(&[("joe", "right")])))
            .await;
    let mut answered = Vec::new();
    for _ in 0..5 {
        answered.push(ask(&server, "/metrics", "").await.status);
    }
    // Before any password is looked at.
    assert_eq!(answered, [401, 401, 401, 429, 429]);
    assert_eq!(ask(&server, "/metrics", &basic("joe", "right")).await.status, 429);
    // What changes elsewhere in the file fills nothing up; what changes the limit does.
    let other = users(&[("joe", "other")]);
    server.write("web.yml", &format!("rate_limit:\n  interval: 1h\n  burst: 3\n{other}"));
    assert_eq!(ask(&server, "/metrics", "").await.status, 429);
    server.write("web.yml", &format!("rate_limit:\n  interval: 1h\n  burst: 1\n{other}"));
    assert_eq!(ask(&server, "/metrics", &basic("joe", "other")).await.status, 200);
    server.write("web.yml", &other);
    for _ in 0..5 {
        assert_eq!(ask(&server, "/metrics", &basic("joe", "other")).await.status, 200);
    }
    server.end().await;
}

#[tokio::test]
async fn headers_are_added_to_every_answer() {
    let headers = "http_server_config:\n  headers:\n    X-Frame-Options: sameorigin\n    Strict-Transport-Security: max-age=60\n    \
        X-XSS-Protection: 1\n    Content-Security-Policy: \"\"\n";
    let server = Server::start(&format!("{headers}rate_limit:\n  interval: 1h\n  burst: 2\n")).await;
    for (path, status) in [("/metrics", 200), ("/nothing", 404), ("/metrics", 429)] {
        let answer = get(server.address, path).await;
        assert_eq!(answer.status, status);
        for line in [
            "x-frame-options: sameorigin",
            "strict-transport-security: max-age=60",
            "x-xss-protection: 1",
            // Blank is not set, so that redprobe's own stays.
            "content-security-policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
            "x-content-type-options: nosniff",
        ] {
            assert_eq!(answer.head.matches(&format!("\r\n{line}")).count(), 1, "{line}: {}", answer.head);
        }
    }
    server.end().await;
}
