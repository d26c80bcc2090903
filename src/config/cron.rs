//! Cron expressions as data: when they come round. What then happens is the scheduler's.

use std::time::SystemTime;

use chrono::{DateTime, SubsecRound, Utc};
use croner::{
    Cron,
    parser::{CronParser, Seconds},
};

/// Occurrences counted at the most: a clock that jumps by years must not keep a processor busy.
const COUNTED: u64 = 100_000;

/// A cron expression that was read and comes round, in UTC.
#[derive(Debug, Clone)]
pub struct CronTimes {
    expression: String,
    cron: Box<Cron>,
}

impl PartialEq for CronTimes {
    fn eq(&self, other: &Self) -> bool {
        self.expression == other.expression
    }
}

impl Eq for CronTimes {}

impl CronTimes {
    /// Reads an expression of six fields, the first of which is seconds, or of five, which then come at second 0.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut expression = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if expression.split(' ').count() == 5 {
            expression.insert_str(0, "0 ");
        }
        let cron = CronParser::builder()
            // As tokio-cron-scheduler has them, or the two would disagree.
            .seconds(Seconds::Required)
            .dom_and_dow(true)
            .build()
            .parse(&expression)
            .map_err(|error| format!("{text:?} is no cron expression: {}", plain(&error.to_string())))?;
        let times = Self { expression, cron: Box::new(cron) };
        match times.after(measure::clock::wall()) {
            Some(_) => Ok(times),
            None => Err(format!("{text:?} never comes round")),
        }
    }

    /// The expression with its six fields, one blank between them.
    #[must_use]
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The first time after this one.
    #[must_use]
    pub fn after(&self, time: SystemTime) -> Option<SystemTime> {
        self.cron.find_next_occurrence(&whole_second(time), false).ok().map(SystemTime::from)
    }

    /// The last time up to and with this one.
    #[must_use]
    pub fn up_to(&self, time: SystemTime) -> Option<SystemTime> {
        self.cron.find_previous_occurrence(&whole_second(time), true).ok().map(SystemTime::from)
    }

    /// How many times lie after `from` and before `to`; 100,000 at the most.
    #[must_use]
    pub fn between(&self, from: SystemTime, to: SystemTime) -> u64 {
        let later = std::iter::successors(self.after(from), |time| self.after(*time));
        (0..COUNTED).zip(later.take_while(|time| *time < to)).count() as u64
    }
}

/// The library's errors begin with their kind and end with a full stop; ours do neither.
fn plain(error: &str) -> String {
    let message = error.rsplit_once(": ").map_or(error, |(_, message)| message).trim_end_matches('.');
    message.to_lowercase()
}

fn whole_second(time: SystemTime) -> DateTime<Utc> {
    DateTime::<Utc>::from(time).trunc_subsecs(0)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(seconds: f64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn five_fields_come_at_second_zero() {
        let times = CronTimes::parse("*/5 * * * *").unwrap();
        assert_eq!(times.after(at(0.0)), Some(at(300.0)));
        assert_eq!(times.after(at(299.9)), Some(at(300.0)));
        assert_eq!(times.after(at(300.0)), Some(at(600.0)));
    }

    #[test]
    fn six_fields_begin_with_seconds() {
        let times = CronTimes::parse("30 * * * * *").unwrap();
        assert_eq!(times.after(at(0.0)), Some(at(30.0)));
        assert_eq!(times.up_to(at(30.0)), Some(at(30.0)));
        assert_eq!(times.up_to(at(89.9)), Some(at(30.0)));
    }

    #[test]
    fn times_between_are_those_that_nobody_saw() {
        let times = CronTimes::parse("* * * * * *").unwrap();
        assert_eq!(times.between(at(10.0), at(11.0)), 0);
        assert_eq!(times.between(at(10.0), at(16.0)), 5);
        assert_eq!(times.between(at(16.0), at(10.0)), 0);
    }

    #[test]
    fn counting_ends() {
        let times = CronTimes::parse("* * * * * *").unwrap();
        assert_eq!(times.between(at(0.0), at(1e9)), COUNTED);
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for wrong in ["", "every 5m", "@every 30s", "61 * * * * *", "* * * *", "0 0 0 30 2 *"] {
            assert!(CronTimes::parse(wrong).is_err(), "{wrong}");
        }
    }
}
