// SPDX-License-Identifier: MIT OR Apache-2.0
//! A trace of this command's own, beside whatever else is traced: an instance of tracefs in
//! which nothing is on but the module's tracepoint.

use crate::failure::Failure;
use rustix::fs::OFlags;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where tracefs is: mounted by itself, or with debugfs.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// The module's tracepoint, in tracefs and in every instance.
const EVENT: &str = "events/hcall/hcall_call/enable";

/// The instance; it is removed when dropped, after the pipe has been.
#[derive(Debug)]
pub(crate) struct Instance {
    directory: PathBuf,
}

impl Instance {
    /// Makes the instance and switches the tracepoint on in it.
    pub(crate) fn make() -> Result<Self, Failure> {
        let tracefs = find()?;
        if !tracefs.join(EVENT).exists() {
            return Err(Failure::Unavailable(
                "there is no tracepoint hcall:hcall_call: is the module hcall loaded? \
                 (modprobe hcall)"
                    .to_owned(),
            ));
        }
        let directory = tracefs.join(format!("instances/hcall-{}", std::process::id()));
        fs::create_dir(&directory).map_err(|error| failed("make", &directory, &error))?;
        let instance = Self { directory };
        // Whoever waits for the pipe is to be told of the first call.
        instance.write("buffer_percent", "0")?;
        instance.write(EVENT, "1")?;
        Ok(instance)
    }

    fn write(&self, file: &str, text: &str) -> Result<(), Failure> {
        let path = self.directory.join(file);
        fs::write(&path, text).map_err(|error| failed("write", &path, &error))
    }

    /// What is traced, as text; reading it never waits.
    pub(crate) fn pipe(&self) -> Result<File, Failure> {
        let path = self.directory.join("trace_pipe");
        OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits() as i32)
            .open(&path)
            .map_err(|error| failed("read", &path, &error))
    }

    /// Whether the module is still there.
    pub(crate) fn has_event(&self) -> bool {
        self.directory.join(EVENT).exists()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // If it is gone already, or cannot be removed, nobody is left who could do better.
        let _ = fs::remove_dir(&self.directory);
    }
}

fn find() -> Result<&'static Path, Failure> {
    for place in TRACEFS.map(Path::new) {
        match fs::metadata(place.join("instances")) {
            Ok(_) => return Ok(place),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(failed("use", place, &error));
            }
            Err(_) => {}
        }
    }
    Err(Failure::Unavailable(format!(
        "there is no tracefs: mount -t tracefs tracefs {}",
        TRACEFS[0]
    )))
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        ErrorKind::PermissionDenied => " (only root may)",
        _ => "",
    };
    Failure::Unavailable(format!("cannot {what} {}: {error}{hint}", path.display()))
}
