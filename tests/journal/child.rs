//! A process that runs the probe and dies: this test binary, started again with one test.

use std::{
    env,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
};

use super::*;

/// What the child is told.
const URL: &str = "JOURNAL_TEST_URL";
const STATE: &str = "JOURNAL_TEST_STATE";
const THEN: &str = "JOURNAL_TEST_THEN";

/// What the probe does once it has changed the settings.
pub(super) enum Then {
    Ends,
    Waits,
}

/// A run in a process of its own.
pub(super) struct Run(Child);

impl Run {
    pub(super) fn start(state: &Path, url: &str, then: Then, crash_at: Option<u32>) -> Self {
        let mut command = Command::new(env::current_exe().expect("a test has a path"));
        command
            .args(["--ignored", "--exact", "journal::child::changes_settings_as_its_environment_says"])
            .env(STATE, state)
            .env(URL, url)
            .env(THEN, if matches!(then, Then::Waits) { "waits" } else { "ends" })
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(number) = crash_at {
            command.env("REDPROBE_CRASH_AT", number.to_string());
        }
        Self(command.spawn().expect("a test can be started"))
    }

    /// Starts one, and returns once the settings are changed.
    pub(super) fn changed(state: &Path, redis: &RedisServer) -> Self {
        let run = Self::start(state, &redis.url(), Then::Waits, None);
        assert!(poll_until(PATIENCE, || settings(redis) == CHANGED), "nothing is changed");
        // The last step of the change is a look at the values: the probe goes on to write its keys then.
        assert!(poll_until(PATIENCE, || redis.keys().iter().any(|key| key.ends_with(":000000099"))));
        run
    }

    pub(super) fn kill(mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("an own child can be waited for");
    }

    /// Waits for its end; says whether it was killed rather than done.
    pub(super) fn was_killed(mut self) -> bool {
        let status: ExitStatus = self.0.wait().expect("an own child can be waited for");
        assert!(status.success() || status.signal() == Some(9), "the run failed: {status}");
        !status.success()
    }
}

/// Leaves a changed server and a note, as a killed process does.
pub(super) fn killed_in_the_middle(state: &Path, redis: &RedisServer) {
    Run::changed(state, redis).kill();
    assert_eq!(settings(redis), CHANGED);
    assert_eq!(notes(state).len(), 1);
}

#[tokio::test]
#[ignore = "the other tests here start it, in a process of its own"]
async fn changes_settings_as_its_environment_says() {
    // By hand, with nobody who has told it anything, there is nothing to do.
    let (Ok(url), Ok(state)) = (env::var(URL), env::var(STATE)) else { return };
    let waits = env::var(THEN).is_ok_and(|then| then == "waits");
    let runner = crate::runner::runner_in(Path::new(&state));
    let job = job(&DISRUPTING, &disruptable(&url, "cache"), PATIENCE, move |cx| {
        Box::pin(async move {
            change(cx).await?;
            if waits {
                std::future::pending::<()>().await;
            }
            Ok(Report::default())
        })
    });
    let record = runner.tick(&job, Trigger::Manual).await;
    assert_eq!(record.outcome, Outcome::Passed, "{}", record.conclusion);
    assert_eq!(record.restored.restored.len(), 2);
}
