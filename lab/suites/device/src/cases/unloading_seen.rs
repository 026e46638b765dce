// SPDX-License-Identifier: MIT OR Apache-2.0
//! Unloading while somebody looks: traces and statistics hold the module only where they must.

use super::seeing_commands;
use crate::context::Context;
use crate::counted::{if_counted, Counted, DIRECTORY};
use crate::failure::{equal, Check, Failure};
use crate::module::{try_unload, unload};
use crate::perf::Counter;
use crate::tracefs::{if_traced, Instance};
use hcall_guest::abi::number::ECHO;
use hcall_guest::device::Device;
use hcall_ktap::Suite;
use rustix::io::Errno;
use std::fs::File;
use std::path::Path;

pub(super) fn add<'a>(suite: Suite<'a>, context: &'a Context) -> Suite<'a> {
    suite
        .case("statistics=1: on from the start", || {
            if_counted(|| parameter(context))
        })
        .case("unloading while statistics are on", || {
            if_counted(|| counting(context))
        })
        .case("unloading while a file of the statistics is open", || {
            if_counted(|| open_file(context))
        })
        .case("unloading while the tracepoint is on", || {
            if_traced(|| tracing(context))
        })
        .case("unloading while perf counts", || {
            if_traced(|| perf(context))
        })
        .case("hcall trace ends with the module", || {
            if_traced(|| {
                context.module.load("")?;
                seeing_commands::module_goes(unload)
            })
        })
        .case("hcall stats and hcall trace without the module", || {
            if_traced(seeing_commands::without_module)
        })
}

/// Runs a check with the module loaded, and unloads it.
fn loaded(context: &Context, parameters: &str, check: impl FnOnce() -> Check) -> Check {
    context.module.load(parameters)?;
    let checked = check();
    unload()?;
    checked
}

fn parameter(context: &Context) -> Check {
    loaded(context, "statistics=1", || {
        Device::open()?.hcall1(ECHO, 1)?;
        let counted = Counted::read()?;
        equal("enabled", &*counted.enabled, "1")?;
        equal("ECHO", counted.row(ECHO).calls, 1)
    })
}

fn counting(context: &Context) -> Check {
    for _ in 0..5 {
        loaded(context, "statistics=1", || {
            Device::open()?.hcall1(ECHO, 1)?;
            Ok(())
        })?;
        let there = Path::new(DIRECTORY).exists();
        equal("the directory is there", there, false)?;
    }
    Ok(())
}

fn open_file(context: &Context) -> Check {
    loaded(context, "", || {
        for file in ["statistics", "enable"] {
            let file = File::open(Path::new(DIRECTORY).join(file))?;
            let unloaded = try_unload();
            drop(file);
            equal("delete_module", unloaded, Err(Errno::AGAIN))?;
        }
        Ok(())
    })
}

fn tracing(context: &Context) -> Check {
    context.module.load("")?;
    let instance = Instance::tracing("unloading");
    let called = Device::open().and_then(|device| device.hcall1(ECHO, 1));
    unload()?;
    let instance = instance?;
    called?;
    equal("the event is there", instance.has_event(), false)?;
    loaded(context, "", || {
        equal("the event is there", instance.has_event(), true)?;
        instance.switch("1")?;
        Device::open()?.hcall1(ECHO, 2)?;
        equal("argument", instance.event()?.arguments[0], 2)
    })
}

fn perf(context: &Context) -> Check {
    loaded(context, "", || {
        let counter = Counter::start()?;
        let unloaded = try_unload();
        drop(counter);
        equal("delete_module", unloaded, Err(Errno::AGAIN))?;
        Ok::<(), Failure>(())
    })
}
