// SPDX-License-Identifier: MIT OR Apache-2.0
//! `include/hcall_plugin.h` says what the crate says: the machine's C compiler checks every
//! constant, size and offset of the header against the crate's.

use hcall_abi::convention::ARGUMENT_COUNT;
use hcall_c_header::{fact, layout, Fact, Header};
use hcall_plugin::abi::{
    self, DescriptorTable, HandlerDescriptor, HostFunctions, PluginDescriptor, Registers, Segment,
    SpecialRegisters, PLUGIN_ABI_VERSION,
};
use hcall_plugin::{HypercallNumber, Level};

const HEADER: Header<'static> = Header {
    name: "hcall_plugin.h",
    text: include_str!("../include/hcall_plugin.h"),
    directory: concat!(env!("CARGO_MANIFEST_DIR"), "/include"),
    options: &[],
    rest: "",
};

/// What the header defines that is no integer: its guard, functions, and words of the language.
const NO_INTEGERS: [&str; 7] = [
    "HCALL_PLUGIN_H",
    "HCALL_PLUGIN_HOST_HAS(host,",
    "HCALL_PLUGIN_USER(offset)",
    "HCALL_PLUGIN(name,",
    "HCALL_PLUGIN_EXPORT",
    "HCALL_PLUGIN_EXTERN",
    "HCALL_PLUGIN_ASSERT",
];

fn constants() -> Vec<Fact> {
    let limits = [
        fact("HCALL_PLUGIN_ABI_VERSION", PLUGIN_ABI_VERSION),
        fact("HCALL_PLUGIN_TEXT_LIMIT", abi::TEXT_LIMIT as u64),
        fact("HCALL_PLUGIN_HANDLERS_LIMIT", abi::HANDLERS_LIMIT),
        fact("HCALL_PLUGIN_ARGUMENTS", ARGUMENT_COUNT as u64),
        fact("HCALL_PLUGIN_RESULT_PANICKED", abi::RESULT_PANICKED),
    ];
    let callers = [
        ("OF_THE_VM", abi::CALLERS_OF_THE_VM),
        ("KERNEL_ONLY", abi::CALLERS_KERNEL_ONLY),
        ("ANY_PRIVILEGE_LEVEL", abi::CALLERS_ANY_PRIVILEGE_LEVEL),
    ];
    let levels = [
        ("ERROR", Level::Error),
        ("WARNING", Level::Warning),
        ("INFORMATION", Level::Information),
        ("DEBUGGING", Level::Debugging),
        ("TRACING", Level::Tracing),
    ];
    let callers = callers.map(|(name, value)| fact(format!("HCALL_PLUGIN_CALLERS_{name}"), value));
    let levels = levels.map(|(name, level)| fact(format!("HCALL_PLUGIN_LOG_{name}"), level as u32));
    limits.into_iter().chain(callers).chain(levels).collect()
}

#[rustfmt::skip]
fn layouts() -> Vec<Fact> {
    [
        layout!("hcall_plugin", PluginDescriptor, abi_version, size, name, version, handlers,
            handler_count, handler_size, create, destroy),
        layout!("hcall_plugin_handler", HandlerDescriptor, number, callers, call),
        layout!("hcall_host_functions", HostFunctions, abi_version, size, host_data, log, number,
            arguments, vcpu, cpl, mode, read, write, translate, read_virtual, write_virtual,
            registers, set_registers, request_exit, request_panic, special_registers,
            set_special_registers, inject_interrupt, defer, answer, is_awaited),
        layout!("hcall_plugin_registers", Registers, rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8,
            r9, r10, r11, r12, r13, r14, r15, rip, rflags),
        layout!("hcall_plugin_segment", Segment, base, limit, selector, segment_type, present,
            dpl, db, s, l, g, avl, unusable, reserved),
        layout!("hcall_plugin_descriptor_table", DescriptorTable, base, limit, reserved),
        layout!("hcall_plugin_special_registers", SpecialRegisters, cs, ds, es, fs, gs, ss, tr,
            ldt, gdt, idt, cr0, cr2, cr3, cr4, cr8, efer, apic_base),
    ]
    .concat()
}

fn others() -> Vec<Fact> {
    let last = HypercallNumber::user(0x7fff).get();
    vec![fact("HCALL_PLUGIN_USER(0x7fff)", last)]
}

fn facts() -> Vec<Fact> {
    [constants(), layouts(), others()].concat()
}

#[test]
fn the_c_compiler_agrees_on_every_value() {
    HEADER.expect(&facts());
}

#[test]
fn the_c_compiler_sees_a_wrong_value() {
    HEADER.expect_wrong_values_to_be_seen(&facts());
}

#[test]
fn no_constant_is_left_unchecked() {
    HEADER.expect_all_constants(&constants(), &NO_INTEGERS);
}

#[test]
fn the_example_in_the_header_s_comment_compiles() {
    let (_, rest) = HEADER
        .text
        .split_once(" *\n *\tstatic")
        .expect("the example begins");
    let (example, _) = rest.split_once(" *\tcc -shared").expect("and ends");
    let lines = example.lines().map(|line| line.trim_start_matches(" *"));
    let example: Vec<&str> = lines.collect();
    HEADER.expect_compiled(&format!("static{}\n", example.join("\n")));
}
