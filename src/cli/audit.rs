//! `redprobe audit`: the configuration audit as a page for people, what fails first.
//!
//! The same run as `redprobe run config_audit`, with a text of its own. What is checked is the probe's matter.

use std::{path::Path, sync::Arc};

use super::{
    AuditArgs, AuditFormat, Exit, Format, RunArgs,
    run::{
        self,
        checks::{self, Form},
        text,
    },
};
use crate::sink::Record;

/// Audits the target and prints what was found.
///
/// # Errors
/// As [`run::run`].
pub(super) async fn run(args: AuditArgs) -> anyhow::Result<Exit> {
    let is_markdown = |path: &Path| path.extension().is_some_and(|extension| extension == "md");
    let markdown = args.format == AuditFormat::Markdown || args.output.as_deref().is_some_and(is_markdown);
    let mut set = args.set;
    set.extend(args.profile.map(|profile| format!("profile={profile:?}")));
    let run = RunArgs {
        probes: vec!["config_audit".into()],
        config: args.config,
        target: args.target,
        allow: None,
        quick: false,
        set,
        timeout: args.timeout,
        output: args.output,
        format: if args.format == AuditFormat::Json { Format::Json } else { Format::Text },
        log: args.log,
        access: args.access,
    };
    run::run_and_print(&run, |records, _| {
        let form = if markdown { Form::Markdown } else { Form::Text(text::columns()) };
        records.iter().map(|record| page(record, form)).collect::<Vec<_>>().join("\n")
    })
    .await
}

fn page(record: &Arc<Record>, form: Form) -> String {
    let checks = checks::checks(&record.report.checks, form);
    match form {
        Form::Text(_) => {
            let parts = [text::heading(record), checks, text::notes(record)];
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
        }
        Form::Markdown => format!("# {}\n\n{}\n\n{checks}", record.job, record.conclusion),
    }
}
