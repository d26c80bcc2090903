//! A server before 7.0, which sets one setting at a time: scripted, since only newer ones are packaged.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use testkit::{Event, FakeServer, Step};

use super::*;

/// Its settings, and every CONFIG SET it was sent.
#[derive(Default)]
struct State {
    values: BTreeMap<String, String>,
    sets: Vec<String>,
    /// A setting that it does not let anybody change.
    refuses: Option<&'static str>,
}

fn start(state: &Arc<Mutex<State>>) -> FakeServer {
    let before = [("maxmemory", BEFORE[0]), ("maxmemory-policy", BEFORE[1])];
    state.lock().unwrap().values = before.map(|(name, value)| (name.into(), value.into())).into();
    let state = Arc::clone(state);
    FakeServer::start(move |event| match event {
        Event::Accepted => Vec::new(),
        Event::Request(words) => vec![Step::send(answer(&mut state.lock().unwrap(), words))],
    })
}

fn answer(state: &mut State, words: &[String]) -> String {
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["PING"] => "+PONG\r\n".into(),
        ["INFO", ..] => bulk("redis_version:6.2.14\r\nrun_id:abc\r\nrole:master\r\nused_memory:1000\r\n"),
        ["CLIENT", "ID"] => ":7\r\n".into(),
        ["CONFIG", "GET", name] => match state.values.get(name) {
            Some(value) => format!("*2\r\n{}{}", bulk(name), bulk(value)),
            None => "*0\r\n".into(),
        },
        ["CONFIG", "SET", name, value] => {
            state.sets.push(name.into());
            if state.refuses == Some(name) {
                return "-ERR Invalid argument for CONFIG SET\r\n".into();
            }
            let value = if value == "100mb" { LIMIT } else { value };
            state.values.insert(name.into(), value.into());
            "+OK\r\n".into()
        }
        ["CONFIG", "SET", ..] => "-ERR Unknown subcommand or wrong number of arguments for 'SET'\r\n".into(),
        _ => "+OK\r\n".into(),
    }
}

fn origin(address: String) -> Origin {
    let keys_gone_at = measure::clock::wall() + Duration::from_secs(600);
    Origin { target: "cache".into(), address, run: "01RUN".into(), keys_gone_at }
}

#[tokio::test]
async fn one_by_one_the_last_change_goes_back_first() {
    let (state, folder) = (Arc::<Mutex<State>>::default(), TempDir::new().unwrap());
    let server = start(&state);
    let mut conn = connect(&server.url()).await;
    let changes = Changes::new(Journal::of(folder.path()), origin(server.address().to_string()));
    changes.change(&mut conn, &wanted()).await.unwrap();
    assert_eq!(state.lock().unwrap().values.values().collect::<Vec<_>>(), CHANGED);
    let done = changes.restore(&mut conn, OwnKeys::Gone).await.unwrap();
    assert_eq!(done.restored.len(), 2);
    let state = state.lock().unwrap();
    assert_eq!(state.values.values().collect::<Vec<_>>(), BEFORE);
    assert_eq!(state.sets, ["maxmemory-policy", "maxmemory", "maxmemory", "maxmemory-policy"]);
}

#[tokio::test]
async fn what_fails_halfway_is_taken_back() {
    let (state, folder) = (Arc::<Mutex<State>>::default(), TempDir::new().unwrap());
    let server = start(&state);
    state.lock().unwrap().refuses = Some("maxmemory");
    let mut conn = connect(&server.url()).await;
    let changes = Changes::new(Journal::of(folder.path()), origin(server.address().to_string()));
    let error = changes.change(&mut conn, &wanted()).await.unwrap_err();
    assert!(error.failure().message.contains("Invalid argument"), "{error}");
    assert!(changes.pending().is_empty());
    let state = state.lock().unwrap();
    assert_eq!(state.values.values().collect::<Vec<_>>(), BEFORE);
    assert_eq!(state.sets, ["maxmemory-policy", "maxmemory", "maxmemory-policy"]);
}

#[tokio::test]
async fn what_fails_halfway_back_is_tried_again() {
    let (state, folder) = (Arc::<Mutex<State>>::default(), TempDir::new().unwrap());
    let server = start(&state);
    let mut conn = connect(&server.url()).await;
    let journal = Journal::of(folder.path());
    let changes = Changes::new(journal.clone(), origin(server.address().to_string()));
    changes.change(&mut conn, &wanted()).await.unwrap();
    state.lock().unwrap().refuses = Some("maxmemory-policy");
    changes.restore(&mut conn, OwnKeys::Gone).await.unwrap_err();
    assert_eq!((changes.pending().len(), journal.find().unwrap().live.len()), (2, 1));
    state.lock().unwrap().refuses = None;
    let done = changes.restore(&mut conn, OwnKeys::Gone).await.unwrap();
    assert_eq!(done.restored.len(), 2);
    assert_eq!(state.lock().unwrap().values.values().collect::<Vec<_>>(), BEFORE);
}
