// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel log from the start of the suite on, read from `/dev/kmsg`.

use crate::failure::Failure;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

/// What no kernel log may hold after the suite.
const ALARMS: [&str; 15] = [
    "WARNING",
    "BUG:",
    "BUG kmalloc",
    "overwritten",
    "ODEBUG",
    "INFO: trying to register",
    "INFO: task",
    "INFO: rcu",
    "Oops",
    "cut here",
    "Call Trace",
    "invalid opcode",
    "general protection fault",
    "UBSAN",
    "rust_kernel: panicked",
];

/// What the kernel itself says, under the module's name, of any module from elsewhere.
const NOT_THE_MODULES: [&str; 2] = [
    "module verification failed",
    "loading out-of-tree module taints kernel",
];

/// The largest record that `/dev/kmsg` hands out (`PRINTK_MESSAGE_MAX`), rounded up.
const RECORD_MAX: usize = 8192;

/// The lines so far.
#[derive(Debug)]
pub(crate) struct KernelLog {
    file: File,
    lines: Vec<String>,
}

impl KernelLog {
    /// Starts behind the last line.
    pub(crate) fn follow() -> Result<Self, Failure> {
        Self::from(SeekFrom::End(0))
    }

    fn from(position: SeekFrom) -> Result<Self, Failure> {
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let open = || {
            let mut file = OpenOptions::new()
                .read(true)
                .custom_flags(nonblocking)
                .open("/dev/kmsg")?;
            file.seek(position)?;
            Ok(file)
        };
        let file =
            open().map_err(|error: std::io::Error| Failure::new(format!("/dev/kmsg: {error}")))?;
        Ok(Self {
            file,
            lines: Vec::new(),
        })
    }

    /// Every line since the start.
    pub(crate) fn lines(&mut self) -> Result<&[String], Failure> {
        let mut record = vec![0; RECORD_MAX];
        loop {
            match self.file.read(&mut record) {
                Ok(length) => self.lines.push(text(&record[..length])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(&self.lines),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::new(format!("/dev/kmsg: {error}"))),
            }
        }
    }

    /// The lines that the module wrote, without its name.
    pub(crate) fn of_module(&mut self) -> Result<Vec<String>, Failure> {
        Ok(self
            .lines()?
            .iter()
            .filter_map(|line| line.strip_prefix("hcall: "))
            .filter(|line| !NOT_THE_MODULES.iter().any(|own| line.starts_with(own)))
            .map(str::to_owned)
            .collect())
    }

    /// The lines that tell of something gone wrong in the kernel.
    pub(crate) fn alarms(&mut self) -> Result<Vec<String>, Failure> {
        Ok(self
            .lines()?
            .iter()
            .filter(|line| is_alarm(line))
            .cloned()
            .collect())
    }
}

/// Every line that the kernel still has.
pub(crate) fn since_boot() -> Result<Vec<String>, Failure> {
    let mut log = KernelLog::from(SeekFrom::Start(0))?;
    Ok(log.lines()?.to_vec())
}

fn is_alarm(line: &str) -> bool {
    ALARMS.iter().any(|alarm| line.contains(alarm))
}

/// The text of a record `priority,sequence,time,flags;text\n KEY=value\n…`.
fn text(record: &[u8]) -> String {
    let record = String::from_utf8_lossy(record);
    let text = record.split_once(';').map_or(&*record, |(_, text)| text);
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_record_is_found() {
        let record = b"6,339,5140900,-;hcall: ABI version 1; fine\n SUBSYSTEM=misc\n";
        assert_eq!(text(record), "hcall: ABI version 1; fine");
    }

    #[test]
    fn alarms_are_told_from_ordinary_lines() {
        assert!(is_alarm("------------[ cut here ]------------"));
        assert!(is_alarm("BUG: kernel NULL pointer dereference, address: 0"));
        assert!(is_alarm("BUG: KASAN: slab-use-after-free in x+0x1/0x2"));
        assert!(is_alarm("WARNING: possible circular locking dependency"));
        assert!(is_alarm("BUG kmalloc-64 (Tainted: G    N): Right Redzone"));
        assert!(!is_alarm(
            "hcall: ABI version 1, transport port, instruction OUT"
        ));
    }
}
