// SPDX-License-Identifier: MIT OR Apache-2.0
//! `kvm-suite`: runs unikernels and Linux under the VMM on this machine's KVM, registers
//! the test calls of the lab, and checks each call from both sides. Reports in KTAP.
//!
//! Runs on any /dev/kvm; a transport that does not work there is skipped, unless
//! `--require` says that it must.

// Its attempts are made by compromised-vmm; here they are counted.
#[allow(dead_code)]
#[path = "../../../../vmm-host/tests/sandbox/attempts.rs"]
mod attempts;
mod batches;
mod c_unikernels;
mod command;
mod concurrent;
mod context;
mod context_handlers;
mod control;
mod embedding;
mod external;
mod faults;
mod handlers;
mod hostile;
mod lacking;
mod limits;
mod linux;
mod linux_debug;
mod linux_processors;
mod mixing;
mod modes;
mod multiboot;
mod plugin_swaps;
mod plugins;
#[path = "../../../../vmm-host/tests/sandbox/pretend.rs"]
mod pretend;
mod probing;
mod ring;
mod rings;
mod running;
mod sandbox;
mod starting;
mod unikernels;
mod wrong_vendor;

use clap::{Parser, ValueEnum};
use concurrent::Due;
use hcall_abi::Transport;
use hcall_ktap::Suite;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(about = "Checks a KVM host with hcall's VMM; reports in KTAP")]
struct Arguments {
    /// Directory of the test unikernels
    #[arg(long)]
    guests: PathBuf,

    /// Directory with Linux as a guest: vmlinuz, vmlinux, initrd
    #[arg(long)]
    linux: Option<PathBuf>,

    /// Directory with the kernel of our own as a guest: vmlinux, initrd. Of all cases only
    /// those about it are run
    #[arg(long)]
    debug_linux: Option<PathBuf>,

    /// The command hcall-vmm, to be checked as well
    #[arg(long)]
    vmm: Option<PathBuf>,

    /// The command hcall-vmm, linked dynamically, to be checked with plugins
    #[arg(long, requires = "plugins")]
    plugin_vmm: Option<PathBuf>,

    /// Directory of the plugins
    #[arg(long)]
    plugins: Option<PathBuf>,

    /// The command hcall-vmm with a handler that tries to break out, to be checked as well
    #[arg(long)]
    compromised: Option<PathBuf>,

    /// The machine is nobody's: its clock may be set
    #[arg(long)]
    set_clock: bool,

    /// The example of a VMM of one's own, to be checked as well
    #[arg(long)]
    embed: Option<PathBuf>,

    /// Directory with handlers that are processes: handler-process and shout
    #[arg(long)]
    handlers: Option<PathBuf>,

    /// Transports that must work here; without it, one that does not is skipped
    #[arg(long, value_enum)]
    require: Vec<Required>,

    /// Processors that this machine must have, and that the calls must be answered on where
    /// several vCPUs call at once
    #[arg(long, default_value_t = 1, hide_default_value = true)]
    require_processors: usize,

    /// The most calls that each vCPU makes where several call at once; for slow machines
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    concurrent_calls: u64,

    /// The calls of the guest whose handler is changed from outside; 0: no such guest, where one
    /// that calls often enough would take too long
    #[arg(long, default_value_t = 100_000)]
    swapped_calls: u64,

    /// How many times as many calls a second a ring must make as single calls do, where two
    /// processors are there for it; without it, the figure is printed only
    #[arg(long)]
    ring_speedup: Option<u64>,

    /// The most calls through a ring; for slow machines
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    ring_calls: u64,

    /// Also measures what calls in batches cost, where guests' clocks say something
    #[arg(long)]
    measure: bool,

    /// Has a process in Linux make so many hostile requests; without it, none are made
    #[arg(long)]
    hostile_requests: Option<u64>,

    /// The seed of the hostile requests; without it, another one each time
    #[arg(long, requires = "hostile_requests")]
    hostile_seed: Option<u64>,

