// SPDX-License-Identifier: MIT OR Apache-2.0
//! Unikernels in 32-bit protected mode, over the transports that exist there.

use crate::handlers::Arguments;
use crate::probing;
use crate::running::{calls_over, run, Run};
use crate::unikernels::equal;
use hcall_abi::{Transport, TransportSet};
use hcall_ktap::{CaseResult, Suite, Verdict};
use hcall_lab_contract::MIX_32;
use hcall_vmm::vmm::{End, TransportChoice, VmConfig};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
/// How many calls of each arity `calls32` makes.
const CALLS: u64 = 1000;
/// How often `registers32` sweeps each arity.
const SWEEPS: u64 = 50;

const TRANSPORTS: [Transport; 2] = [Transport::Instruction, Transport::Port];

pub(crate) fn add_cases<'a>(
    mut suite: Suite<'a>,
    guests: &Path,
    wanted: TransportSet,
) -> Suite<'a> {
    for transport in TRANSPORTS {
        let offered = TransportSet::EMPTY.with(transport);
        let guest = guests.join("calls32");
        suite = suite.case(
            format!("{transport}: 32-bit mode, {CALLS} calls of each arity, and overflow"),
            move || when_offered(wanted, offered, || calls(&guest, offered, transport)),
        );
        let guest = guests.join("registers32");
        suite = suite.case(
            format!("{transport}: 32-bit mode, no register but eax and no flag changes"),
            move || when_offered(wanted, offered, || registers(&guest, offered, transport)),
        );
    }
    for transport in TRANSPORTS {
        let offered = TransportSet::EMPTY.with(transport);
        let guest = guests.join("addresses32");
        suite = suite.case(
            format!("{transport}: 32-bit mode, page tables are walked as KVM walks them"),
            move || when_offered(wanted, offered, || addresses(&guest, offered)),
        );
    }
    // The host prefers the carrier; in 32-bit mode there is none.
    let offered = TransportSet::EMPTY
        .with(Transport::Carrier)
        .with(Transport::Port);
    let guest = guests.join("calls32");
    suite = suite.case(
        "carrier beside port: 32-bit mode takes the port",
        move || when_offered(wanted, offered, || calls(&guest, offered, Transport::Port)),
    );
    let guest = guests.join("calls32");
    suite.case("carrier alone: 32-bit mode makes no call", move || {
        let offered = TransportSet::EMPTY.with(Transport::Carrier);
        when_offered(wanted, offered, || no_transport(&guest, offered))
    })
}

fn when_offered(
    wanted: TransportSet,
    offered: TransportSet,
    case: impl FnOnce() -> CaseResult,
) -> CaseResult {
    match offered.iter().find(|one| !wanted.contains(*one)) {
        None => case(),
        Some(missing) => Ok(Verdict::Skip(format!(
            "transport '{missing}' does not work on this machine's KVM"
        ))),
    }
}

fn start(guest: &Path, offered: TransportSet, command_line: String) -> Result<Run, String> {
    let mut config = VmConfig::new(guest);
    config.command_line = command_line;
    config.transport = TransportChoice::Unprobed(offered);
    run(config, Arguments::Any, LIMIT, |_| {})
}

/// All checks of guest and host hold, and every call came over `transport`.
fn check(run: &Run, transport: Transport, each: u64) -> Result<(), String> {
    run.expect_end(&End::Exit(0))?;
    run.record.check_arguments()?;
    for (arity, count) in run.record.mixed_32.iter().enumerate() {
        let count = count.load(Ordering::Relaxed);
        equal(&format!("calls of arity {arity}"), count, each)?;
    }
    let over = calls_over(transport, &run.stats);
    if run.stats.calls < each * MIX_32.len() as u64 {
        return Err(format!("{} calls counted", run.stats.calls));
    }
    equal("calls over other transports", run.stats.calls - over, 0)
}

fn calls(guest: &Path, offered: TransportSet, transport: Transport) -> CaseResult {
    let run = start(guest, offered, format!("{transport} {CALLS}"))?;
    check(&run, transport, CALLS)?;
    let due = format!("32 bits over {transport}\n");
    equal("console", run.console.as_str(), due.as_str())?;
    Ok(Verdict::Pass)
}

fn registers(guest: &Path, offered: TransportSet, transport: Transport) -> CaseResult {
    let run = start(guest, offered, SWEEPS.to_string())?;
    check(&run, transport, SWEEPS)?;
    Ok(Verdict::Pass)
}

fn addresses(guest: &Path, offered: TransportSet) -> CaseResult {
    if probing::is_software()? {
        return Ok(Verdict::Skip(
            "KVM here is a software implementation, which gives #GP where 32-bit mode turns \
             paging on or off"
                .into(),
        ));
    }
    let run = start(guest, offered, String::new())?;
    run.record.check_arguments()?;
    run.expect_end(&End::Exit(0))?;
    equal(
        "console",
        run.console.as_str(),
        "32 bits\n32 bits, large\nPAE\naddresses of 32 bits agree\n",
    )?;
    Ok(Verdict::Pass)
}

/// The guest panics, cannot say so, and halts for ever: nothing was executed.
fn no_transport(guest: &Path, offered: TransportSet) -> CaseResult {
    let mut config = VmConfig::new(guest);
    config.command_line = "carrier 1".into();
    config.transport = TransportChoice::Unprobed(offered);
    let run = run(config, Arguments::Any, Duration::from_secs(2), |_| {})?;
    run.expect_end(&End::Stopped)?;
    equal("calls", run.stats.calls, 0)?;
    Ok(Verdict::Pass)
}
