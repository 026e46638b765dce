// SPDX-License-Identifier: MIT OR Apache-2.0
//! `include/hcall_plugin.h` says what the crate says: the machine's C compiler checks every
//! constant, size and offset of the header against the crate's.

use hcall_abi::convention::ARGUMENT_COUNT;
use hcall_plugin::abi::{
    self, DescriptorTable, HandlerDescriptor, HostFunctions, PluginDescriptor, Registers, Segment,
    SpecialRegisters, PLUGIN_ABI_VERSION,
};
use hcall_plugin::{HypercallNumber, Level};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::mem::{offset_of, size_of};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const HEADER: &str = include_str!("../include/hcall_plugin.h");

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

/// An integer expression of C, and its value in the crate.
type Fact = (String, i64);

fn fact(expression: impl Into<String>, value: impl TryInto<i64>) -> Fact {
    let value = value.try_into().unwrap_or_else(|_| panic!("fits i64"));
    (expression.into(), value)
}

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

/// Size of a structure, and offsets of all of its fields.
macro_rules! layout {
    ($name:literal, $structure:ty, $($field:ident),+) => {
        vec![
            fact(concat!("sizeof(struct ", $name, ")"), size_of::<$structure>() as u64),
            $(fact(
                concat!("offsetof(struct ", $name, ", ", stringify!($field), ")"),
                offset_of!($structure, $field) as u64,
            )),+
        ]
    };
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

/// A file that compiles if and only if every fact holds.
fn program(facts: &[Fact]) -> String {
    let mut text = String::from("#include <hcall_plugin.h>\n");
    for (expression, value) in facts {
        let constant = match *value {
            i64::MIN => "INT64_MIN".to_owned(),
            value => format!("INT64_C({value})"),
        };
        writeln!(
            text,
            "HCALL_PLUGIN_ASSERT({expression} == {constant}, \"{expression} is {value}\");"
        )
        .expect("a string takes any text");
    }
    text
}

/// Compiles to nothing, with every warning an error.
fn compile(text: &str, name: &str, language: &[&str]) -> Output {
    let source = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.c"));
    std::fs::write(&source, text).expect("the temporary directory is writable");
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    Command::new("cc")
        .args(language)
        .args([
            "-pedantic",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-fsyntax-only",
            "-I",
        ])
        .args([&include, &source])
        .output()
        .expect("there is a C compiler `cc`, as cargo itself needs one")
}

#[track_caller]
fn expect_compiled(output: &Output) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

#[test]
fn the_c_compiler_agrees_on_every_value() {
    let facts = [constants(), layouts(), others()].concat();
    expect_compiled(&compile(&program(&facts), "every_value", &["-std=c11"]));
}

#[test]
fn the_c_compiler_sees_a_wrong_value() {
    for (expression, value) in [constants(), layouts(), others()].concat() {
        let wrong = program(&[(expression.clone(), value.wrapping_add(1))]);
        let output = compile(&wrong, "wrong_value", &["-std=c11"]);
        assert!(!output.status.success(), "{expression} passed with another");
    }
}

#[test]
fn no_constant_is_left_unchecked() {
    let checked: BTreeSet<String> = constants().into_iter().map(|(name, _)| name).collect();
    let defined: BTreeSet<String> = HEADER
        .lines()
        .filter_map(|line| line.strip_prefix("#define ")?.split_whitespace().next())
        .filter(|name| !NO_INTEGERS.contains(name))
        .map(str::to_owned)
        .collect();
    assert_eq!(checked, defined);
}

#[test]
fn the_example_in_the_header_s_comment_compiles() {
    let (_, rest) = HEADER
        .split_once(" *\n *\tstatic")
        .expect("the example begins");
    let (example, _) = rest.split_once(" *\tcc -shared").expect("and ends");
    let lines = example.lines().map(|line| line.trim_start_matches(" *"));
    let example: Vec<&str> = lines.collect();
    let text = format!("#include <hcall_plugin.h>\nstatic{}\n", example.join("\n"));
    expect_compiled(&compile(&text, "example", &["-std=c11"]));
}
