//! Values as people read them: `61 ms`, `50 MB`, `15.3 %`, `1,640 ops/s`.
//!
//! For conclusions and for the text report. Machines get base units from `sink`, never from here.

use measure::report::Unit;

/// Significant digits that a reader needs.
const DIGITS: i32 = 3;
/// Significant digits beyond which two values count as the same.
const MOST_DIGITS: i32 = 9;

/// A value with its unit.
#[must_use]
pub fn value(value: f64, unit: Unit) -> String {
    with_digits(value, unit, DIGITS)
}

/// A time in seconds, or a dash where there is none.
#[must_use]
pub fn seconds_or_dash(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |seconds| self::value(seconds, Unit::Seconds))
}

/// Two values that differ, each with as many digits as it takes to see that they do.
#[must_use]
pub fn pair(first: f64, second: f64, unit: Unit) -> (String, String) {
    let mut digits = DIGITS;
    loop {
        let shown = (with_digits(first, unit, digits), with_digits(second, unit, digits));
        if shown.0 != shown.1 || digits >= MOST_DIGITS {
            return shown;
        }
        digits += 1;
    }
}

/// A whole number with a comma between thousands.
#[must_use]
pub fn count(number: u64) -> String {
    grouped(&number.to_string())
}

/// A number of things: "1 client", "2 clients". The plural is the singular and an s.
#[must_use]
pub fn things(number: u64, singular: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {singular}{plural}", count(number))
}

/// Findings as one sentence.
#[must_use]
pub fn sentence(findings: &[String]) -> String {
    format!("{}.", findings.join("; "))
}

fn with_digits(value: f64, unit: Unit, digits: i32) -> String {
    if !value.is_finite() {
        return "unknown".to_owned();
    }
    match unit {
        Unit::Seconds => scaled(value, digits, &[(1.0, "s"), (1e-3, "ms"), (1e-6, "µs")]),
        // The units of redis.conf, which the configuration uses too.
        Unit::Bytes => scaled(
            value,
            digits,
            &[(1_073_741_824.0, "GB"), (1_048_576.0, "MB"), (1_024.0, "KB"), (1.0, "B")],
        ),
        Unit::Ratio => format!("{} %", number(value * 100.0, digits)),
        Unit::OperationsPerSecond => format!("{} ops/s", number(value, digits)),
        Unit::Count => number(value, digits),
    }
}

/// In the greatest unit that leaves at least 1 in front of the point, after rounding.
fn scaled(value: f64, digits: i32, units: &[(f64, &str)]) -> String {
    let rounded = round(value, digits).abs();
    // Zero is best said in the unit itself: 0 s, 0 B.
    let fits = |factor: f64| if value == 0.0 { factor == 1.0 } else { rounded >= factor * (1.0 - 1e-12) };
    let (factor, name) =
        units.iter().find(|(factor, _)| fits(*factor)).or(units.last()).copied().unwrap_or((1.0, ""));
    format!("{} {name}", number(value / factor, digits))
}

/// To `digits` significant ones; whole digits are never rounded away, trailing zeros after the point are left out.
fn number(value: f64, digits: i32) -> String {
    let rounded = round(value, digits);
    let magnitude = if rounded == 0.0 { 0 } else { rounded.abs().log10().floor() as i32 };
    let decimals = (digits - 1 - magnitude).clamp(0, 12);
    let mut text = format!("{value:.*}", usize::try_from(decimals).unwrap_or(0));
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    if text == "-0" { "0".to_owned() } else { grouped(&text) }
}

/// To `digits` significant ones.
fn round(value: f64, digits: i32) -> f64 {
    format!("{value:.*e}", usize::try_from(digits - 1).unwrap_or(0)).parse().unwrap_or(value)
}

fn grouped(number: &str) -> String {
    let (sign, rest) = number.strip_prefix('-').map_or(("", number), |rest| ("-", rest));
    let (whole, fraction) = rest.split_once('.').map_or((rest, None), |(w, f)| (w, Some(f)));
    let mut text = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if let Some(fraction) = fraction {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_read_as_people_write_them() {
        for (input, unit, expected) in [
            (0.061, Unit::Seconds, "61 ms"),
            (0.000_4, Unit::Seconds, "400 µs"),
            (0.001_32, Unit::Seconds, "1.32 ms"),
            (0.000_000_25, Unit::Seconds, "0.25 µs"),
            (12.345, Unit::Seconds, "12.3 s"),
            (526.0, Unit::Seconds, "526 s"),
            (0.999_96, Unit::Seconds, "1 s"),
            (0.999_6e-3, Unit::Seconds, "1 ms"),
            (0.0, Unit::Seconds, "0 s"),
            (52_428_800.0, Unit::Bytes, "50 MB"),
            (1_536.0, Unit::Bytes, "1.5 KB"),
            (12.0, Unit::Bytes, "12 B"),
            (0.0, Unit::Bytes, "0 B"),
            (-4_096.0, Unit::Bytes, "-4 KB"),
            (2_147_483_648.0, Unit::Bytes, "2 GB"),
            (0.153, Unit::Ratio, "15.3 %"),
            (0.0, Unit::Ratio, "0 %"),
            (-0.042, Unit::Ratio, "-4.2 %"),
            (1.0, Unit::Ratio, "100 %"),
            (1_640.0, Unit::OperationsPerSecond, "1,640 ops/s"),
            (1_943_509.4, Unit::OperationsPerSecond, "1,943,509 ops/s"),
            (99.95, Unit::OperationsPerSecond, "100 ops/s"),
            (30.0, Unit::Count, "30"),
            (-0.0, Unit::Count, "0"),
            (f64::NAN, Unit::Count, "unknown"),
            (f64::INFINITY, Unit::Seconds, "unknown"),
        ] {
            assert_eq!(value(input, unit), expected, "{input} {unit:?}");
        }
    }

    #[test]
    fn values_that_differ_look_different() {
        assert_eq!(
            pair(0.050_004, 0.05, Unit::Seconds),
            ("50.004 ms".to_owned(), "50 ms".to_owned()),
            "rounded to three digits both would read 50 ms"
        );
        assert_eq!(pair(1.0, 1.0, Unit::Count), ("1".to_owned(), "1".to_owned()));
    }

    #[test]
    fn counts_have_separators() {
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(2_700_000), "2,700,000");
        assert_eq!(things(1, "key"), "1 key");
        assert_eq!(things(1_200, "key"), "1,200 keys");
    }

    proptest! {
        #[test]
        fn every_value_has_a_text(bits in any::<u64>()) {
            for unit in [Unit::Seconds, Unit::Bytes, Unit::Ratio, Unit::OperationsPerSecond, Unit::Count] {
                prop_assert!(!value(f64::from_bits(bits), unit).is_empty());
            }
        }
    }
}
