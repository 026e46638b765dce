// SPDX-License-Identifier: MIT OR Apache-2.0
//! The cases, in the order in which they run: each needs the module as the one before
//! it left it.

mod batches;
mod buffers;
mod calls;
mod clients;
mod command;
mod defaults;
mod ending;
mod guide;
mod in_kernel;
mod info;
mod interrupted;
mod kernel;
mod kunit;
pub(crate) mod leaks;
mod lengths;
mod loading;
mod privilege;
mod process;
mod processors;
mod refusals;
mod restrictions;
pub(crate) mod ring_children;
mod ring_hostile;
mod ring_refusals;
mod rings;
mod seeing_commands;
mod sizes;
mod statistics;
mod tracing;
mod typed;
mod unloading;
mod unloading_seen;
mod widened;

use crate::context::Context;
use crate::failure::passes;
use crate::{Kernel, Refusal, Rings};
use hcall_guest::abi::Transport;
use hcall_ktap::Suite;
use std::path::Path;

pub(crate) use kernel::add as kernel_is_well;
pub(crate) use processors::{call_on, several};

/// How much of what is done many times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) rings: Rings,
    /// Requests of each kind where it is about leaks.
    pub(crate) leak_calls: u64,
}

/// What is due in a guest whose host offers `transport`.
pub(crate) fn with_host<'a>(
    context: &'a Context,
    kernel: Kernel,
    transport: Transport,
    clients: Option<&Path>,
    scale: Scale,
) -> Suite<'a> {
    let rings = scale.rings;
    let suite = Suite::new("device");
    let suite = loading::add(suite, context, transport);
    let suite = match kernel {
        Kernel::Stock => suite,
        Kernel::Debug => kunit::add(suite),
    };
    let suite = info::add(suite, transport);
    let suite = calls::add(suite, transport);
    let suite = refusals::add(suite, transport);
    let suite = sizes::add(suite, transport);
    let suite = buffers::add(suite);
    let suite = lengths::add(suite);
    let suite = batches::add(suite, kernel, transport, rings.host_processors);
    let suite = restrictions::add(suite);
    let suite = ending::add(suite);
    let suite = typed::add(suite, transport);
    let suite = match clients {
        Some(directory) => clients::add(suite, directory),
        None => suite,
    };
    let suite = privilege::add(suite);
    let suite = command::add(suite, transport);
    let suite = guide::add(suite);
    let suite = widened::add(suite);
    let suite = interrupted::add(suite);
    let suite = ring_refusals::add(suite);
    let suite = rings::add(suite, transport, rings);
    let suite = ring_hostile::add(suite);
    let suite = match kernel {
        Kernel::Stock => leaks::add(suite, scale.leak_calls),
        // KASAN keeps in use what was freed, to see who uses it still.
        Kernel::Debug => suite,
    };
    let suite = tracing::add(suite);
    let suite = statistics::add(suite);
    let suite = seeing_commands::add(suite);
    let suite = unloading::add(suite, context);
    let suite = unloading_seen::add(suite, context);
    let suite = in_kernel::add(suite, context);
    let suite = defaults::add(suite, context);
    // Keeps a device open for the rest of the process, and with it the module loaded.
    let suite = process::add(suite, context);
    kernel::add(suite, context, kernel)
}

/// What is due where the module cannot be loaded.
pub(crate) fn refused(context: &Context, refusal: Refusal) -> Suite<'_> {
    Suite::new("device-refused")
        .case("the module refuses to load with ENODEV", || {
            passes(loading::refuses(context))
        })
        .case("it says why in one line", move || {
            passes(loading::one_line(context, refusal))
        })
        .case("it leaves no node and is not loaded", || {
            passes(crate::module::ensure_absent())
        })
        .case("the kernel log holds no warning", || {
            passes(kernel::no_alarms(context))
        })
}

/// Bytes that differ from their neighbours.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 7 + 1) as u8).collect()
}