    /// Runs only the cases whose names hold this
    #[arg(long)]
    filter: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Required {
    Instruction,
    Carrier,
    Port,
}

impl From<Required> for Transport {
    fn from(required: Required) -> Self {
        match required {
            Required::Instruction => Self::Instruction,
            Required::Carrier => Self::Carrier,
            Required::Port => Self::Port,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let required: Vec<Transport> = arguments.require.iter().copied().map(Into::into).collect();
    let working = match probing::probe_working() {
        Ok(working) => working,
        Err(reason) => {
            eprintln!("error: {reason}");
            return ExitCode::FAILURE;
        }
    };
    let mut suite = Suite::new("kvm");
    if let Some(filter) = &arguments.filter {
        suite = suite.filter(filter);
    }
    if let Some(directory) = &arguments.debug_linux {
        let scale = linux_debug::Scale {
            ring_calls: arguments.ring_calls,
            hostile_requests: arguments.hostile_requests,
            hostile_seed: arguments.hostile_seed,
        };
        return linux_debug::add_cases(suite, directory, scale).run();
    }
    suite = probing::add_cases(suite, &required);
    for transport in Transport::ALL {
        let wanted = working.contains(transport) || required.contains(&transport);
        suite = unikernels::add_cases(suite, &arguments.guests, transport, wanted);
        suite = c_unikernels::add_cases(suite, &arguments.guests, transport, wanted);
        suite = batches::add_cases(
            suite,
            &arguments.guests,
            transport,
            wanted,
            arguments.measure,
        );
        suite = context::add_cases(suite, &arguments.guests, transport, wanted);
        suite = wrong_vendor::add_cases(suite, &arguments.guests, transport, wanted);
        let demands = ring::Demands {
            calls: arguments.ring_calls,
            speedup: arguments.ring_speedup,
        };
        suite = ring::add_case(suite, &arguments.guests, transport, wanted, demands);
    }
    let wanted = required.iter().fold(working, |set, one| set.with(*one));
    suite = rings::add_cases(suite, &arguments.guests, wanted);
    suite = modes::add_cases(suite, &arguments.guests, wanted);
    suite = multiboot::add_cases(suite, &arguments.guests, arguments.vmm.as_deref());
    suite = mixing::add_cases(suite, &arguments.guests, working);
    for transport in Transport::ALL {
        let due = match (working.contains(transport), required.contains(&transport)) {
            (_, true) => Due::Required,
            (true, false) => Due::Possible,
            (false, false) => Due::Impossible,
        };
        suite = concurrent::add_case(
            suite,
            &arguments.guests,
            transport,
            due,
            concurrent::Scale {
                most_calls: arguments.concurrent_calls,
                processors: arguments.require_processors,
            },
        );
    }
    suite = starting::add_cases(suite, &arguments.guests, working);
    if let Some(vmm) = &arguments.vmm {
        suite = command::add_cases(suite, vmm, &arguments.guests, working);
        let wanted = !working.is_empty();
        suite = c_unikernels::add_command_case(suite, vmm, &arguments.guests, wanted);
        let calls = arguments.swapped_calls;
        suite = control::add_cases(suite, vmm, &arguments.guests, working, calls);
    }
    if let (Some(vmm), Some(plugins)) = (&arguments.plugin_vmm, &arguments.plugins) {
        let setting = plugins::Setting {
            vmm: vmm.clone(),
            static_vmm: arguments.vmm.clone(),
            plugins: plugins.clone(),
            guests: arguments.guests.clone(),
        };
        suite = plugins::add_cases(suite, &setting, working);
    }
    if let Some(compromised) = &arguments.compromised {
        let setting = sandbox::Setting::new(compromised, &arguments.guests, working);
        suite = sandbox::add_cases(suite, &setting);
        suite = lacking::add_cases(suite, &setting);
    }
    if let (Some(vmm), Some(compromised)) = (&arguments.vmm, &arguments.compromised) {
        let programs = faults::Programs {
            vmm: vmm.clone(),
            compromised: compromised.clone(),
            guests: arguments.guests.clone(),
        };
        let clock = if arguments.set_clock {
            faults::Clock::MayBeSet
        } else {
            faults::Clock::IsInUse
        };
        suite = faults::add_cases(suite, programs, clock, working);
    }
    if let Some(example) = &arguments.embed {
        suite = embedding::add_case(suite, example, working);
    }
    if let Some(handlers) = &arguments.handlers {
        let setting = external::Setting {
            handlers: handlers.clone(),
            guests: arguments.guests.clone(),
            vmm: arguments.vmm.clone(),
        };
        suite = external::add_cases(suite, &setting, wanted);
    }
    if let Some(directory) = &arguments.linux {
        suite = linux::add_cases(suite, directory, arguments.ring_calls);
        suite = linux_processors::add_cases(suite, directory);
        if let Some(requests) = arguments.hostile_requests {
            suite = hostile::add_case(suite, directory, requests, arguments.hostile_seed);
        }
    }
    suite.run()
}
