// SPDX-License-Identifier: MIT OR Apache-2.0
//! Process 1 of every guest in the lab.
//!
//! Mounts `/proc`, `/sys` and `/dev`, loads modules, runs the commands that the kernel's
//! command line names, and ends the machine. What it says on the console:
//!
//! ```text
//! LAB-INIT Linux 7.3.4+deb13-cloud-amd64
//! LAB-INIT module kvm.ko
//! LAB-INIT run /bin/kvm-suite --guests /lab/guests
//! LAB-EXIT status=0
//! ```
//!
//! The status is the first command's that failed: 128 + N for signal N, 127 if it could
//! not be started, 125 if the machine could not be prepared.
#![deny(unsafe_code)]

mod bochs;
mod command;
mod end;
mod modules;
mod mounts;
mod orders;
mod say;

use std::process::ExitCode;

use orders::Orders;
use say::{say, say_status, set_name};

/// The status when no command could be run.
const UNPREPARED: i32 = 125;

fn main() -> ExitCode {
    if !rustix::process::getpid().is_init() {
        eprintln!(
            "lab-init is process 1 of the lab's guests and ends the machine it runs on; \
             this machine is none of them: nothing done"
        );
        return ExitCode::FAILURE;
    }
    let cmdline = mounts::mount_all().and_then(|()| orders::kernel_command_line());
    let end = cmdline.as_deref().ok().and_then(orders::end);
    if let Some(name) = cmdline.as_deref().ok().and_then(orders::name) {
        set_name(name);
    }
    let status = cmdline
        .and_then(|cmdline| Orders::parse(&cmdline))
        .and_then(|orders| obey(&orders))
        .unwrap_or_else(|error| {
            say(format_args!("failed: {error}"));
            UNPREPARED
        });
    say_status(status);
    end::end(end.unwrap_or_default())
}

fn obey(orders: &Orders) -> Result<i32, String> {
    let uname = rustix::system::uname();
    say(format_args!("Linux {}", uname.release().to_string_lossy()));
    modules::load_listed()?;
    for module in &orders.modules {
        modules::load(module)?;
    }
    for command in &orders.commands {
        let status = command::run(command)?;
        if status != 0 {
            return Ok(status);
        }
    }
    Ok(0)
}
