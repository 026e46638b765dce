// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel at the end: nothing of what was done hurt it.

use crate::context::Context;
use crate::failure::{equal, passes, Check};
use crate::Kernel;
use hcall_ktap::Suite;

/// Taint bits that an unsigned module from elsewhere sets: `O` and `E`.
const OUT_OF_TREE: u64 = 1 << 12;
const UNSIGNED: u64 = 1 << 13;

/// The taint bit that a run of KUnit sets, `N`.
const TESTED: u64 = 1 << 18;

pub(crate) fn add<'a>(suite: Suite<'a>, context: &'a Context, kernel: Kernel) -> Suite<'a> {
    let own = match kernel {
        Kernel::Stock => OUT_OF_TREE | UNSIGNED,
        Kernel::Debug => OUT_OF_TREE | UNSIGNED | TESTED,
    };
    suite
        .case(
            "the kernel is tainted by nothing but the module's origin",
            move || passes(taint(own)),
        )
        .case("the kernel log holds no warning", || {
            passes(no_alarms(context))
        })
}

fn taint(own: u64) -> Check {
    let text = std::fs::read_to_string("/proc/sys/kernel/tainted")?;
    let taint: u64 = text.trim().parse()?;
    equal("other taint bits", taint & !own, 0)
}

/// Since the start of the suite.
pub(super) fn no_alarms(context: &Context) -> Check {
    equal("alarms", context.log.borrow_mut().alarms()?, Vec::new())
}
