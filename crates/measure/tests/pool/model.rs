//! Starvation against a queueing model: what the pool does under load is what theory says that it does.
//!
//! The model below is a simulation of its own, which shares no code with the pool. Its assumptions:
//! * A pool hands out its P connections first come, first served, readers and traffic alike (deadpool's semaphore is
//!   fair). A connection that comes back goes to who has waited longest, at once.
//! * Who has waited for the pool's timeout leaves the queue without one. A reader asks again at once; an operation of the
//!   traffic has failed. Timers are late by a millisecond or so: the mean is measured, from the waits that failed.
//! * R readers go round: ask, hold a connection for H, give it back, ask again. H is `BLOCK`, and what the server adds to
//!   it, up to a tick of its `hz`, and the check before. Its mean is measured, from the readers' own service time. They begin
//!   spread over a `BLOCK`, as clients that came one by one.
//! * Traffic comes at i / rate exactly, as it is really offered, and holds a connection for as long as its check and
//!   round trip took on average. Nothing else takes time.
//! * What is late is so by chance, exponentially about its mean: with everything always equally late, readers would stay
//!   in step, and the outcome depend on fractions of a millisecond.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

use measure::{
    Reason,
    load::{self, Crew},
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use testkit::RedisServer;

use super::{gets, pool, readers};
use crate::support::control;

/// One experiment: R readers hold a pool of P for b, beside traffic at a rate.
#[derive(Debug, Clone, Copy)]
struct Setting {
    readers: usize,
    size: usize,
    block: f64,
    rate: f64,
    timeout: f64,
}

/// What comes of it: as measured, or as the model has it.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    /// Share of the traffic without a connection in time.
    timeout_rate: f64,
    /// Mean wait of all of it, in seconds.
    wait: f64,
}

/// What the model takes from the measurement, in seconds.
#[derive(Debug, Clone, Copy)]
struct Holds {
    reader: f64,
    traffic: f64,
    timeout: f64,
}

/// Of one measurement, in seconds.
const LASTS: f64 = 5.0;
const SEEDS: u64 = 10;

async fn measured(setting: Setting) -> (Outcome, Holds) {
    // Ticks of 2 ms instead of 100: what readers add to BLOCK is then nearly the same every time.
    let server = RedisServer::with(&["--hz", "500"]);
    let pools = [pool(&server.url(), setting.size, Duration::from_secs_f64(setting.timeout))];
    let block = Duration::from_secs_f64(setting.block);
    let (mut read_plan, read) = readers(&pools, setting.readers, block, LASTS);
    read_plan.ramp = block;
    let (plan, get) = gets(&pools, setting.rate, LASTS);
    let (read_ledger, ledger) = (read.ledger(), get.ledger());
    let crews = vec![Crew::new(plan, get), Crew::new(read_plan, read)];
    let results = load::run_together(crews, &control()).await.unwrap();
    let (parts, reads) = (ledger.parts()[0], read_ledger.parts()[0]);
    let timeouts = results[0].operations[0].errors.get(&Reason::PoolTimeout).copied().unwrap_or_default();
    assert_eq!(results[0].operations[0].ok + timeouts, parts.attempts, "nothing else went wrong");
    let each = |time: Duration, count: u64| time.as_secs_f64() / count.max(1) as f64;
    let account = pools[0].account();
    let failed = account.all_waits.summary().sum - account.waits.summary().sum;
    let holds = Holds {
        reader: each(reads.recycle + reads.round_trip, reads.sent),
        traffic: each(parts.recycle + parts.round_trip, parts.sent),
        timeout: if account.wait_failures > 0 {
            failed / account.wait_failures as f64
        } else {
            setting.timeout
        },
    };
    let outcome = Outcome {
        timeout_rate: timeouts as f64 / parts.attempts as f64,
        wait: each(parts.wait, parts.attempts),
    };
    (outcome, holds)
}

/// Times in whole nanoseconds, so that they have an order.
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A connection comes back; from a reader, who then asks again.
    Back { reader: bool },
    /// A reader, or the traffic, asks for a connection.
    Asks { reader: bool },
    /// Who asked with this number gives up, if it still waits.
    GivesUp { ticket: usize },
}

struct Model {
    setting: Setting,
    holds: Holds,
    free: usize,
    queue: VecDeque<(usize, bool, u64)>,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    tickets: usize,
    attempts: u64,
    failures: u64,
    waited: u64,
    chance: SmallRng,
}

impl Model {
    fn run(setting: Setting, holds: Holds, seed: u64) -> Outcome {
        let mut model = Self {
            setting,
            holds,
            free: setting.size,
            queue: VecDeque::new(),
            events: BinaryHeap::new(),
            tickets: 0,
            attempts: 0,
            failures: 0,
            waited: 0,
            chance: SmallRng::seed_from_u64(seed),
        };
        for reader in 0..setting.readers {
            let begin = setting.block * reader as f64 / setting.readers as f64;
            model.at(nanos(begin), Event::Asks { reader: true });
        }
        for index in 0..(setting.rate * LASTS) as u64 {
            model.at(nanos(index as f64 / setting.rate), Event::Asks { reader: false });
        }
        while let Some(Reverse((now, event))) = model.events.pop() {
            model.happens(now, event);
        }
        Outcome {
            timeout_rate: model.failures as f64 / model.attempts as f64,
            wait: model.waited as f64 / 1e9 / model.attempts as f64,
        }
    }

