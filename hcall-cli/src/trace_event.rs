// SPDX-License-Identifier: MIT OR Apache-2.0
//! A line of the kernel's trace: a call, as the module's tracepoint prints it.

use crate::statistics::name_of;
use hcall_guest::abi::result::KVM_ENOSYS_RESULT;
use hcall_guest::Errno;
use serde_json::{json, Value};

/// What stands between what the kernel says of the event and what the module does.
const MARK: &str = ": hcall_call: ";

/// What the tracepoint gives for the result where the processor refused the trap.
const REFUSED_TRAP: i64 = -4096;

/// A call.
#[derive(Debug, PartialEq)]
pub(crate) struct Event<'a> {
    process: &'a str,
    pid: u32,
    processor: u32,
    /// Seconds since the kernel started.
    time: f64,
    number: u32,
    arguments: [u64; 4],
    result: i64,
    nanoseconds: u64,
}

impl<'a> Event<'a> {
    /// Understands a line; `None` if it is not a call, but a note of the kernel's.
    pub(crate) fn parse(line: &'a str) -> Option<Self> {
        let (of_kernel, of_module) = line.rsplit_once(MARK)?;
        let (who, time) = of_kernel.rsplit_once(char::is_whitespace)?;
        // Flags of the moment come between processor and time.
        let (who, processor) = who.rsplit_once('[')?;
        let (process, pid) = who.trim().rsplit_once('-')?;
        let mut fields = of_module.split_whitespace();
        let mut field = |name: &str| {
            let value = fields.next()?.strip_prefix(name)?.strip_prefix('=')?;
            Some(value)
        };
        Some(Self {
            process,
            pid: pid.parse().ok()?,
            processor: processor.split(']').next()?.parse().ok()?,
            time: time.parse().ok()?,
            number: u32::try_from(hexadecimal(field("number")?)?).ok()?,
            arguments: [
                hexadecimal(field("arg0")?)?,
                hexadecimal(field("arg1")?)?,
                hexadecimal(field("arg2")?)?,
                hexadecimal(field("arg3")?)?,
            ],
            result: field("result")?.parse().ok()?,
            nanoseconds: field("duration")?.parse().ok()?,
        })
    }

    /// A line for people.
    pub(crate) fn text(&self) -> String {
        let [arg0, arg1, arg2, arg3] = self.arguments;
        format!(
            "{:.6} {}[{}] {}({arg0:#x}, {arg1:#x}, {arg2:#x}, {arg3:#x}) = {} <{} ns>\n",
            self.time,
            self.process,
            self.pid,
            name_of(self.number),
            self.outcome(),
            self.nanoseconds
        )
    }

    fn outcome(&self) -> String {
        let result = self.result;
        let errno = || Errno::new(u16::try_from(result.checked_neg()?).ok()?)?.name();
        match result {
            REFUSED_TRAP => "? (the processor refused the trap)".to_owned(),
            KVM_ENOSYS_RESULT => format!("{result} (not an hcall host)"),
            _ => errno().map_or_else(|| result.to_string(), |name| format!("{result} ({name})")),
        }
    }

    /// One object for programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "time": self.time,
            "process": self.process,
            "pid": self.pid,
            "processor": self.processor,
            "number": self.number,
            "name": name_of(self.number),
            "arguments": self.arguments,
            "result": self.result,
            "nanoseconds": self.nanoseconds,
        })
    }
}

/// With a prefix or, as a 0 may be printed, without.
fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "  device [1] - a-57  [001] d..1.    12.345678: hcall_call: \
        number=0x48430002 arg0=0x7 arg1=0x0 arg2=0 arg3=0xffffffffffffffff result=7 duration=1834";

    #[test]
    fn a_line_is_understood_whatever_the_process_is_called() {
        let event = Event::parse(LINE).expect("a call");
        let due = Event {
            process: "device [1] - a",
            pid: 57,
            processor: 1,
            time: 12.345_678,
            number: 0x4843_0002,
            arguments: [7, 0, 0, u64::MAX],
            result: 7,
            nanoseconds: 1834,
        };
        assert_eq!(event, due);
        assert_eq!(
            event.text(),
            "12.345678 device [1] - a[57] ECHO(0x7, 0x0, 0x0, 0xffffffffffffffff) = 7 <1834 ns>\n"
        );
        assert_eq!(event.json()["arguments"][3], json!(u64::MAX));
    }

    #[test]
    fn failures_are_named() {
        let outcome = |result: &str| {
            let line = LINE.replace("result=7", &format!("result={result}"));
            Event::parse(&line).map(|event| event.outcome())
        };
        assert_eq!(outcome("-38").as_deref(), Some("-38 (ENOSYS)"));
        assert_eq!(
            outcome("-1000").as_deref(),
            Some("-1000 (not an hcall host)")
        );
        assert_eq!(outcome("-4000").as_deref(), Some("-4000"));
        let refused = "? (the processor refused the trap)";
        assert_eq!(outcome("-4096").as_deref(), Some(refused));
        let least = i64::MIN.to_string();
        assert_eq!(outcome(&least), Some(least));
    }

    #[test]
    fn notes_of_the_kernel_are_no_calls() {
        for line in ["CPU:0 [LOST 12 EVENTS]", "", &LINE.replace("arg3", "arg4")] {
            assert_eq!(Event::parse(line), None, "{line}");
        }
    }
}
