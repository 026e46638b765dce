// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's traces, in an instance of a check's own, and the calls that are in them.

use crate::failure::{equal, Check, Failure};
use hcall_ktap::{CaseResult, Verdict};
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const TRACEFS: &str = "/sys/kernel/tracing";
/// The module's tracepoint, in tracefs and in instances.
pub(crate) const EVENT: &str = "events/hcall/hcall_call";

/// A check that needs tracefs, as a case.
pub(crate) fn if_traced(check: impl FnOnce() -> Check) -> CaseResult {
    if Path::new(TRACEFS).join("instances").exists() {
        crate::failure::passes(check())
    } else {
        Ok(Verdict::Skip("this kernel has no tracefs".to_owned()))
    }
}

/// A call, as the tracepoint shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) pid: u32,
    pub(crate) number: u32,
    pub(crate) arguments: [u64; 4],
    pub(crate) result: i64,
    pub(crate) nanoseconds: u64,
}

/// An instance of tracefs; gone when dropped.
#[derive(Debug)]
pub(crate) struct Instance(PathBuf);

impl Instance {
    /// Makes one in which nothing is traced.
    pub(crate) fn make(name: &str) -> Result<Self, Failure> {
        let directory = Path::new(TRACEFS).join("instances").join(name);
        fs::create_dir(&directory)
            .map_err(|error| Failure::new(format!("{}: {error}", directory.display())))?;
        Ok(Self(directory))
    }

    /// The same, in which the module's calls are traced.
    pub(crate) fn tracing(name: &str) -> Result<Self, Failure> {
        let instance = Self::make(name)?;
        instance.switch("1")?;
        Ok(instance)
    }

    pub(crate) fn switch(&self, on: &str) -> Check {
        self.write("enable", on)
    }

    /// Writes a file of the tracepoint's.
    pub(crate) fn write(&self, file: &str, text: &str) -> Check {
        let path = self.0.join(EVENT).join(file);
        fs::write(&path, text).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
    }

    pub(crate) fn has_event(&self) -> bool {
        self.0.join(EVENT).exists()
    }

    /// All calls so far.
    pub(crate) fn events(&self) -> Result<Vec<Event>, Failure> {
        let text = fs::read_to_string(self.0.join("trace"))?;
        text.lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
            .map(|line| parse(line).ok_or_else(|| Failure::new(format!("not a call: {line}"))))
            .collect()
    }

    /// The one call so far.
    pub(crate) fn event(&self) -> Result<Event, Failure> {
        let mut events = self.events()?;
        equal(format_args!("calls in {events:?}"), events.len(), 1)?;
        Ok(events.remove(0))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // What is wrong with it, the check itself has found.
        let _ = fs::remove_dir(&self.0);
    }
}

/// `process-PID [CPU] flags time: hcall_call: name=value …`
fn parse(line: &str) -> Option<Event> {
    let (of_kernel, of_module) = line.split_once(": hcall_call: ")?;
    let (who, _) = of_kernel.rsplit_once('[')?;
    let (_, pid) = who.trim().rsplit_once('-')?;
    let values = of_module.split_whitespace().map(|field| {
        let (_, value) = field.split_once('=')?;
        Some(value)
    });
    let values: Vec<&str> = values.collect::<Option<_>>()?;
    let [number, arg0, arg1, arg2, arg3, result, duration] = values[..] else {
        return None;
    };
    let hexadecimal =
        |text: &str| u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok();
    Some(Event {
        pid: pid.parse().ok()?,
        number: u32::try_from(hexadecimal(number)?).ok()?,
        arguments: [
            hexadecimal(arg0)?,
            hexadecimal(arg1)?,
            hexadecimal(arg2)?,
            hexadecimal(arg3)?,
        ],
        result: result.parse().ok()?,
        nanoseconds: duration.parse().ok()?,
    })
}
