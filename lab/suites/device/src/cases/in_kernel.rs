// SPDX-License-Identifier: MIT OR Apache-2.0
//! Other modules of the kernel as callers: the functions of `linux/hcall.h`, in every context;
//! and the examples.

use crate::context::Context;
use crate::counted::{if_counted, Counted, Counting};
use crate::failure::{equal, passes, Check, Failure};
use crate::module::{remove, try_remove, try_unload, unload, Module};
use crate::tracefs::{if_traced, Instance};
use hcall_guest::Errno as HostErrno;
use hcall_ktap::Suite;
use hcall_lab_contract::{mix, MIX, UNREGISTERED};
use rustix::io::Errno;
use std::ffi::CStr;

const CALLERS: &CStr = c"hcall_callers";
/// The examples, each with what it says before its line.
const EXAMPLES: [&CStr; 2] = [c"hcall_example", c"hcall_example_rust"];
/// Where the test's module calls from.
const CONTEXTS: [&str; 3] = ["process", "interrupts off", "interrupt"];

pub(super) fn add<'a>(suite: Suite<'a>, context: &'a Context) -> Suite<'a> {
    suite
        .case(
            "in the kernel: without hcall.ko its callers do not load",
            || passes(without(context)),
        )
        .case("in the kernel: hcall0 to hcall4, in every context", || {
            passes(every_context(context))
        })
        .case("in the kernel: unusable numbers are refused", || {
            passes(unusable(context))
        })
        .case("in the kernel: the host's errno is in the result", || {
            passes(errno(context))
        })
        .case("in the kernel: hcall.ko stays while it is used", || {
            passes(order(context))
        })
        .case("in the kernel: the tracepoint sees the calls", || {
            if_traced(|| traced(context))
        })
        .case("in the kernel: statistics count the calls", || {
            if_counted(|| counted(context))
        })
        .case("the examples, in C and in Rust, are answered", || {
            passes(examples(context))
        })
        .case("the examples tell failures apart", || {
            passes(failing_examples(context))
        })
}

fn module(context: &Context, name: &CStr) -> Module {
    context
        .module
        .beside(&format!("{}.ko", name.to_string_lossy()))
}

/// What `name` says in the kernel log while it is loaded with `hcall.ko`.
fn say(context: &Context, name: &CStr, parameters: &str) -> Result<Vec<String>, Failure> {
    let seen = context.log.borrow_mut().lines()?.len();
    context.module.load("")?;
    let loaded = module(context, name).try_load(parameters);
    if matches!(loaded, Ok(Ok(()))) {
        remove(name)?;
    }
    unload()?;
    equal("finit_module", loaded?, Ok(()))?;
    let start = format!("{}: ", name.to_string_lossy());
    let mut log = context.log.borrow_mut();
    let new = log.lines()?.iter().skip(seen);
    Ok(new
        .filter_map(|line| line.strip_prefix(&start))
        .map(str::to_owned)
        .collect())
}

fn first() -> String {
    format!("first={}", MIX[0].get())
}

fn without(context: &Context) -> Check {
    for name in EXAMPLES.into_iter().chain([CALLERS]) {
        let loaded = module(context, name).try_load("")?;
        equal("finit_module", loaded, Err(Errno::NOENT))?;
    }
    Ok(())
}

fn every_context(context: &Context) -> Check {
    let lines = say(context, CALLERS, &first())?;
    for place in CONTEXTS {
        for arity in 0..MIX.len() {
            let mut arguments = [1, 2, 3, 4];
            arguments[arity..].fill(0);
            let answer = mix(arity as u64, arguments);
            let due = format!("{place}: hcall{arity}: 0 {answer}");
            equal(
                format_args!("{due} in {lines:?}"),
                lines.contains(&due),
                true,
            )?;
        }
    }
    Ok(())
}

fn unusable(context: &Context) -> Check {
    let lines = say(context, CALLERS, &first())?;
    let found: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("unusable: "))
        .collect();
    let due = ["0x0", "0xc", "0x20", "0x80000000"].map(|number| format!("{number}: -22 untouched"));
    equal("numbers", found, due.iter().map(String::as_str).collect())
}

