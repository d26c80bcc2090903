//! A run as text for people: the conclusion first, then what it rests on.
//!
//! The JSON of the same record is `sink::json`'s; how single values read is `verdict::human`'s.

use std::{fmt::Write, sync::Arc};

use measure::{
    journal::Setting,
    report::{Direction, LoopKind, Operation, Unit},
};

use super::checks::{self, Form};
use crate::{
    sink::Record,
    verdict::{self, Objective, human},
};

/// All runs, one after the other.
pub(super) fn suite(records: &[Arc<Record>]) -> String {
    records.iter().map(|record| run(record)).collect::<Vec<_>>().join("\n")
}

fn run(record: &Record) -> String {
    let mut text = String::new();
    let parts = [
        heading(record),
        operations(&record.report.operations),
        objectives(&record.objectives),
        measurements(record),
        attribution(record),
        pools(record),
        remedies(record),
        checks::checks(&record.report.checks, Form::Text(columns())),
        notes(record),
    ];
    for part in parts.iter().filter(|part| !part.is_empty()) {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(part);
    }
    text
}

/// Name, grade, outcome and conclusion.
pub(in crate::cli) fn heading(record: &Record) -> String {
    let grade = record.grade.map_or_else(String::new, |grade| format!("{}, ", grade.as_str()));
    let took = human::value(record.took.as_secs_f64(), Unit::Seconds);
    let outcome = record.outcome.as_str();
    let reason = record.reason.map_or_else(String::new, |reason| format!(" ({reason})"));
    format!("{}: {grade}{outcome}{reason} after {took}\n  {}\n", record.job, record.conclusion)
}

fn operations(operations: &[Operation]) -> String {
    if operations.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        "phase",
        "operation",
        "loop",
        "offered",
        "ok",
        "errors",
        "missed",
        "ops/s",
        "p50",
        "p95",
        "p99",
        "max",
    ]);
    for operation in operations {
        let response = &operation.response;
        table.row(vec![
            operation.phase.to_owned(),
            operation.operation.to_owned(),
            match operation.loop_kind {
                LoopKind::Open => "open".to_owned(),
                LoopKind::Closed => "closed".to_owned(),
            },
            human::count(operation.offered),
            human::count(operation.ok),
            human::count(operation.errors.values().sum()),
            human::count(operation.missed),
            human::value(operation.per_second(), Unit::Count),
            human::seconds_or_dash(response.p50),
            human::seconds_or_dash(response.p95),
            human::seconds_or_dash(response.p99),
            human::seconds_or_dash(response.max),
        ]);
    }
    table.text(3)
}

fn objectives(objectives: &[Objective]) -> String {
    let mut table = Table::new(&["", "objective", "observed", "limit", "if missed"]);
    for objective in objectives {
        let (observed, limit) = human::pair(objective.observed, objective.limit, objective.unit);
        let relation = match objective.direction {
            Direction::Min => "at least",
            Direction::Max => "at most",
        };
        table.row(vec![
            if objective.met { "✓" } else { "✗" }.to_owned(),
            objective.name.to_owned(),
            observed,
            format!("{relation} {limit}"),
            format!("{:?}", objective.severity).to_lowercase(),
        ]);
    }
    table.text(2)
}

fn measurements(record: &Record) -> String {
    let mut table = Table::new(&["measurement", "value"]);
    for (name, measurement) in &record.report.measurements {
        table.row(vec![name.to_string(), human::value(measurement.value, measurement.unit)]);
    }
    table.text(1)
}

fn attribution(record: &Record) -> String {
    let mut table =
        Table::new(&["time went to", "pool wait", "recycle", "network", "server", "client", "unattributed"]);
    for part in &record.report.attribution {
        let mut row = vec![part.operation.to_owned()];
        let shares =
            [part.pool_wait, part.recycle, part.network, part.server, part.client, part.unattributed];
        row.extend(shares.map(|share| human::value(share, Unit::Ratio)));
        table.row(row);
    }
    table.text(1)
}

fn pools(record: &Record) -> String {
    let mut table =
        Table::new(&["pool", "size", "loans", "failed", "wait p50", "p99", "max", "check p50", "opened"]);
    for pool in &record.report.pools {
        table.row(vec![
            pool.name.to_string(),
            human::count(pool.size),
            human::count(pool.wait.count),
            human::count(pool.wait_failures),
            human::seconds_or_dash(pool.wait.p50),
            human::seconds_or_dash(pool.wait.p99),
            human::seconds_or_dash(pool.wait.max),
            human::seconds_or_dash(pool.recycle.p50),
            human::count(pool.created),
        ]);
    }
    table.text(1)
}

