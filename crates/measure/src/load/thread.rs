//! One load thread: a runtime of its own, its workers' connections, and the kill switch.
//!
//! A current-thread runtime on a thread of its own is both faster and quieter than tasks on the daemon's: it neither
//! steals nor is stolen from.

use std::{
    cell::RefCell,
    future::Future,
    rc::Rc,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinSet, LocalSet},
};
use tokio_util::sync::CancellationToken;

use super::{
    Connector, LoadPlan,
    book::{Book, Message},
    worker::Worker,
};
use crate::{
    clock::{self, Instant},
    error::Failure,
    latency::Recorder,
};

/// Connections of one thread that may be in the making at a time: a storm of them would slow the server for others.
const CONNECTING: usize = 8;

/// What a thread needs to begin.
pub(super) struct Setup<C> {
    pub(super) seat: Seat,
    pub(super) connector: C,
}

/// A thread's part of a phase, and what binds it to the collector.
pub(super) struct Seat {
    pub(super) plan: Arc<LoadPlan>,
    /// The workers of this thread.
    pub(super) workers: Vec<usize>,
    pub(super) operations_left: Option<Arc<AtomicU64>>,
    pub(super) kill: CancellationToken,
    pub(super) sender: mpsc::Sender<Message>,
    /// Set once every thread has connected.
    pub(super) start: watch::Receiver<Option<Instant>>,
}

/// What the workers of one thread share.
pub(super) struct Shared<C> {
    pub(super) plan: Arc<LoadPlan>,
    pub(super) connector: C,
    pub(super) operations_left: Option<Arc<AtomicU64>>,
    pub(super) book: RefCell<Book>,
}

/// The body of a load thread.
pub(super) fn main<C: Connector>(setup: Setup<C>) -> Result<(), Failure> {
    run(body(setup))
}

/// Runs `work` on a runtime of its own; what it has spawned ends with it.
pub(super) fn run(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = LocalSet::new().block_on(&runtime, work);
    // Name look-ups of a killed run must not hold the thread.
    runtime.shutdown_timeout(Duration::ZERO);
    result
}

/// Connects the workers, waits for the others' threads, works.
pub(super) async fn body<C: Connector>(setup: Setup<C>) -> Result<(), Failure> {
    let kill = setup.seat.kill.clone();
    let clients = tokio::select! {
        biased;
        () = kill.cancelled() => return Ok(()),
        clients = connect_all(&setup) => clients,
    };
    let mut start = setup.seat.start.clone();
    let Ok(start) = start.wait_for(Option::is_some).await.map(|start| start.unwrap_or_else(clock::now))
    else {
        return Ok(());
    };
    let Setup { seat: Seat { plan, operations_left, sender, .. }, connector } = setup;
    let book = Book::new(plan.pace.kind(), plan.mix.len(), start, sender.clone());
    let shared = Rc::new(Shared { plan, connector, operations_left, book: RefCell::new(book) });
    let mut tasks = JoinSet::new();
    for (index, client) in clients {
        tasks.spawn_local(Worker::new(Rc::clone(&shared), index, client, start)?.work());
    }
    let outcome = tokio::select! {
        biased;
        outcome = all(&mut tasks) => outcome,
        () = kill.cancelled() => Ok(()),
    };
    tasks.shutdown().await;
    if let Some(shared) = Rc::into_inner(shared) {
        let (second, totals) = shared.book.into_inner().close();
        // The collector is gone only when nobody wants the result.
        let _ = sender.send(Message::Second(Box::new(second))).await;
        let _ = sender.send(Message::Done(totals)).await;
    }
    outcome
}

async fn all(tasks: &mut JoinSet<Result<(), Failure>>) -> Result<(), Failure> {
    while let Some(joined) = tasks.join_next().await {
        match joined {
            Ok(result) => result?,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_cancelled) => {}
        }
    }
    Ok(())
}

async fn connect_all<C: Connector>(setup: &Setup<C>) -> Vec<(usize, Option<C::Client>)> {
    let mut times = Recorder::default();
    let mut failures = Vec::new();
    let seat = &setup.seat;
    let mut clients = Vec::with_capacity(seat.workers.len());
    let mut connecting = stream::iter(seat.workers.iter().copied())
        .map(async |worker| {
            let begun = clock::now();
            (worker, setup.connector.connect(worker).await, begun.elapsed())
        })
        .buffer_unordered(CONNECTING);
    while let Some((worker, result, took)) = connecting.next().await {
        match result {
            Ok(client) => {
                times.record(took);
                clients.push((worker, Some(client)));
            }
            Err(failure) => {
                failures.push(failure);
                clients.push((worker, None));
            }
        }
    }
    let message = Message::Connected { times: Box::new(times), failures, workers: seat.workers.len() };
    let _ = seat.sender.send(message).await;
    clients
}
