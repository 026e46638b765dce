// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a command found out, for people and for programs.

use crate::bench::Bench;
use crate::stats::Stats;
use crate::timing::Timing;
use hcall_guest::abi::cpuid::Features;
use hcall_guest::abi::ioctl::{Info, INSTRUCTION_VMCALL, INSTRUCTION_VMMCALL};
use hcall_guest::abi::{Transport, TransportSet};
use hcall_guest::{CallError, HypercallNumber};
use serde_json::{json, Value};
use std::fmt::Write as _;

/// The success of a command.
#[derive(Debug)]
pub(crate) enum Answer {
    /// What the module found.
    Info(Info),
    /// The payload of a call.
    Payload(u64),
    /// How many bytes the host took.
    Written(usize),
    /// The calls of a batch, each with its answer.
    Batch(Vec<Answered>),
    /// What host and module have counted.
    Stats(Stats),
    /// The module counts otherwise now.
    Changed,
    /// How many calls were printed as they were made.
    Traced(u64),
    /// How long calls take, and how they were made.
    Bench(Info, Bench),
}

/// A call of a batch; no answer if the batch has ended before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) number: HypercallNumber,
    pub(crate) answer: Option<Result<u64, CallError>>,
}

const FEATURES: [(Features, &str); 3] = [
    (Features::CORE_CALLS, "core calls"),
    (Features::BATCH, "batch"),
    (Features::RING, "ring"),
];

impl Answer {
    /// Lines for people; may be empty.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Info(info) => info_text(info),
            Self::Payload(payload) => format!("{payload} ({payload:#x})\n"),
            Self::Stats(stats) => stats.text(),
            Self::Written(_) | Self::Changed | Self::Traced(_) => String::new(),
            Self::Batch(calls) => calls.iter().map(Answered::text).collect(),
            Self::Bench(info, bench) => bench_text(info, bench),
        }
    }

    /// Whether the host answered every call with success.
    pub(crate) fn is_success(&self) -> bool {
        match self {
            Self::Batch(calls) => calls
                .iter()
                .all(|call| call.answer.is_some_and(|answer| answer.is_ok())),
            _ => true,
        }
    }

    /// One object for programs.
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Info(info) => info_json(info),
            Self::Payload(payload) => {
                json!({"ok": true, "result": payload, "result_hex": format!("{payload:#x}")})
            }
            Self::Written(bytes) => json!({"ok": true, "written": bytes}),
            Self::Stats(stats) => stats.json(),
            Self::Changed => json!({"ok": true}),
            Self::Traced(calls) => json!({"ok": true, "traced": calls}),
            Self::Batch(calls) => {
                let results: Vec<Value> = calls.iter().map(Answered::json).collect();
                json!({"ok": self.is_success(), "results": results})
            }
            Self::Bench(info, bench) => bench_json(info, bench),
        }
    }
}

impl Answered {
    fn text(&self) -> String {
        let number = self.number;
        match self.answer {
            Some(Ok(payload)) => format!("{number}: {payload} ({payload:#x})\n"),
            Some(Err(error)) => format!("{number}: {error}\n"),
            None => format!("{number}: not called\n"),
        }
    }

    fn json(&self) -> Value {
        let number = self.number.get();
        match self.answer {
            Some(Ok(payload)) => json!({
                "number": number,
                "ok": true,
                "result": payload,
                "result_hex": format!("{payload:#x}"),
            }),
            Some(Err(error)) => {
                let mut call = json!({
                    "number": number, "ok": false, "called": true, "message": error.to_string(),
                });
                if let CallError::Errno(errno) = error {
                    call["errno"] = errno.get().into();
                    call["name"] = errno.name().into();
                }
                call
            }
            None => json!({"number": number, "ok": false, "called": false}),
        }
    }
}

fn info_text(info: &Info) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<13}{value}");
    };
    line("ABI version", info.abi_version.to_string());
    let instruction = instruction(info).map_or(String::new(), |name| format!(" ({name})"));
    line("transport", format!("{}{instruction}", transport(info)));
    line("offered", offered(info).join(", "));
    line("features", features(info).join(", "));
    line("CPUID base", format!("{:#x}", info.cpuid_base));
    line("buffer", format!("{} bytes", info.buffer_bytes));
    if info.batch_entries != 0 {
        line("batch", format!("{} entries", info.batch_entries));
    }
    if info.ring_entries != 0 {
        line("ring", format!("{} entries", info.ring_entries));
    }
    text
}

fn info_json(info: &Info) -> Value {
    json!({
        "ok": true,
        "abi_version": info.abi_version,
        "transport": transport(info),
        "instruction": instruction(info),
        "transports_offered": offered(info),
        "features": features(info),
        "cpuid_base": info.cpuid_base,
        "buffer_bytes": info.buffer_bytes,
        "batch_entries": info.batch_entries,
        "ring_entries": info.ring_entries,
    })
}

