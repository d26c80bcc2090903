//! Which entries were written, and which of them each reader has seen: lost, twice, out of order, late, after a cut.
//!
//! Counting alone. Who writes and reads is `roles`, what it means `findings`.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use measure::{
    Failure, Reason,
    clock::{self, Instant},
    latency::Recorder,
};

/// The books of all streams and readers of a phase. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Deliveries(Arc<Mutex<Books>>);

#[derive(Debug)]
struct Books {
    /// Entries by stream and number.
    streams: Vec<Vec<Entry>>,
    readers: Vec<Reader>,
    delays: Recorder,
    /// The load is over: what is read from now on is late.
    over: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    sent: Instant,
    /// Acknowledged, or seen by some reader: what was sent and never answered may not be in the stream.
    there: bool,
}

#[derive(Debug)]
struct Reader {
    stream: usize,
    /// Id of the last entry that it got.
    after: String,
    /// One above the greatest number that it has seen.
    next: u64,
    /// Smaller ones that it has not seen.
    gaps: BTreeSet<u64>,
    tally: Tally,
    cuts: Vec<Cut>,
    /// Its last read was cut off, and it has read nothing since.
    away: bool,
}

/// What one reader has seen, or all together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Entries that it got.
    pub(super) read: u64,
    /// Entries that are in the stream and never came.
    pub(super) lost: u64,
    /// Entries that came once more.
    pub(super) duplicated: u64,
    /// Entries that came after one with a greater number.
    pub(super) out_of_order: u64,
    /// Entries that it had not got by the end of the load, and that were there when it looked again.
    pub(super) late: u64,
}

/// A read that lost its connection.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    /// Whose.
    pub(super) reader: usize,
    /// Why.
    pub(super) failure: Failure,
    /// Entries that waited for it after its last id when it came back.
    pub(super) caught_up: u64,
}

/// Where a reader stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Its stream.
    pub(super) stream: u64,
    /// The last id that it got.
    pub(super) after: String,
    /// Whether its last read was cut off.
    pub(super) away: bool,
}

/// What came of all entries.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcome {
    /// Entries that are in the streams.
    pub(super) written: u64,
    /// Per reader.
    pub(super) readers: Vec<Tally>,
    /// Every cut.
    pub(super) cuts: Vec<Cut>,
    /// From an entry's send to each reader's having it.
    pub(super) delays: Recorder,
}

impl Deliveries {
    /// Of so many streams, among which the readers are dealt out in turn.
    pub(super) fn new(streams: usize, readers: usize) -> Self {
        let reader = |index| Reader {
            stream: index % streams,
            after: "0-0".to_owned(),
            next: 0,
            gaps: BTreeSet::new(),
            tally: Tally::default(),
            cuts: Vec::new(),
            away: false,
        };
        let readers = (0..readers).map(reader).collect();
        let books =
            Books { streams: vec![Vec::new(); streams], readers, delays: Recorder::default(), over: false };
        Self(Arc::new(Mutex::new(books)))
    }

    /// The number of the entry that is sent to `stream` now.
    pub(super) fn send(&self, stream: usize) -> u64 {
        let mut books = self.books();
        let entries = &mut books.streams[stream];
        entries.push(Entry { sent: clock::now(), there: false });
        entries.len() as u64 - 1
    }

    /// The server has it.
    pub(super) fn acknowledge(&self, stream: usize, number: u64) {
        if let Some(entry) = self.books().streams[stream].get_mut(number as usize) {
            entry.there = true;
        }
    }

    /// Where `reader` stands.
    pub(super) fn place(&self, reader: usize) -> Place {
        let books = self.books();
        let Reader { stream, after, away, .. } = &books.readers[reader];
        Place { stream: *stream as u64, after: after.clone(), away: *away }
    }

    /// Takes in one entry that `reader` got in answer to what it asked at `asked`.
    ///
    /// # Errors
    /// Where nobody has sent such an entry.
    pub(super) fn deliver(
        &self,
        reader: usize,
        asked: Instant,
        id: String,
        number: u64,
    ) -> Result<(), Failure> {
        let now = clock::now();
        let mut books = self.books();
        let Books { streams, readers, delays, over } = &mut *books;
        let reader = &mut readers[reader];
        let Some(entry) = streams[reader.stream].get_mut(number as usize) else {
            return Err(Failure::new(
                Reason::Protocol,
                format!("entry {id} has number {number}, which nobody sent"),
            ));
        };
        entry.there = true;
        reader.after = id;
        reader.tally.read += 1;
        if number >= reader.next {
            reader.gaps.extend(reader.next..number);
            reader.next = number + 1;
        } else if reader.gaps.remove(&number) {
            reader.tally.out_of_order += 1;
        } else {
            reader.tally.duplicated += 1;
            return Ok(());
        }
        delays.record(now.saturating_duration_since(entry.sent));
        reader.tally.late += u64::from(*over);
        if let Some(cut) = reader.cuts.last_mut()
            && reader.away
            && entry.sent < asked
        {
            cut.caught_up += 1;
        }
        Ok(())
    }

    /// `reader` lost its connection while it read.
    pub(super) fn cut(&self, reader: usize, failure: Failure) {
        let mut books = self.books();
        let at = &mut books.readers[reader];
        at.cuts.push(Cut { reader, failure, caught_up: 0 });
        at.away = true;
    }

    /// A read of `reader` was answered.
    pub(super) fn answered(&self, reader: usize) {
        self.books().readers[reader].away = false;
    }

