// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a command found out, for people and for programs.

use hcall_guest::abi::cpuid::Features;
use hcall_guest::abi::ioctl::{Info, INSTRUCTION_VMCALL, INSTRUCTION_VMMCALL};
use hcall_guest::abi::{Transport, TransportSet};
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
            Self::Written(_) => String::new(),
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
    fn a_payload_is_shown_in_both_notations() {
        assert_eq!(Answer::Payload(42).text(), "42 (0x2a)\n");
        let largest = Answer::Payload(i64::MAX as u64).json();
        assert_eq!(largest["result"], json!(9_223_372_036_854_775_807_u64));
        assert_eq!(largest["result_hex"], "0x7fffffffffffffff");
    }
}
