// SPDX-License-Identifier: MIT OR Apache-2.0
//! Unloading, loading again, and the module's parameters.

use super::rings::slow_calls;
use crate::context::Context;
use crate::failure::{equal, passes, Check, Failure};
use crate::module::{ensure_absent, try_unload, unload};
use hcall_guest::abi::number::CONSOLE_WRITE;
use hcall_guest::device::{Device, DeviceError};
use hcall_ktap::Suite;
use hcall_lab_contract::{PRINT, UNREGISTERED};
use rustix::io::Errno;

pub(super) fn add<'a>(suite: Suite<'a>, context: &'a Context) -> Suite<'a> {
    suite
        .case("unloading while a file is open fails with EAGAIN", || {
            passes(in_use())
        })
        .case("the module unloads, and the node is gone", || {
            passes(unloads())
        })
        .case("selftest: the kernel is the caller", || {
            passes(selftest(context))
        })
        .case("selftest: the host's errno is named", || {
            passes(selftest_unknown(context))
        })
        .case("selftest: an unusable number fails with EINVAL", || {
            passes(selftest_unusable(context))
        })
        .case("allow_raw_gpa lets a GPA through", || {
            passes(raw_gpa_allowed(context))
        })
        .case(
            "ring_irq=0: waits for a ring end without an interrupt",
            || passes(without_interrupt(context)),
        )
        .case("ten times loaded and unloaded", || passes(many(context)))
}

fn in_use() -> Check {
    let _device = Device::open()?;
    equal("delete_module", try_unload(), Err(Errno::AGAIN))
}

fn unloads() -> Check {
    unload()?;
    ensure_absent()
}

/// Loads with this parameter and unloads; returns the module's last line.
fn last_line(context: &Context, parameter: &str) -> Result<String, Failure> {
    context.module.load(parameter)?;
    unload()?;
    let lines = context.log.borrow_mut().of_module()?;
    lines
        .last()
        .cloned()
        .ok_or_else(|| Failure::new("the module said nothing"))
}

fn selftest(context: &Context) -> Check {
    let line = last_line(context, &format!("selftest={PRINT}"))?;
    let due = format!("selftest: hcall3({PRINT}, 1, 2, 3) = 0");
    equal("the kernel log", line, due)
}

fn selftest_unknown(context: &Context) -> Check {
    let line = last_line(context, &format!("selftest={}", UNREGISTERED.get()))?;
    let due = format!(
        "selftest: hcall3({UNREGISTERED}, 1, 2, 3): the host answered ENOSYS: not implemented"
    );
    equal("the kernel log", line, due)
}

fn selftest_unusable(context: &Context) -> Check {
    let loaded = context.module.try_load("selftest=5")?;
    equal("finit_module", loaded, Err(Errno::INVAL))?;
    ensure_absent()
}

fn raw_gpa_allowed(context: &Context) -> Check {
    context.module.load("allow_raw_gpa=1")?;
    // Nothing to write, at an address that is the process's invention.
    let written = Device::open()?.hcall2(CONSOLE_WRITE, 0x1000, 0);
    unload()?;
    equal(
        "CONSOLE_WRITE(0x1000, 0)",
        written,
        Ok::<u64, DeviceError>(0),
    )
}

fn without_interrupt(context: &Context) -> Check {
    context.module.load("ring_irq=0")?;
    let listed = std::fs::read_to_string("/proc/interrupts")?.contains("hcall");
    let waited = slow_calls();
    unload()?;
    equal("/proc/interrupts lists hcall", listed, false)?;
    equal("the kernel was asked to wait", waited? > 0, true)
}

fn many(context: &Context) -> Check {
    for _ in 0..10 {
        context.module.load("")?;
        Device::open()?.probe()?;
        unload()?;
    }
    ensure_absent()
}
