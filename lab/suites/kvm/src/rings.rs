// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls from CPL 3: who refuses them, and who is let in.

use crate::handlers::{lock, Arguments};
use crate::probing;
use crate::running::{run, Run};
use hcall_abi::{Errno, Transport, TransportSet};
use hcall_ktap::{CaseResult, Suite, Verdict};
use hcall_lab_contract::{level_mix, ArgumentSequence, LEVEL, OPEN_LEVEL, UNREGISTERED};
use hcall_vmm::vmm::{End, TransportChoice, VmConfig};
use hcall_vmm::Callers;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

const CPL: u8 = 3;
/// The guest's code segment of CPL 3.
const USER_CODE: u64 = 0x23;

/// What the guest's three calls are answered with: by a handler for whom the VM lets, by
/// one for every CPL, and by none.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// The host refuses what is not for every CPL.
    OnlyOpen,
    /// Every handler answers.
    All,
    /// KVM refuses; the host sees nothing.
    RefusedByKvm,
}

/// A guest that calls at CPL 3.
#[derive(Clone, Copy, Debug)]
struct Calls {
    name: &'static str,
    offered: TransportSet,
    over: Transport,
    io_privilege: u8,
    callers: Callers,
    due: Due,
}

const INSTRUCTION: TransportSet = TransportSet::EMPTY.with(Transport::Instruction);
const CARRIER: TransportSet = TransportSet::EMPTY.with(Transport::Carrier);
const PORT: TransportSet = TransportSet::EMPTY.with(Transport::Port);

const CALLS: [Calls; 7] = [
    Calls {
        name: "instruction: CPL 3 is refused, but for the handlers that are for all",
        offered: INSTRUCTION,
        over: Transport::Instruction,
        io_privilege: 0,
        callers: Callers::KernelOnly,
        due: Due::OnlyOpen,
    },
    Calls {
        name: "instruction: CPL 3 is answered in a VM that lets it in",
        offered: INSTRUCTION,
        over: Transport::Instruction,
        io_privilege: 0,
        callers: Callers::AnyPrivilegeLevel,
        due: Due::All,
    },
    Calls {
        name: "carrier: CPL 3 is refused by KVM",
        offered: CARRIER,
        over: Transport::Carrier,
        io_privilege: 0,
        callers: Callers::KernelOnly,
        due: Due::RefusedByKvm,
    },
    Calls {
        name: "carrier: CPL 3 is refused by KVM in a VM that lets it in",
        offered: CARRIER,
        over: Transport::Carrier,
        io_privilege: 0,
        callers: Callers::AnyPrivilegeLevel,
        due: Due::RefusedByKvm,
    },
    Calls {
        name: "carrier beside instruction: CPL 3 is refused by the host",
        offered: INSTRUCTION.with(Transport::Carrier),
        over: Transport::Carrier,
        io_privilege: 0,
        callers: Callers::KernelOnly,
        due: Due::OnlyOpen,
    },
    Calls {
        name: "carrier beside instruction: CPL 3 is answered in a VM that lets it in",
        offered: INSTRUCTION.with(Transport::Carrier),
        over: Transport::Carrier,
        io_privilege: 0,
        callers: Callers::AnyPrivilegeLevel,
        due: Due::All,
    },
    // Whether CPL 3 reaches the port is the guest kernel's decision alone.
    Calls {
        name: "port: CPL 3 with IOPL 3 is answered, and the handler can see it",
        offered: PORT,
        over: Transport::Port,
        io_privilege: 3,
        callers: Callers::KernelOnly,
        due: Due::All,
    },
];

pub(crate) fn add_cases<'a>(
    mut suite: Suite<'a>,
    guests: &Path,
    wanted: TransportSet,
) -> Suite<'a> {
    for calls in CALLS {
        let guest = guests.join("rings");
        suite = suite.case(calls.name, move || {
            when_offered(wanted, calls.offered, || check(&guest, calls))
        });
    }
    let guest = guests.join("rings");
    suite.case("port: CPL 3 with IOPL 0 faults", move || {
        when_offered(wanted, PORT, || port_is_protected(&guest))
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

fn start(guest: &Path, calls: Calls) -> Result<Run, String> {
    let mut config = VmConfig::new(guest);
    config.command_line = format!("{} {}", calls.over, calls.io_privilege);
    config.transport = TransportChoice::Unprobed(calls.offered);
    config.callers = calls.callers;
    run(config, Arguments::Any, LIMIT, |_| {})
}

impl Due {
    /// rax of the three calls.
    fn results(self) -> [i64; 3] {
        let mut sequence = ArgumentSequence::new(0);
        let mut answer = || level_mix(CPL, sequence.next_arguments(4)) as i64;
        let answers = [answer(), answer()];
        let errno = |errno: Errno| -i64::from(errno.get());
        match self {
            Self::OnlyOpen => [errno(Errno::EPERM), answers[1], errno(Errno::EPERM)],
            Self::All => [answers[0], answers[1], errno(Errno::ENOSYS)],
            Self::RefusedByKvm => [errno(Errno::EPERM); 3],
        }
    }

    /// The counters: calls that arrived from CPL 3, refused ones, unknown ones.
    fn counts(self) -> [u64; 3] {
        match self {
            Self::OnlyOpen => [3, 2, 0],
            Self::All => [3, 0, 1],
            Self::RefusedByKvm => [0, 0, 0],
        }
    }
}

/// The calls from CPL 0: the three reports, and EXIT.
const KERNEL_CALLS: u64 = 4;

fn check(guest: &Path, calls: Calls) -> CaseResult {
    if calls.io_privilege > 0 && probing::is_software()? {
        return Ok(Verdict::Skip(
            "KVM here is a software implementation, which keeps IOPL from its guests".into(),
        ));
    }
    let run = start(guest, calls)?;
    run.expect_end(&End::Exit(0))?;
    let numbers = [LEVEL, OPEN_LEVEL, UNREGISTERED].map(|number| u64::from(number.get()));
    let results = calls.due.results();
    let due: Vec<[u64; 3]> = numbers
        .into_iter()
        .zip(results)
        .map(|(number, result)| [number, result as u64, USER_CODE])
        .collect();
    let found = lock(&run.record.printed).clone();
    if found != due {
        return Err(format!(
            "number, rax, cs: expected {due:x?}, found {found:x?}"
        ));
    }
    let stats = run.stats;
    let counts = [stats.calls - KERNEL_CALLS, stats.refused, stats.unknown];
    if counts != calls.due.counts() {
        return Err(format!("calls from CPL 3, refused, unknown: {counts:?}"));
    }
    if calls.offered.iter().count() > 1 && stats.carrier != counts[0] {
        return Err(format!("{} calls over the carrier", stats.carrier));
    }
    Ok(Verdict::Pass)
}

fn port_is_protected(guest: &Path) -> CaseResult {
    let calls = Calls {
        name: "",
        offered: PORT,
        over: Transport::Port,
        io_privilege: 0,
        callers: Callers::AnyPrivilegeLevel,
        due: Due::RefusedByKvm,
    };
    let run = start(guest, calls)?;
    let cs = format!("cs {USER_CODE:#x},");
    match &run.end {
        // The panic's own call is all that the host has seen.
        End::Panic(message)
            if message.contains("#GP") && message.contains(&cs) && run.stats.calls == 1 =>
        {
            Ok(Verdict::Pass)
        }
        other => Err(format!("ended with {other:?}; {:?}", run.stats)),
    }
}