fn remedies(record: &Record) -> String {
    let mut text = String::new();
    for remedy in &record.report.remedies {
        line(&mut text, remedy.client, &remedy.note);
        remedy.settings.iter().for_each(|setting| text.push_str(&format!("    {setting}\n")));
    }
    text
}

/// What there is to say beside the figures.
pub(in crate::cli) fn notes(record: &Record) -> String {
    let report = &record.report;
    let mut text = String::new();
    if !report.doubts.is_empty() {
        let doubts: Vec<_> = report.doubts.iter().map(|doubt| doubt.as_str()).collect();
        line(&mut text, "doubts", &doubts.join(", "));
    }
    for phase in &report.skipped_phases {
        line(&mut text, "skipped", &format!("{} ({}): {}", phase.phase, phase.reason, phase.message));
    }
    for error in &report.errors {
        let times =
            if error.count > 1 { format!(", {} times", human::count(error.count)) } else { String::new() };
        line(&mut text, "error", &format!("{} ({}{times}): {}", error.phase, error.reason, error.message));
    }
    if record.clean_up.keys_removed > 0 {
        line(&mut text, "cleaned up", &human::things(record.clean_up.keys_removed, "key"));
    }
    if record.clean_up.left_over > 0 {
        let left = human::things(record.clean_up.left_over, "key");
        line(&mut text, "left over", &format!("{left} at the most, until the time to live is over"));
    }
    settings(&mut text, record);
    if let Some(server) = &record.server {
        let flavour = format!("{:?}", server.flavour).to_lowercase();
        line(&mut text, "server", &format!("{flavour} {}, {}", server.version, server.role));
    }
    for (whose, expires) in [("certificate", record.tls.server), ("client certificate", record.tls.client)] {
        if let Some(expires) = expires {
            line(&mut text, whose, &format!("expires {}", humantime::format_rfc3339_seconds(expires)));
        }
    }
    text
}

/// What became of the settings that the run changed.
fn settings(text: &mut String, record: &Record) {
    for fate in &record.restored.restored {
        line(text, "put back", &format!("{} is {:?}, as before", fate.setting.parameter, fate.now));
    }
    for fate in &record.restored.conflicts {
        line(text, "left alone", &fate.to_string());
    }
    for setting in &record.unrestored {
        let Setting { parameter, original, ours } = setting;
        let told = format!(
            "{parameter} may still be {ours:?} and was {original:?}; `redprobe restore`, or the next start, tries again"
        );
        line(text, "NOT PUT BACK", &told);
    }
}

/// Columns of the terminal; where the text goes elsewhere, as many as read well.
pub(in crate::cli) fn columns() -> usize {
    const READS_WELL: usize = 100;
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    size.map_or(READS_WELL, |size| usize::from(size.ws_col)).clamp(40, 160)
}

/// The last line of several runs: the worst of them decides.
pub(super) fn verdict(records: &[Arc<Record>], code: i32) -> String {
    if records.len() < 2 {
        return String::new();
    }
    let grade = verdict::suite_grade(records.iter().map(|record| record.grade));
    let grade = grade.map_or("not measured", |grade| grade.as_str());
    format!("\nAll together: {grade}, exit code {code}\n")
}

fn line(text: &mut String, name: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  {name}: {value}");
}

/// Columns as wide as their widest cell: the first `left` of them to the left, the others to the right.
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Nothing where there is only a header.
    fn text(&self, left: usize) -> String {
        if self.rows.len() < 2 {
            return String::new();
        }
        let mut widths = vec![0; self.rows[0].len()];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::from(" ");
            for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
                line.push(' ');
                let padding = " ".repeat(width - cell.chars().count());
                let (before, after) = if index < left { ("", &*padding) } else { (&*padding, "") };
                line.push_str(before);
                line.push_str(cell);
                line.push_str(after);
                line.push(' ');
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_also_beyond_ascii() {
        let mut table = Table::new(&["name", "time"]);
        table.row(vec!["a".into(), "400 µs".into()]);
        table.row(vec!["longer".into(), "–".into()]);
        assert_eq!(table.text(1), "  name      time\n  a       400 µs\n  longer       –\n");
        assert_eq!(Table::new(&["name"]).text(1), "");
    }
}