fn errno(context: &Context) -> Check {
    let lines = say(context, CALLERS, &first())?;
    let erange = HostErrno::ERANGE.get();
    let due = format!("process: the host's errno: 0 -{erange}");
    equal(format_args!("{lines:?}"), lines.contains(&due), true)
}

fn order(context: &Context) -> Check {
    context.module.load("")?;
    let callers = module(context, CALLERS);
    callers.load(&first())?;
    let early = try_unload();
    remove(CALLERS)?;
    equal("delete_module", early, Err(Errno::AGAIN))?;
    equal("it is gone", try_remove(CALLERS), Err(Errno::NOENT))?;
    unload()
}

/// With the module loaded, traced or counted: the test's module comes and goes.
fn call_all(context: &Context) -> Check {
    module(context, CALLERS).load(&first())?;
    remove(CALLERS)
}

fn traced(context: &Context) -> Check {
    context.module.load("")?;
    let instance = Instance::tracing("in-kernel");
    let called = instance.as_ref().map(|_| call_all(context));
    let events = instance.as_ref().map(Instance::events);
    unload()?;
    let of = |number: u32, events: &[crate::tracefs::Event]| {
        events.iter().filter(|event| event.number == number).count()
    };
    match (called, events) {
        (Ok(called), Ok(events)) => {
            called?;
            let events = events?;
            for number in MIX {
                equal(number, of(number.get(), &events), CONTEXTS.len())?;
            }
            // And the one that the host refuses.
            equal("calls", events.len(), MIX.len() * CONTEXTS.len() + 1)
        }
        _ => instance.map(drop),
    }
}

fn counted(context: &Context) -> Check {
    context.module.load("")?;
    let checked = count(context);
    unload()?;
    checked
}

fn count(context: &Context) -> Check {
    let _counting = Counting::start()?;
    call_all(context)?;
    let counted = Counted::read()?;
    for number in MIX {
        equal(number, counted.row(number).calls, CONTEXTS.len() as u64)?;
    }
    Ok(())
}

fn examples(context: &Context) -> Check {
    let number = MIX[2];
    let sum = mix(2, [2, 40, 0, 0]);
    for name in EXAMPLES {
        let lines = say(context, name, &format!("number={}", number.get()))?;
        let due = format!("hcall2({number}, 2, 40) = {sum}");
        equal(format_args!("{lines:?}"), lines.contains(&due), true)?;
    }
    Ok(())
}

fn failing_examples(context: &Context) -> Check {
    context.module.load("")?;
    let mut found = Vec::new();
    for name in EXAMPLES {
        for number in [UNREGISTERED.get(), 5] {
            found.push(module(context, name).try_load(&format!("number={number}")));
        }
    }
    unload()?;
    for pair in found.chunks(2) {
        let [unknown, unusable] = pair else {
            return Err(Failure::new("a pair"));
        };
        let errno = |loaded: &Result<Result<(), Errno>, Failure>| match loaded {
            Ok(Err(errno)) => Some(*errno),
            _ => None,
        };
        equal("unknown", errno(unknown), Some(Errno::IO))?;
        equal("unusable", errno(unusable), Some(Errno::INVAL))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hcall_guest::abi::number::{CORE_CALLS, USER_FIRST, USER_LAST};

    const HEADER: &str = include_str!("../../../../../rust-module/include/linux/hcall.h");
    /// What is no business of a module that makes single calls.
    const LEFT_OUT: [&str; 3] = ["BATCH", "RING_SETUP", "RING_TEARDOWN"];

    #[test]
    fn the_header_says_what_the_abi_says() {
        let defined: Vec<(&str, u32)> = HEADER
            .lines()
            .filter_map(|line| line.strip_prefix("#define HCALL_")?.split_once(" 0x"))
            .map(|(name, value)| {
                let digits = value.trim_end_matches('u');
                (name, u32::from_str_radix(digits, 16).expect(value))
            })
            .collect();
        let mut due: Vec<(&str, u32)> = CORE_CALLS
            .iter()
            .filter(|(_, name)| !LEFT_OUT.contains(name))
            .map(|(number, name)| (*name, number.get()))
            .chain([("USER_FIRST", USER_FIRST), ("USER_LAST", USER_LAST)])
            .collect();
        let mut found = defined;
        found.sort_unstable();
        due.sort_unstable();
        assert_eq!(found, due);
    }
}
