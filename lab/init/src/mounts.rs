// SPDX-License-Identifier: MIT OR Apache-2.0
//! The file systems that programs expect, and the console.

use std::fs::{self, OpenOptions};
use std::io;

use rustix::mount::{mount, MountFlags};

/// Type and place of each.
const FILE_SYSTEMS: [(&str, &str); 5] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("debugfs", "/sys/kernel/debug"),
    ("tracefs", "/sys/kernel/tracing"),
];

/// What a kernel may be built without.
const OPTIONAL: [&str; 2] = ["debugfs", "tracefs"];

pub(crate) fn mount_all() -> Result<(), String> {
    for (kind, place) in FILE_SYSTEMS {
        match mount_one(kind, place) {
            Err(_) if OPTIONAL.contains(&kind) => {}
            result => result.map_err(|error| format!("cannot mount {kind} on {place}: {error}"))?,
        }
        if kind == "devtmpfs" {
            open_console().map_err(|error| format!("cannot open /dev/console: {error}"))?;
        }
    }
    fs::create_dir_all("/tmp").map_err(|error| format!("cannot make /tmp: {error}"))
}

fn mount_one(kind: &str, place: &str) -> io::Result<()> {
    fs::create_dir_all(place)?;
    mount(kind, place, kind, MountFlags::empty(), None)?;
    Ok(())
}

/// An initramfs without the device node starts its init without standard streams.
fn open_console() -> io::Result<()> {
    let console = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/console")?;
    rustix::stdio::dup2_stdin(&console)?;
    rustix::stdio::dup2_stdout(&console)?;
    rustix::stdio::dup2_stderr(&console)?;
    Ok(())
}
