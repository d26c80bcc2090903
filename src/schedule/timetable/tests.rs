//! Due times that neither drift nor burst, over any pattern of wake-ups.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::schedule::testing;

fn now() -> Now {
    // Far from the clock's own zero, so that earlier instants exist.
    Now { mono: Instant::now() + Duration::from_secs(100_000), wall: measure::clock::wall() }
}

fn later(now: Now, by: Duration) -> Now {
    Now { mono: now.mono + by, wall: now.wall + by }
}

fn every(target: &str, seconds: u64) -> Arc<Job> {
    testing::job(target, Effect::Observe, Schedule::Every(Duration::from_secs(seconds)))
}

fn starts(table: &mut Timetable, now: Now) -> Vec<Due> {
    std::iter::from_fn(|| table.pop(now)).collect()
}

proptest! {
    #[test]
    fn a_step_stays_on_the_grid_and_goes_on_after_now(
        every in 1_u64..3_600_000, late in 0_u64..36_000_000,
    ) {
        let (due, every) = (Instant::now(), Duration::from_millis(every));
        let now = due + Duration::from_millis(late);
        let step = step(due, every, now);
        prop_assert!(step.next > now);
        prop_assert!(step.next <= now + every);
        prop_assert_eq!((step.next - due).as_nanos() % every.as_nanos(), 0, "off the grid");
        // Every grid point up to now is run or missed, none twice.
        let passed = (step.next - due).as_nanos() / every.as_nanos();
        prop_assert_eq!(u128::from(step.missed) + u128::from(step.run), passed);
    }

    #[test]
    fn however_it_is_woken_no_tick_is_lost_and_none_comes_twice(
        wakes in prop::collection::vec(1_u64..40_000, 1..60),
    ) {
        let start = now();
        let mut table = Timetable::default();
        table.set(&[every("a", 15)], start);
        let first = table.next_due().unwrap();
        let (mut at, mut runs, mut missed) = (start, 0_u64, 0_u64);
        let mut seen = HashSet::new();
        for wake in wakes {
            at = later(at, Duration::from_millis(wake));
            let due = starts(&mut table, at);
            prop_assert!(due.len() <= 1, "a burst of {}", due.len());
            for tick in due {
                missed += tick.missed;
                if let Some(start) = tick.start {
                    prop_assert!(seen.insert(start));
                    prop_assert!(at.mono - start < Duration::from_secs(15));
                    runs += 1;
                }
            }
        }
        let expected = at.mono.checked_duration_since(first).map_or(0, |time| time.as_nanos() / 15_000_000_000 + 1);
        prop_assert_eq!(u128::from(runs + missed), expected);
    }

    #[test]
    fn a_place_is_inside_its_spread(key in ".{0,20}", spread in 1_u64..10_000_000_000) {
        prop_assert!(place(&key, Duration::from_nanos(spread)) < Duration::from_nanos(spread));
    }
}

#[test]
fn a_thousand_jobs_are_spread_evenly_from_the_first_tick_on() {
    let jobs: Vec<_> = (0..1_000).map(|i| every(&format!("target_{i}"), 15)).collect();
    let start = now();
    let mut table = Timetable::default();
    table.set(&jobs, start);
    for round in 0..3 {
        let mut per_second = [0_usize; 10];
        for slot in 0..100 {
            let at = later(start, Duration::from_millis(round * 15_000 + slot * 100 + 100));
            let due = starts(&mut table, at);
            assert!(due.len() <= 30, "{} start within a tenth of a second", due.len());
            per_second[usize::try_from(slot / 10).unwrap()] += due.len();
        }
        assert_eq!(per_second.iter().sum::<usize>(), 1_000);
        // 100 expected; 3.5 standard deviations of a fair spread.
        assert!(per_second.iter().all(|count| (66..=134).contains(count)), "{per_second:?}");
    }
}

#[test]
fn after_a_suspension_jobs_go_on_at_their_own_times() {
    let jobs: Vec<_> = (0..300).map(|i| every(&format!("target_{i}"), 15)).collect();
    let start = now();
    let mut table = Timetable::default();
    table.set(&jobs, start);
    starts(&mut table, later(start, Duration::from_secs(10)));
    let woken = later(start, Duration::from_secs(100));
    let due = starts(&mut table, woken);
    assert_eq!(due.len(), 300);
    assert!(due.iter().all(|tick| tick.start.is_none() && tick.missed >= 5));
    // Nothing is made up; the next interval is as even as any.
    let soon = starts(&mut table, later(woken, Duration::from_secs(1)));
    assert!(soon.len() < 60, "{} at once", soon.len());
    let rest = starts(&mut table, later(woken, Duration::from_secs(15)));
    assert_eq!(soon.len() + rest.len(), 300);
}

#[test]
fn load_waits_for_its_place_in_the_whole_interval() {
    let hourly = Schedule::Every(Duration::from_secs(3_600));
    let first = |allow| {
        let offsets = (0..50).map(|i| {
            let job = testing::job(&format!("target_{i}"), allow, hourly.clone());
            first_after(&job, Duration::from_secs(3_600))
        });
        offsets.max().unwrap()
    };
    assert!(first(Effect::Touch) <= FIRST_WITHIN);
    assert!(first(Effect::Load) > Duration::from_secs(1_800));
}

#[test]
fn a_reload_keeps_the_times_of_jobs_whose_schedule_stays() {
    let start = now();
    let mut table = Timetable::default();
    table.set(&[every("same", 30), every("changed", 30), every("gone", 30)], start);
    let kept = table.entries[0].due;
    let reload = later(start, Duration::from_millis(5));
    let nexts = table.set(&[every("new", 30), every("changed", 20), every("same", 30)], reload);
    assert_eq!(nexts.len(), 3);
    assert_eq!(table.entries[2].due, kept);
    let due = starts(&mut table, later(reload, Duration::from_secs(11)));
    let names: HashSet<_> = due.iter().map(|tick| tick.job.target.id.as_str()).collect();
    assert_eq!(names, HashSet::from(["same", "changed", "new"]));
}

#[test]
fn manual_jobs_never_come() {
    let mut table = Timetable::default();
    assert!(table.set(&[testing::job("a", Effect::Observe, Schedule::Manual)], now()).is_empty());
    assert_eq!(table.next_due(), None);
}

#[test]
fn cron_jobs_start_at_an_exact_offset_and_missed_times_are_counted() {
    let wall = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_020);
    let start = Now { wall, ..now() };
    let expression = "*/10 * * * * *".to_owned();
    let job = testing::job("a", Effect::Observe, Schedule::Cron(CronTimes::parse(&expression).unwrap()));
    let mut table = Timetable::default();
    table.set(&[Arc::clone(&job)], start);
    assert_eq!(table.expressions(), BTreeSet::from([expression.clone()]));
    assert_eq!(table.next_due(), None);

    let told = later(start, Duration::from_millis(10_430));
    assert!(table.fired(&expression, told).is_empty());
    let due = starts(&mut table, later(start, Duration::from_secs(11)));
    assert_eq!(due[0].start, Some(start.mono + Duration::from_secs(10) + cron_offset(&job)));
    assert_eq!(due[0].next.at, wall + Duration::from_secs(20) + cron_offset(&job));

    // Told again for the same time: nothing happens. Told after 40 s: three times were missed.
    assert!(table.fired(&expression, told).is_empty());
    let missed = table.fired(&expression, later(start, Duration::from_millis(50_200)));
    assert_eq!(missed.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [3]);
    assert_eq!(starts(&mut table, later(start, Duration::from_secs(60))).len(), 1);
}
