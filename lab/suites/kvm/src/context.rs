// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a handler may ask for, asked for on a real KVM; and what is told of a guest that KVM
//! gives up.

use crate::handlers::Arguments;
use crate::probing;
use crate::running::run;
use crate::unikernels::{add_each, equal, Case, Setting, LIMIT};
use hcall_abi::Transport;
use hcall_ktap::{CaseResult, Suite, Verdict};
use hcall_lab_contract::{DEFERRED_CALLS, DEFERRED_FOR, INJECTED, NO_OTHER_CPUS};
use hcall_vmm::vmm::{End, VcpuCount};
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) fn add_cases<'a>(
    suite: Suite<'a>,
    guests: &Path,
    transport: Transport,
    wanted: bool,
) -> Suite<'a> {
    let cases: [(&str, Case); 7] = [
        ("page tables are walked as KVM walks them", addresses),
        ("interrupts that a handler gives", interrupts),
        ("answers that come later", later),
        ("other vCPUs call while one waits for its answer", meanwhile),
        ("a VM that waits for an answer is stopped", never),
        ("code where no memory is ends the VM with words", nowhere),
        (
            "a state that no processor enters ends the VM with words",
            unenterable,
        ),
    ];
    add_each(suite, guests, transport, wanted, cases)
}

fn addresses(setting: &Setting) -> CaseResult {
    let run = setting.run("addresses", "", LIMIT)?;
    run.record.check_arguments()?;
    run.expect_end(&End::Exit(0))?;
    println!("# {}", run.console.lines().next().unwrap_or_default());
    equal(
        "agreement",
        run.console.ends_with("addresses agree\n"),
        true,
    )?;
    Ok(Verdict::Pass)
}

fn interrupts(setting: &Setting) -> CaseResult {
    let run = setting.run_well("interrupts", "")?;
    let due = format!("{} and {INJECTED} interrupts\n", 1 + INJECTED);
    equal("console", run.console, due)?;
    Ok(Verdict::Pass)
}

fn later(setting: &Setting) -> CaseResult {
    let start = Instant::now();
    let run = setting.run_well("deferred", "later")?;
    equal("console", run.console.as_str(), "answered later\n")?;
    let least = Duration::from_millis(DEFERRED_CALLS * DEFERRED_FOR);
    if start.elapsed() < least {
        return Err(format!("the answers came before {least:?} had passed"));
    }
    equal(
        "failed: the dropped one, and one in a batch",
        run.stats.failed,
        2,
    )?;
    Ok(Verdict::Pass)
}

fn meanwhile(setting: &Setting) -> CaseResult {
    let mut config = setting.config("deferred", "meanwhile");
    config.vcpus = VcpuCount::new(2).map_err(|error| error.to_string())?;
    let run = run(config, Arguments::Any, LIMIT, |_| {})?;
    if run.end == End::Exit(NO_OTHER_CPUS) {
        let reason = format!("this KVM starts no other CPUs: {}", run.console.trim());
        return Ok(Verdict::Skip(reason));
    }
    run.expect_end(&End::Exit(0))?;
    equal("console", run.console.as_str(), "others called meanwhile\n")?;
    Ok(Verdict::Pass)
}

fn never(setting: &Setting) -> CaseResult {
    let limit = Duration::from_secs(1);
    let start = Instant::now();
    let run = setting.run("deferred", "never", limit)?;
    run.expect_end(&End::Stopped)?;
    equal("console", run.console.as_str(), "waiting\n")?;
    // The stop itself: the rest is the limit, the build and the probe of the VM.
    let took = start.elapsed();
    if took > limit + Duration::from_secs(2) {
        return Err(format!("stopping took {took:?}"));
    }
    Ok(Verdict::Pass)
}

/// The VM ended as KVM gave it up, with each of `parts` in what is said of it; another VM of
/// this process runs as ever.
fn expect_given_up(setting: &Setting, how: &str, parts: &[&str]) -> CaseResult {
    let run = setting.run("ends", how, LIMIT)?;
    let End::UnexpectedExit(words) = &run.end else {
        return Err(format!("ended with: {}", run.end));
    };
    println!("# {}", words.replace('\n', "\n# "));
    if let Some(missing) = parts.iter().find(|part| !words.contains(**part)) {
        return Err(format!("{missing:?} is not said"));
    }
    setting.run_well("hello", "")?;
    Ok(Verdict::Pass)
}

fn nowhere(setting: &Setting) -> CaseResult {
    expect_given_up(
        setting,
        "nowhere",
        &[
            "could not emulate",
            "rip 0xd0000000",
            "which cannot be read",
            "CPL 0",
        ],
    )
}

fn unenterable(setting: &Setting) -> CaseResult {
    if probing::is_software()? {
        return Ok(Verdict::Skip(
            "KVM here is a software implementation, which enters any state".into(),
        ));
    }
    expect_given_up(
        setting,
        "unenterable",
        &[
            "refused to enter the guest",
            "64-bit mode at CPL 0",
            "where stands",
            "cr3 0x",
        ],
    )
}
