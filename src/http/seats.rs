//! Which connections may stay when there are too many: a newcomer takes the seat of one that asks for nothing.
//!
//! Those that never sent a whole request go first, then those between two requests, the longest-quiet first. One
//! whose request is being worked on is never put out. A seat also knows since when a request's head is on its way.
//! What happens on a connection belongs to `listen`.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Never sent a whole request.
const NEW: u32 = 0;
/// Had an answer, and is quiet, or still reading it.
const SERVED: u32 = 1;
/// A request of it is being worked on; one above for each further one, which HTTP/2 may have.
const AT_WORK: u32 = 2;
/// Put out.
const CLOSED: u32 = u32::MAX;

/// All connections of a server.
#[derive(Debug)]
pub(super) struct Seats {
    most: usize,
    taken: Mutex<BTreeMap<u64, Arc<Seat>>>,
    /// Counts what happens, to tell earlier from later.
    events: AtomicU64,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Seat {
    id: u64,
    state: AtomicU32,
    last_event: AtomicU64,
    /// The first part of a request's head has come, the rest has not.
    mid_head: AtomicBool,
    head_began: Notify,
    close: CancellationToken,
}

/// What came of asking for a seat.
#[derive(Debug)]
pub(super) struct Taken {
    /// The seat, unless all are at work.
    pub(super) seat: Option<Arc<Seat>>,
    /// Whether somebody was put out, or the newcomer turned away.
    pub(super) shed: bool,
}

impl Seats {
    /// This many at the most.
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: Mutex::default(), events: AtomicU64::new(0) }
    }

    /// A seat for a newcomer.
    pub(super) fn take(&self) -> Taken {
        let mut taken = self.lock();
        let mut shed = false;
        while taken.len() >= self.most {
            shed = true;
            if !shed_one(&mut taken) {
                return Taken { seat: None, shed };
            }
        }
        let id = self.event();
        let seat = Arc::new(Seat {
            id,
            state: AtomicU32::new(NEW),
            last_event: AtomicU64::new(id),
            mid_head: AtomicBool::new(false),
            head_began: Notify::new(),
            close: CancellationToken::new(),
        });
        taken.insert(id, Arc::clone(&seat));
        Taken { seat: Some(seat), shed }
    }

    /// Puts out the one that is missed least. False where all are at work.
    pub(super) fn shed(&self) -> bool {
        shed_one(&mut self.lock())
    }

    /// Gives a seat back.
    pub(super) fn leave(&self, seat: &Seat) {
        self.lock().remove(&seat.id);
    }

    /// Seats taken.
    pub(super) fn taken(&self) -> usize {
        self.lock().len()
    }

    /// Puts everybody out, at work or not.
    pub(super) fn close_all(&self) {
        for seat in self.lock().values() {
            seat.close.cancel();
        }
    }

    fn event(&self) -> u64 {
        self.events.fetch_add(1, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Seat>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shed_one(taken: &mut BTreeMap<u64, Arc<Seat>>) -> bool {
    loop {
        let least = taken
            .values()
            .filter(|seat| seat.state() < AT_WORK)
            .min_by_key(|seat| (seat.state(), seat.last_event.load(Ordering::Relaxed)))
            .map(Arc::clone);
        let Some(seat) = least else { return false };
        // Its request may have come meanwhile; then look again.
        if seat.put_out() {
            seat.close.cancel();
            taken.remove(&seat.id);
            return true;
        }
    }
}

impl Seat {
    /// Returns when this connection has to end.
    pub(super) async fn closed(&self) {
        self.close.cancelled().await;
    }

    /// Bytes have come.
    pub(super) fn heard(&self) {
        if self.state() < AT_WORK && !self.mid_head.swap(true, Ordering::AcqRel) {
            self.head_began.notify_one();
        }
    }

    /// The head of a request is whole.
    pub(super) fn head_came(&self, seats: &Seats) {
        self.last_event.store(seats.event(), Ordering::Relaxed);
        self.mid_head.store(false, Ordering::Release);
    }

    /// Returns when a head has been on its way for longer than `limit`.
    pub(super) async fn head_overdue(&self, limit: Duration) {
        loop {
            self.head_began.notified().await;
            let began = self.last_event.load(Ordering::Relaxed);
            tokio::time::sleep(limit).await;
            let same = self.last_event.load(Ordering::Relaxed) == began;
            if same && self.mid_head.load(Ordering::Acquire) {
                return;
            }
        }
    }

    /// Returns when nothing was asked for `limit`, at the latest after twice as long.
    pub(super) async fn quiet(&self, limit: Duration) {
        loop {
            let before = self.last_event.load(Ordering::Relaxed);
            tokio::time::sleep(limit).await;
            if self.last_event.load(Ordering::Relaxed) == before && self.state() < AT_WORK {
                return;
            }
        }
    }

    /// Ends the connection, whatever it is at.
    pub(super) fn end(&self) {
        self.close.cancel();
    }

    /// Cannot be put out until the guard is dropped; nothing where it already was.
    pub(super) fn work<'a>(&'a self, seats: &'a Seats) -> Option<AtWork<'a>> {
        let one_more = |state| match state {
            CLOSED => None,
            NEW | SERVED => Some(AT_WORK),
            more => Some(more + 1),
        };
        let begun = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        begun.is_ok().then_some(AtWork { seat: self, seats })
    }

    fn state(&self) -> u32 {
        self.state.load(Ordering::Acquire)
    }

    fn put_out(&self) -> bool {
        let idle = |state| (state < AT_WORK).then_some(CLOSED);
        self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, idle).is_ok()
    }
}

/// While it lives, a request of this seat is being worked on.
#[derive(Debug)]
pub(super) struct AtWork<'a> {
    seat: &'a Seat,
    seats: &'a Seats,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.seat.last_event.store(self.seats.event(), Ordering::Relaxed);
        let one_less = |state| Some(if state == AT_WORK { SERVED } else { state - 1 });
        // It always has one to take away: nobody is put out at work.
        let _ = self.seat.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(seats: &Seats) -> Arc<Seat> {
        seats.take().seat.expect("somebody is idle")
    }

    #[test]
    fn the_silent_go_first_then_the_longest_quiet() {
        let seats = Seats::new(3);
        let (served, silent, recent) = (taken(&seats), taken(&seats), taken(&seats));
        drop(served.work(&seats));
        drop(recent.work(&seats));
        let first = seats.take();
        assert!(first.shed && silent.close.is_cancelled() && !served.close.is_cancelled());
        drop(first.seat.expect("it has a seat").work(&seats));
        taken(&seats);
        assert!(served.close.is_cancelled() && !recent.close.is_cancelled());
        assert_eq!(seats.taken(), 3);
    }

    #[test]
    fn who_is_at_work_stays_and_the_newcomer_goes() {
        let seats = Seats::new(1);
        let busy = taken(&seats);
        let guard = busy.work(&seats).expect("it was not put out");
        let refused = seats.take();
        assert!(refused.seat.is_none() && refused.shed && !busy.close.is_cancelled());
        drop(guard);
        taken(&seats);
        assert!(busy.close.is_cancelled());
        assert!(busy.work(&seats).is_none(), "who was put out starts no work");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_is_overdue_from_its_first_byte_on() {
        const LIMIT: Duration = Duration::from_secs(10);
        let seats = Seats::new(1);
        let seat = taken(&seats);
        let overdue = async |within: u64| {
            tokio::time::timeout(Duration::from_secs(within), seat.head_overdue(LIMIT)).await.is_ok()
        };
        assert!(!overdue(60).await, "silence is not a head");
        seat.heard();
        seat.head_came(&seats);
        drop(seat.work(&seats));
        assert!(!overdue(60).await, "nor is the quiet after a whole one");
        seat.heard();
        seat.heard();
        assert!(!overdue(9).await);
        seat.head_came(&seats);
        seat.heard();
        assert!(overdue(11).await);
    }

    #[test]
    fn who_has_several_requests_is_at_work_until_the_last_is_done() {
        let seats = Seats::new(1);
        let busy = taken(&seats);
        let both = (busy.work(&seats), busy.work(&seats));
        assert!(both.0.is_some() && both.1.is_some());
        drop(both.0);
        assert!(!seats.shed());
        drop(both.1);
        assert!(seats.shed() && busy.work(&seats).is_none());
    }

    #[test]
    fn a_seat_given_back_is_free() {
        let seats = Seats::new(1);
        let seat = taken(&seats);
        seats.leave(&seat);
        assert!(!seats.take().shed);
    }
}
