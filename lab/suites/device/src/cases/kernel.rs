// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel at the end: nothing of what was done hurt it.

use crate::context::Context;
use crate::failure::{equal, passes, Check};
use hcall_ktap::Suite;

/// Taint bits that an unsigned module from elsewhere sets: `O` and `E`.
const OUT_OF_TREE: u64 = 1 << 12;
const UNSIGNED: u64 = 1 << 13;

pub(crate) fn add<'a>(suite: Suite<'a>, context: &'a Context) -> Suite<'a> {
    suite
        .case(
            "the kernel is tainted by nothing but the module's origin",
            || passes(taint()),
        )
        .case("the kernel log holds no warning", || {
            passes(no_alarms(context))
        })
}

fn taint() -> Check {
    let text = std::fs::read_to_string("/proc/sys/kernel/tainted")?;
    let taint: u64 = text.trim().parse()?;
    equal("other taint bits", taint & !(OUT_OF_TREE | UNSIGNED), 0)
}

/// Since the start of the suite.
pub(super) fn no_alarms(context: &Context) -> Check {
    equal("alarms", context.log.borrow_mut().alarms()?, Vec::new())
}
