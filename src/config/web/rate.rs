//! `rate_limit`: how many requests are answered, whoever asks.

use std::time::Duration;

use super::{
    Findings, RateLimit,
    table::{Table, shown},
};

/// A burst above this limits nothing.
const LARGEST_BURST: u32 = 1_000_000_000;

pub(super) fn read(mut table: Table, found: &mut Findings) -> Option<RateLimit> {
    let (interval_key, burst_key) = (table.key("interval"), table.key("burst"));
    let interval = table.text("interval", found).map(|text| duration(&text));
    let interval = interval.and_then(|read| read.map_err(|message| found.refuse(interval_key, message)).ok());
    let burst = table.text("burst", found).map(|text| match text.parse() {
        Ok(burst) if burst <= LARGEST_BURST => Ok(burst),
        _ => Err(format!("{} is no number of requests; write 0 to {LARGEST_BURST}", shown(&text))),
    });
    let burst = burst.and_then(|read| read.map_err(|message| found.refuse(&burst_key, message)).ok());
    table.end(&["interval", "burst"], found);
    let interval = interval.filter(|interval| !interval.is_zero())?;
    let burst = burst.unwrap_or(0);
    if burst == 0 {
        found.note(format!(
            "{burst_key} is 0: every request is answered with 429; write how many may come at once"
        ));
    }
    Some(RateLimit { interval, burst })
}

/// A duration as Go writes it: `1s`, `1m30s`, `1.5h`, `500ms`, `10us`; 0 needs no unit.
fn duration(text: &str) -> Result<Duration, String> {
    go_duration(text).ok_or_else(|| {
        format!(
            "{} is no time between two requests; write a number and its unit such as 100ms or 1s, or 0 for no limit",
            shown(text)
        )
    })
}

fn go_duration(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Some(Duration::ZERO);
    }
    if text.is_empty() {
        return None;
    }
    let (mut total, mut rest) = (Duration::ZERO, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|&digits| digits > 0)?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = after;
    }
    // What rounds to nothing is not meant to switch the limit off.
    Some(total).filter(|total| !total.is_zero() || text.chars().all(|c| !('1'..='9').contains(&c)))
}
