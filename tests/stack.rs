//! The whole way, with real processes: from a fault in a server to the notice that wakes somebody, and from the demo to
//! data on every panel.
//!
//! Prometheus and Alertmanager come from the distribution; their configuration and the rules are the shipped ones. That
//! each rule fires at its time and not before is tested with promtool, in `alerts/tests/`.

mod api;
mod bed;
mod demo;
mod empties;
mod process;
mod receiver;
mod scenarios;
mod shipped;

use std::{panic::AssertUnwindSafe, thread};

use bed::Stack;
use demo::Demo;

/// The last lines of a log.
fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[test]
fn a_fault_reaches_the_receiver_and_so_does_its_end() {
    let stack = Stack::start();
    let mut failed: Vec<&str> = thread::scope(|scope| {
        let stack = &stack;
        let run = |&(name, scenario): &scenarios::Scenario| (name, scope.spawn(move || scenario(stack)));
        let running: Vec<_> = scenarios::TOGETHER.iter().map(run).collect();
        running.into_iter().filter_map(|(name, one)| one.join().is_err().then_some(name)).collect()
    });
    if std::panic::catch_unwind(AssertUnwindSafe(|| scenarios::killed(&stack))).is_err() {
        failed.push("killed");
    }
    eprintln!("stack: {:.0} s in all", stack.began.elapsed().as_secs_f64());
    // What each one missed stands above, where its thread panicked.
    assert!(failed.is_empty(), "{failed:?} failed\n{}", stack.dump());
}

#[test]
fn every_panel_has_data_once_the_demo_has_run_and_ctrl_c_leaves_nothing() {
    let mut demo = Demo::start();
    let prometheus = demo.await_prometheus();
    let wrong = demo::wrong_panels(prometheus);
    eprintln!("demo: panels after {:.0} s", demo.began.elapsed().as_secs_f64());
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), tail(&demo.log(), 60));
    let alert = "ALERT     critical RedprobePoolStarvation";
    assert!(demo.log().contains(alert), "it does not tell of the starved pool:\n{}", demo.log());
    assert!(demo.interrupt(), "Ctrl-C does not end it, or not well:\n{}", demo.log());
    assert_eq!(demo.left(), Vec::<String>::new());
}