    /// Ends the load, and says which readers have not seen all.
    pub(super) fn unread(&self) -> Vec<usize> {
        let mut books = self.books();
        books.over = true;
        let Books { streams, readers, .. } = &*books;
        let unread = |at: &usize| readers[*at].missing(&streams[readers[*at].stream]) > 0;
        (0..readers.len()).filter(unread).collect()
    }

    /// What came of everything.
    pub(super) fn outcome(&self) -> Outcome {
        let books = self.books();
        let there = |entries: &Vec<Entry>| entries.iter().filter(|entry| entry.there).count() as u64;
        let tally =
            |reader: &Reader| Tally { lost: reader.missing(&books.streams[reader.stream]), ..reader.tally };
        Outcome {
            written: books.streams.iter().map(there).sum(),
            readers: books.readers.iter().map(tally).collect(),
            cuts: books.readers.iter().flat_map(|reader| reader.cuts.iter().cloned()).collect(),
            delays: books.delays.clone(),
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// Entries of its stream that it has not seen.
    fn missing(&self, entries: &[Entry]) -> u64 {
        let is_there = |number: u64| entries.get(number as usize).is_some_and(|entry| entry.there);
        let missing = self.gaps.iter().copied().chain(self.next..entries.len() as u64);
        missing.filter(|number| is_there(*number)).count() as u64
    }
}

impl Outcome {
    /// All readers together.
    pub(super) fn total(&self) -> Tally {
        self.readers.iter().fold(Tally::default(), |sum, reader| Tally {
            read: sum.read + reader.read,
            lost: sum.lost + reader.lost,
            duplicated: sum.duplicated + reader.duplicated,
            out_of_order: sum.out_of_order + reader.out_of_order,
            late: sum.late + reader.late,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One stream with `entries` acknowledged ones, and a reader that gets these numbers.
    fn read(entries: u64, numbers: &[u64]) -> (Deliveries, Tally) {
        let deliveries = Deliveries::new(1, 1);
        for _ in 0..entries {
            let number = deliveries.send(0);
            deliveries.acknowledge(0, number);
        }
        for number in numbers {
            deliveries.deliver(0, clock::now(), format!("{number}-1"), *number).unwrap();
        }
        let tally = deliveries.outcome().readers[0];
        (deliveries, tally)
    }

    #[test]
    fn what_comes_in_order_is_read_and_nothing_else() {
        let (deliveries, tally) = read(3, &[0, 1, 2]);
        assert_eq!(tally, Tally { read: 3, ..Tally::default() });
        assert_eq!(deliveries.unread(), [0; 0]);
        assert_eq!(deliveries.place(0), Place { stream: 0, after: "2-1".to_owned(), away: false });
        assert_eq!(deliveries.outcome().delays.count(), 3);
    }

    #[test]
    fn gaps_repeats_and_swaps_are_told_apart() {
        assert_eq!(read(4, &[0, 2]).1, Tally { read: 2, lost: 2, ..Tally::default() });
        assert_eq!(read(3, &[0, 2, 1]).1, Tally { read: 3, out_of_order: 1, ..Tally::default() });
        assert_eq!(read(2, &[0, 1, 0]).1, Tally { read: 3, duplicated: 1, ..Tally::default() });
        assert_eq!(
            read(3, &[2, 1, 1]).1,
            Tally { read: 3, lost: 1, out_of_order: 1, duplicated: 1, late: 0 }
        );
    }

    #[test]
    fn an_entry_that_was_never_acknowledged_is_lost_only_if_another_saw_it() {
        let deliveries = Deliveries::new(1, 2);
        deliveries.send(0);
        assert_eq!(deliveries.outcome().total().lost, 0, "nobody knows whether it is there");
        deliveries.deliver(1, clock::now(), "0-1".to_owned(), 0).unwrap();
        let outcome = deliveries.outcome();
        assert_eq!((outcome.written, outcome.readers[0].lost, outcome.readers[1].lost), (1, 1, 0));
    }

    #[test]
    fn an_entry_of_nobody_is_no_delivery() {
        let (deliveries, _) = read(1, &[]);
        let failure = deliveries.deliver(0, clock::now(), "9-1".to_owned(), u64::MAX).unwrap_err();
        assert_eq!(failure.reason, Reason::Protocol);
        assert_eq!(deliveries.outcome().total(), Tally { lost: 1, ..Tally::default() });
    }

    #[test]
    fn what_waited_for_a_reader_that_was_cut_off_is_counted_until_it_is_back() {
        let (deliveries, _) = read(3, &[0]);
        deliveries.cut(0, Failure::new(Reason::Reset, "closed"));
        assert!(deliveries.place(0).away);
        let asked = clock::now();
        deliveries.deliver(0, asked, "1-1".to_owned(), 1).unwrap();
        deliveries.deliver(0, asked, "2-1".to_owned(), 2).unwrap();
        deliveries.answered(0);
        deliveries.send(0);
        deliveries.deliver(0, clock::now(), "3-1".to_owned(), 3).unwrap();
        let outcome = deliveries.outcome();
        assert_eq!(outcome.cuts.len(), 1);
        assert_eq!((outcome.cuts[0].reader, outcome.cuts[0].caught_up), (0, 2));
        assert_eq!(outcome.total(), Tally { read: 4, ..Tally::default() });
    }

    #[test]
    fn late_is_what_comes_once_the_load_is_over() {
        let (deliveries, _) = read(2, &[0]);
        assert_eq!(deliveries.unread(), [0]);
        deliveries.deliver(0, clock::now(), "1-1".to_owned(), 1).unwrap();
        assert_eq!(deliveries.outcome().total(), Tally { read: 2, late: 1, ..Tally::default() });
    }
}