fn bench_text(info: &Info, bench: &Bench) -> String {
    let call = bench.call.number().name().unwrap_or("a call");
    let instruction = instruction(info).map_or(String::new(), |name| format!(" ({name})"));
    let mut text = format!(
        "{call} from a process, transport {}{instruction}: microseconds a call\n{:<8}{}\n",
        transport(info),
        "",
        Timing::heads()
    );
    for (way, timing) in &bench.ways {
        let timing = match timing {
            Ok(timing) => timing.text(),
            Err(reason) => format!("  not measured: {reason}"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<8}{timing}", way.name());
    }
    let _ = writeln!(
        text,
        "A sample is the time of one single call, of a batch, or of a ringful of calls, divided \
         by its\ncalls; {} ns of it, divided likewise, is what looking at the clock takes.",
        bench.clock
    );
    text
}

fn bench_json(info: &Info, bench: &Bench) -> Value {
    let ways: serde_json::Map<String, Value> = bench
        .ways
        .iter()
        .map(|(way, timing)| {
            let value = match timing {
                Ok(timing) => timing.json(),
                Err(reason) => json!({"not_measured": reason}),
            };
            (way.name().to_owned(), value)
        })
        .collect();
    json!({
        "ok": true,
        "call": bench.call.number().name(),
        "transport": transport(info),
        "instruction": instruction(info),
        "clock_nanoseconds": u64::try_from(bench.clock).unwrap_or(u64::MAX),
        "ways": ways,
    })
}

fn transport(info: &Info) -> &'static str {
    Transport::from_raw(info.transport).map_or("unknown", Transport::name)
}

fn instruction(info: &Info) -> Option<&'static str> {
    match info.instruction {
        INSTRUCTION_VMMCALL => Some("VMMCALL"),
        INSTRUCTION_VMCALL => Some("VMCALL"),
        _ => None,
    }
}

fn offered(info: &Info) -> Vec<&'static str> {
    TransportSet::from_bits(info.transports_offered)
        .iter()
        .map(Transport::name)
        .collect()
}

fn features(info: &Info) -> Vec<&'static str> {
    let offered = Features::from_bits(info.features);
    FEATURES
        .into_iter()
        .filter(|(feature, _)| offered.contains(*feature))
        .map(|(_, name)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: Info = Info {
        abi_version: 1,
        transport: 0,
        transports_offered: 0b101,
        features: 1,
        cpuid_base: 0x4000_0100,
        instruction: INSTRUCTION_VMMCALL,
        batch_entries: 0,
        ring_entries: 0,
        buffer_bytes: 4096,
        reserved: [0; 7],
    };

    #[test]
    fn info_names_what_the_numbers_mean() {
        let expected = "\
ABI version  1
transport    instruction (VMMCALL)
offered      instruction, port
features     core calls
CPUID base   0x40000100
buffer       4096 bytes
";
        assert_eq!(Answer::Info(INFO).text(), expected);
        let json = Answer::Info(INFO).json();
        assert_eq!(json["transport"], "instruction");
        assert_eq!(json["instruction"], "VMMCALL");
        assert_eq!(json["transports_offered"], json!(["instruction", "port"]));
    }

    #[test]
    fn a_batch_shows_every_call() {
        let call = |answer| Answered {
            number: HypercallNumber::user(1),
            answer,
        };
        let errno = CallError::Errno(hcall_guest::Errno::ENOSYS);
        let calls = [call(Some(Ok(42))), call(Some(Err(errno))), call(None)];
        let answer = Answer::Batch(calls.to_vec());
        assert_eq!(
            answer.text(),
            "0x48438001: 42 (0x2a)\n\
             0x48438001: the host answered ENOSYS: not implemented\n\
             0x48438001: not called\n"
        );
        assert!(!answer.is_success());
        let json = answer.json();
        assert_eq!(json["ok"], false);
        assert_eq!(json["results"][0]["result"], 42);
        assert_eq!(json["results"][1]["name"], "ENOSYS");
        assert_eq!(json["results"][2]["called"], false);
        assert!(Answer::Batch(calls[..1].to_vec()).is_success());
    }

    #[test]
    fn a_measurement_says_what_was_not_measured() {
        use crate::bench::{Measured, Way};
        let timing = Timing::new(std::num::NonZero::<u32>::MIN, 1500, []);
        let bench = Bench {
            call: Measured::Echo,
            clock: 25,
            ways: vec![(Way::Single, Ok(timing)), (Way::Ring, Err("none".into()))],
        };
        let answer = Answer::Bench(INFO, bench);
        let text = answer.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "ECHO from a process, transport instruction (VMMCALL): microseconds a call"
        );
        assert_eq!(lines[2].split_whitespace().nth(4), Some("1.500"), "{text}");
        assert_eq!(lines[3], "ring      not measured: none");
        let json = answer.json();
        assert_eq!(json["ways"]["single"]["nanoseconds"]["median"], 1500.0);
        assert_eq!(json["ways"]["ring"]["not_measured"], "none");
    }

    #[test]
    fn a_payload_is_shown_in_both_notations() {
        assert_eq!(Answer::Payload(42).text(), "42 (0x2a)\n");
        let largest = Answer::Payload(i64::MAX as u64).json();
        assert_eq!(largest["result"], json!(9_223_372_036_854_775_807_u64));
        assert_eq!(largest["result_hex"], "0x7fffffffffffffff");
    }
}
