// SPDX-License-Identifier: MIT OR Apache-2.0
//! Plugins that were built with the header as it was in the beginning, of which
//! `beginning/hcall_plugin.h` is a copy: they load, and find every function where it was.

use crate::building::{build_c_against, load};
use crate::fake_vcpu::{call, host, FakeVcpu};
use hcall_vmm::{Disposition, HypercallNumber, Transport};
use vm_memory::{Bytes, GuestAddress};

const BEGINNING: &str = "vmm-host/tests/plugin/beginning";

#[test]
fn the_header_is_an_older_one() {
    let text = include_str!("beginning/hcall_plugin.h");
    assert!(text.contains("sizeof(struct hcall_host_functions) == 136"));
    assert!(text.contains("#define HCALL_PLUGIN_ABI_VERSION 1u"));
    assert!(!text.contains("defer"));
}

#[test]
fn the_example_of_then_works() {
    const ADD: u32 = HypercallNumber::user(0x20).get();
    const SUM: u32 = HypercallNumber::user(0x21).get();
    let (host, memory) = host();
    let object = build_c_against(BEGINNING, "examples/plugin-c/plugin.c", &[]);
    load(&object).register(host.hypercalls()).unwrap();
    assert_eq!(call(&host, ADD, [2, 40, 0, 0]), 42);
    memory.write_slice(&[1, 2, 3], GuestAddress(0x100)).unwrap();
    assert_eq!(call(&host, SUM, [0x100, 3, 0, 0]), 6);
}

/// The first of the functions and the last.
#[test]
fn every_function_is_where_it_was() {
    const WHO: HypercallNumber = HypercallNumber::user(0x303);
    const END: HypercallNumber = HypercallNumber::user(0x305);
    let (host, _memory) = host();
    let object = build_c_against(BEGINNING, "vmm-host/tests/plugin/behaviour.c", &[]);
    // Its create() logs.
    load(&object).register(host.hypercalls()).unwrap();
    for (what, due) in [(0, 0), (2, 64), (3, 0x1234), (4, 0x1000)] {
        assert_eq!(call(&host, WHO.get(), [what, 0, 0, 0]), due, "{what}");
    }
    let mut vcpu = FakeVcpu::new();
    vcpu.trap(END.get().into(), [1, 0, 0, 0]);
    let disposition = host.dispatch(&mut vcpu, 0, Transport::Instruction);
    assert!(matches!(disposition, Disposition::Stop(_)));
}
