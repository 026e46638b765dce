// SPDX-License-Identifier: MIT OR Apache-2.0
//! Running a suite and judging what came of it.

use anyhow::Result;
use hcall_ktap::Report;

use crate::boot::{boot, Boot};
use crate::console::{Console, Shown};
use crate::coverage;
use crate::process::{End, Finished};
use crate::score::Score;
use crate::workshop::Workshop;

/// Builds, boots and judges the suite of this name.
pub(crate) fn run(workshop: &mut Workshop, name: &str) -> Result<Score> {
    let suite = workshop.descriptions.suite(name)?.clone();
    Ok(match boot(workshop, name, &suite, Shown::Progress)? {
        Boot::Ran(console, finished) => {
            let expected = workshop.descriptions.machine(&suite.machine)?.exit_status;
            let mut score = judge(name, &console, &finished, expected);
            if let Some(least) = suite.coverage {
                score.add(coverage::judge(workshop, name, &console.lines, least)?);
            }
            score
        }
        Boot::Failed(why) => Score::failed(format!("{name}/boot"), why),
        Boot::Missing(why) => Score::skipped(name, why),
    })
}

/// `expected` is the emulator's exit status after a good run.
fn judge(name: &str, console: &Console, finished: &Finished, expected: i32) -> Score {
    let report = Report::parse(console.lines.iter().map(String::as_str));
    let mut score = Score::of_report(name, &report);
    match console.status {
        Some(0) => {}
        Some(_) if report.failed() => {}
        Some(status) => score.fail(
            format!("{name}/exit status"),
            vec![format!(
                "the suite reported no failure, and ended with status {status}"
            )],
        ),
        None => {
            let mut why = vec![match finished.end {
                End::TimedOut(_) => finished.how(),
                _ => "the machine ended before its init did".to_owned(),
            }];
            why.extend(finished.last_lines());
            score.fail(format!("{name}/end"), why);
        }
    }
    if console.status.is_some() && !finished.exited_with(expected) {
        let how = finished.how();
        score.fail(
            format!("{name}/emulator"),
            vec![format!(
                "{how}, though init had ended the machine; expected was exit status {expected}"
            )],
        );
    }
    if let Some(oops) = &console.oops {
        score.fail(format!("{name}/kernel log"), vec![oops.clone()]);
    }
    score
}
