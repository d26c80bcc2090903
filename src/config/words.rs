//! The words of the configuration that have a grammar of their own: names, schedules, limits, addresses.

use std::{net::SocketAddr, time::Duration};

use measure::report::Unit;

use super::{CronTimes, Schedule, raw::Scalar, settings::Size, settings::Span};

/// Longer intervals are better said as cron; far longer ones overflow the timers.
const LONGEST_INTERVAL: Span = Span::secs(366 * 24 * 3600);

/// A name that becomes a label value, a URL segment and part of an environment variable.
pub(super) fn name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.is_empty() && name.chars().all(fits) {
        return Ok(());
    }
    Err(format!("{name:?} is no name; use a to z, 0 to 9 and _ only"))
}

/// `every 30s`, cron, or `manual`.
pub(super) fn schedule(text: &str) -> Result<Schedule, String> {
    let text = text.trim();
    let fields = text.split_whitespace().count();
    match text.split_once(char::is_whitespace).unwrap_or((text, "")) {
        ("", _) => {
            Err("missing; write \"every 30s\", cron such as \"0 */5 * * * *\" (UTC), or \"manual\"".into())
        }
        ("manual", "") => Ok(Schedule::Manual),
        ("every", interval) => every(interval.trim()),
        ("@every", interval) => Err(format!("{text:?} is unknown; write \"every {}\"", interval.trim())),
        (nickname, "") if nickname.starts_with('@') => CronTimes::parse(text).map(Schedule::Cron),
        _ if fields == 5 || fields == 6 => CronTimes::parse(text).map(Schedule::Cron),
        _ => Err(format!(
            "{text:?} is no schedule; write \"every 30s\", cron of five or six fields such as \"0 */5 * * * *\" (UTC), or \"manual\""
        )),
    }
}

fn every(interval: &str) -> Result<Schedule, String> {
    let span = humantime::parse_duration(interval).map_err(|_| {
        format!("\"every {interval}\" has no interval; write a number and its unit: \"every 30s\"")
    })?;
    if span < Duration::from_secs(1) {
        return Err(format!("\"every {interval}\" is too often; the shortest interval is 1s"));
    }
    if span > LONGEST_INTERVAL.0 {
        return Err(format!("\"every {interval}\" is too seldom; the longest interval is 366 days"));
    }
    Ok(Schedule::Every(span))
}

/// An objective's limit in its unit.
pub(super) fn limit(value: &Scalar, unit: Unit) -> Result<f64, String> {
    let number = match value {
        Scalar::Number(number) => Some(*number),
        Scalar::Text(text) => with_unit(text.trim(), unit),
    };
    number.filter(|number| number.is_finite() && *number >= 0.0).ok_or_else(|| {
        let shown = match value {
            Scalar::Number(number) => number.to_string(),
            Scalar::Text(text) => format!("{text:?}"),
        };
        format!("{shown} is no limit here; write {}", expected(unit))
    })
}

#[expect(clippy::cast_precision_loss, reason = "a limit beyond 2^53 bytes is no exact number to anyone")]
fn with_unit(text: &str, unit: Unit) -> Option<f64> {
    match unit {
        Unit::Seconds => humantime::parse_duration(text).ok().map(|span| span.as_secs_f64()),
        Unit::Bytes => Size::parse(text).map(|size| size.0 as f64),
        Unit::Ratio => text.strip_suffix('%')?.trim_end().parse::<f64>().ok().map(|percent| percent / 100.0),
        Unit::OperationsPerSecond | Unit::Count => None,
    }
}

fn expected(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "a duration such as \"50ms\", or a number of seconds",
        Unit::Bytes => "a size such as \"50MB\", or a number of bytes",
        Unit::Ratio => "a ratio such as 0.05, or \"5%\"",
        Unit::OperationsPerSecond => "a number of operations per second",
        Unit::Count => "a number",
    }
}

/// An address to listen on: IP and port; `localhost:port` is loopback, `:port` every address.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let resolved = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None if text.starts_with(':') => format!("0.0.0.0{text}"),
        None => text.to_owned(),
    };
    resolved.parse().map_err(|_| {
        format!(
            "{text:?} is no address to listen on; write an IP address and a port, such as \"127.0.0.1:19121\""
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_in_the_unit_of_their_objective() {
        for (value, unit, limit) in [
            (Scalar::Text("50ms".into()), Unit::Seconds, 0.05),
            (Scalar::Number(0.2), Unit::Seconds, 0.2),
            (Scalar::Text("2kb".into()), Unit::Bytes, 2048.0),
            (Scalar::Text("5%".into()), Unit::Ratio, 0.05),
            (Scalar::Number(500.0), Unit::OperationsPerSecond, 500.0),
        ] {
            let read = super::limit(&value, unit);
            assert!(read.as_ref().is_ok_and(|read| (read - limit).abs() < 1e-9), "{value:?}: {read:?}");
        }
        for (text, unit) in
            [("50ms", Unit::Count), ("5%", Unit::Seconds), ("many", Unit::Bytes), ("x%", Unit::Ratio)]
        {
            assert!(super::limit(&Scalar::Text(text.into()), unit).is_err(), "{text} as {unit:?}");
        }
    }

    #[test]
    fn schedules() {
        assert_eq!(schedule("every 90 seconds"), Ok(Schedule::Every(Duration::from_secs(90))));
        assert_eq!(schedule(" manual "), Ok(Schedule::Manual));
        for cron in ["0 */5 * * * *", "*/5 * * * *", "@hourly", "0 0 10 * * MON-FRI"] {
            assert_eq!(schedule(cron), CronTimes::parse(cron).map(Schedule::Cron));
        }
        for bad in [
            "",
            "30s",
            "every",
            "every 0s",
            "every 999ms",
            "@every 5s",
            "every 2 fortnights",
            "* * * *",
            "0 0 0 30 2 *",
        ] {
            assert!(schedule(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(address("localhost:1").unwrap().to_string(), "127.0.0.1:1");
        assert_eq!(address(":1").unwrap().to_string(), "0.0.0.0:1");
        assert_eq!(address("[::1]:1").unwrap().to_string(), "[::1]:1");
        assert!(address("cache.staging:1").is_err());
    }
}
