// SPDX-License-Identifier: MIT OR Apache-2.0
//! One guest that uses every transport of the machine in turn. With the instruction and
//! the carrier both offered, Xen interception takes both, and they must not be confused.

use crate::handlers::Arguments;
use crate::running::{calls_over, run};
use hcall_abi::TransportSet;
use hcall_ktap::{CaseResult, Suite, Verdict};
use hcall_lab_contract::ARITY_CALLS;
use hcall_vmm::vmm::{End, VmConfig};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn add_cases<'a>(suite: Suite<'a>, guests: &Path, working: TransportSet) -> Suite<'a> {
    let guest = guests.join("transports");
    suite.case("every transport that works here, in turn", move || {
        in_turn(&guest, working)
    })
}

fn in_turn(guest: &Path, working: TransportSet) -> CaseResult {
    if working.iter().count() < 2 {
        return Ok(Verdict::Skip(
            "fewer than two transports work on this machine's KVM".into(),
        ));
    }
    let run = run(VmConfig::new(guest), Arguments::InSequence, LIMIT, |_| {})?;
    run.expect_end(&End::Exit(0))?;
    run.record.check_arguments()?;
    for transport in working.iter() {
        let mixed = run.record.mixed_over[transport.raw() as usize].load(Ordering::Relaxed);
        // EXIT comes over the transport that the host prefers.
        let exit = u64::from(working.preferred() == Some(transport));
        let counted = calls_over(transport, &run.stats);
        if mixed != ARITY_CALLS || counted != ARITY_CALLS + exit {
            return Err(format!(
                "{transport}: {mixed} calls in handlers and {counted} counted, of {ARITY_CALLS}"
            ));
        }
    }
    Ok(Verdict::Pass)
}
