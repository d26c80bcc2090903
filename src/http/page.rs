//! `GET /`: a plain page for people: targets, jobs, the last verdict of each, and what runs now. No script.
//!
//! Everything that is not a literal of this file goes through [`Escaped`].

use std::{
    fmt::{self, Write},
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{extract::State, response::Html};
use measure::clock;

use super::catalogue::schedule;
use crate::{
    config::{Job, Plan},
    daemon::Daemon,
    schedule::{halted::Halted, runner::Running},
    sink::{Record, Sinks, history::Filter},
};

/// Runs listed below the targets.
const RECENT: usize = 20;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #ddd}th{font-weight:600}\
.passed{color:#176f2c}.failed,.error,.halted{color:#b3261e}.skipped{color:#777}.quiet{color:#777}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}th,td{border-color:#444}a{color:#8ab4f8}\
.passed{color:#7bd88f}.failed,.error,.halted{color:#ff8a80}}";

/// The page.
pub(super) async fn page(State(daemon): State<Arc<Daemon>>) -> Html<String> {
    let plan = daemon.plan();
    let sinks = daemon.runner().sinks();
    let halted = daemon.runner().halts().seen();
    Html(render(&plan, sinks, &halted, &daemon.runner().running(), clock::wall()))
}

fn render(plan: &Plan, sinks: &Sinks, halted: &Halted, running: &[Running], now: SystemTime) -> String {
    let mut html = format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>redprobe</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\
         <h1>redprobe {}</h1><p><a href=\"/metrics\">metrics</a> · <a href=\"/api/v1/targets\">targets</a> · \
         <a href=\"/api/v1/probes\">probes</a> · <a href=\"/api/v1/runs\">runs</a> · <a href=\"/config\">configuration</a></p>",
        env!("CARGO_PKG_VERSION")
    );
    // Writing to a String cannot fail.
    let _ = write_running(&mut html, running, now);
    let _ = write_targets(&mut html, plan, sinks, halted, now);
    let _ = write_recent(&mut html, sinks, now);
    html.push_str("</body></html>\n");
    html
}

fn write_running(html: &mut String, running: &[Running], now: SystemTime) -> fmt::Result {
    html.push_str("<h2>Running now</h2>");
    if running.is_empty() {
        html.push_str("<p class=\"quiet\">Nothing.</p>");
        return Ok(());
    }
    html.push_str("<ul>");
    for run in running {
        let progress = run.progress.borrow().clone();
        let since = Ago(run.started_at, now);
        write!(
            html,
            "<li>{} on {}, begun {since}",
            Escaped(run.job.kind().name),
            Escaped(&run.job.target.id)
        )?;
        if !progress.phase.is_empty() {
            let percent = progress.done * 100.0;
            write!(
                html,
                ": {} {percent:.0} %, {:.0} operations/s",
                Escaped(progress.phase),
                progress.per_second
            )?;
        }
        html.push_str("</li>");
    }
    html.push_str("</ul>");
    Ok(())
}

fn write_targets(
    html: &mut String,
    plan: &Plan,
    sinks: &Sinks,
    halted: &Halted,
    now: SystemTime,
) -> fmt::Result {
    if let Some(shard) = plan.shard {
        write!(
            html,
            "<p class=\"quiet\">shard {shard}; {} other targets are of other shards</p>",
            plan.elsewhere.len()
        )?;
    }
    if plan.targets.is_empty() {
        html.push_str("<p>No target is configured for this daemon.</p>");
    }
    for target in plan.targets.values() {
        write!(html, "<h2>{}</h2>", Escaped(&target.id))?;
        write!(html, "<p class=\"quiet\">{}, allows {}</p>", Escaped(&target.environment), target.allow)?;
        for sentence in halted.on(&target.id) {
            write!(html, "<p class=\"halted\"><strong>Halted.</strong> {}</p>", Escaped(&sentence))?;
        }
        html.push_str("<table><tr><th>probe<th>schedule<th>next<th>last<th>outcome<th>finding</tr>");
        for job in plan.jobs.iter().filter(|job| job.target.id == target.id) {
            write_job(html, job, sinks, now)?;
        }
        html.push_str("</table>");
    }
    Ok(())
}

fn write_job(html: &mut String, job: &Job, sinks: &Sinks, now: SystemTime) -> fmt::Result {
    write!(html, "<tr><td>{}", Escaped(job.kind().name))?;
    if !job.variant.is_empty() {
        write!(html, " ({})", Escaped(&job.variant))?;
    }
    write!(html, "<td>{}<td>", Escaped(&schedule(&job.schedule)))?;
    match sinks.metrics.next_run_of(job) {
        Some(at) => write!(html, "{}", Ago(at, now))?,
        None => html.push('–'),
    }
    match sinks.history.last(job.key()) {
        Some(record) => write_verdict(html, &record, now)?,
        None => html.push_str("<td colspan=\"3\" class=\"quiet\">no run yet"),
    }
    html.push_str("</tr>");
    Ok(())
}

fn write_recent(html: &mut String, sinks: &Sinks, now: SystemTime) -> fmt::Result {
    let records = sinks.history.list(&Filter { limit: RECENT, ..Filter::default() });
    html.push_str("<h2>Recent runs</h2><table><tr><th>target<th>probe<th>begun<th>outcome<th>finding</tr>");
    for record in records {
        let (probe, target, _) = record.job.key();
        write!(html, "<tr><td>{}<td>{}", Escaped(target), Escaped(probe))?;
        write_verdict(html, &record, now)?;
        html.push_str("</tr>");
    }
    html.push_str("</table>");
    Ok(())
}

/// Three cells: when, how it ended, what was found.
fn write_verdict(html: &mut String, record: &Record, now: SystemTime) -> fmt::Result {
    let outcome = record.outcome.as_str();
    let id = Escaped(&record.id);
    write!(html, "<td>{}<td class=\"{outcome}\">", Ago(record.started_at, now))?;
    write!(html, "<a href=\"/api/v1/runs/{id}\">{outcome}</a>")?;
    if let Some(grade) = record.grade {
        write!(html, " {}", grade.as_str())?;
    }
    write!(html, "<td>{}", Escaped(&record.conclusion))
}

/// Text that stands for itself in HTML, also within quotes.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                _ => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// A moment as seen from another: "in 12s", "3m 5s ago".
struct Ago(SystemTime, SystemTime);

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(moment, now) = *self;
        match now.duration_since(moment) {
            Ok(ago) => write!(f, "{} ago", short(ago)),
            Err(ahead) => write!(f, "in {}", short(ahead.duration())),
        }
    }
}

fn short(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs_f64(duration.as_secs_f64().round()))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn markup_in_names_and_findings_is_text() {
        let escaped = Escaped("<script>alert('1')</script> & \"x\"").to_string();
        assert_eq!(escaped, "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;x&quot;");
    }

    #[test]
    fn moments_are_told_from_now() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        assert_eq!(Ago(now - Duration::from_millis(185_400), now).to_string(), "3m 5s ago");
        assert_eq!(Ago(now + Duration::from_secs(12), now).to_string(), "in 12s");
        assert_eq!(Ago(now, now).to_string(), "0s ago");
    }
}