    fn at(&mut self, time: u64, event: Event) {
        self.events.push(Reverse((time, event)));
    }

    fn happens(&mut self, now: u64, event: Event) {
        match event {
            Event::Asks { reader: true } if now >= nanos(LASTS) => {}
            Event::Asks { reader } => {
                self.tickets += 1;
                self.queue.push_back((self.tickets, reader, now));
                let ticket = self.tickets;
                let patience = self.late(self.setting.timeout, self.holds.timeout);
                self.at(now + nanos(patience), Event::GivesUp { ticket });
                self.lend(now);
            }
            Event::GivesUp { ticket } => {
                let Some(place) = self.queue.iter().position(|waits| waits.0 == ticket) else { return };
                let (_, reader, since) = self.queue.remove(place).unwrap();
                if reader {
                    self.at(now, Event::Asks { reader });
                } else {
                    self.attempts += 1;
                    self.failures += 1;
                    self.waited += now - since;
                }
            }
            Event::Back { reader } => {
                self.free += 1;
                self.lend(now);
                if reader {
                    self.at(now, Event::Asks { reader });
                }
            }
        }
    }

    /// `due`, and what it is late by chance, so that it is `mean` on average.
    fn late(&mut self, due: f64, mean: f64) -> f64 {
        due - (mean - due).max(0.0) * (1.0 - self.chance.random::<f64>()).ln()
    }

    fn lend(&mut self, now: u64) {
        while self.free > 0 && !self.queue.is_empty() {
            let (_, reader, since) = self.queue.pop_front().unwrap();
            self.free -= 1;
            let hold =
                if reader { self.late(self.setting.block, self.holds.reader) } else { self.holds.traffic };
            if !reader {
                self.attempts += 1;
                self.waited += now - since;
            }
            self.at(now + nanos(hold), Event::Back { reader });
        }
    }
}

/// The mean over some seeds: one of them is as much a matter of chance as one measurement.
fn expected(setting: Setting, holds: Holds) -> Outcome {
    let outcomes: Vec<Outcome> = (0..SEEDS).map(|seed| Model::run(setting, holds, seed)).collect();
    let mean = |value: fn(&Outcome) -> f64| outcomes.iter().map(value).sum::<f64>() / outcomes.len() as f64;
    Outcome { timeout_rate: mean(|outcome| outcome.timeout_rate), wait: mean(|outcome| outcome.wait) }
}

/// Within 15 % of the model, or two hundredths of the whole: of all operations, of the pool's timeout.
fn agrees(setting: Setting, real: Outcome, model: Outcome) -> bool {
    let close = |real: f64, model: f64, whole: f64| (real - model).abs() <= (model * 0.15).max(whole * 0.02);
    close(real.timeout_rate, model.timeout_rate, 1.0) && close(real.wait, model.wait, setting.timeout)
}

const DEFAULT: Setting = Setting { readers: 30, size: 15, block: 0.5, rate: 200.0, timeout: 0.2 };

/// A machine that is busy with something else delays what the model does not: one undisturbed look in three is enough.
#[tokio::test(flavor = "multi_thread")]
async fn waits_and_timeouts_are_those_of_the_model() {
    for setting in [
        DEFAULT,
        Setting { readers: 6, size: 3, rate: 100.0, ..DEFAULT },
        Setting { readers: 12, size: 10, block: 0.3, rate: 100.0, ..DEFAULT },
        Setting { readers: 10, ..DEFAULT },
    ] {
        let mut looks = Vec::new();
        for _ in 0..3 {
            let (real, holds) = measured(setting).await;
            let model = expected(setting, holds);
            looks.push((real, model, holds));
            if agrees(setting, real, model) {
                break;
            }
        }
        let (real, model, _) = *looks.last().unwrap();
        assert!(agrees(setting, real, model), "{setting:?}: {looks:#?}");
    }
}

/// The agreement means something: another pool, or another block, is told apart.
#[test]
fn the_model_tells_settings_apart() {
    let holds = Holds { reader: 0.503, traffic: 0.000_5, timeout: 0.201 };
    let default = expected(DEFAULT, holds);
    assert!((0.5..0.8).contains(&default.timeout_rate), "{default:?}");
    for other in
        [Setting { size: 20, ..DEFAULT }, Setting { size: 10, ..DEFAULT }, Setting { readers: 20, ..DEFAULT }]
    {
        assert!(!agrees(DEFAULT, expected(other, holds), default), "{other:?}");
    }
    let slow = expected(DEFAULT, Holds { reader: 0.8, ..holds });
    assert!(!agrees(DEFAULT, slow, default), "{slow:?}");
    let enough = expected(Setting { readers: 10, ..DEFAULT }, holds);
    assert!(enough.timeout_rate == 0.0 && enough.wait < 0.001, "{enough:?}");
}
