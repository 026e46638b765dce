// SPDX-License-Identifier: MIT OR Apache-2.0
//! From when to when a plugin is in memory, whatever happens to its file.

use crate::building::{build_c, is_mapped, load, place};
use crate::fake_vcpu::{call, host, FakeVcpu};
use hcall_vmm::{Disposition, HypercallNumber, Transport};
use std::fs;
use std::path::PathBuf;

const SUM: HypercallNumber = HypercallNumber::user(0x300);
const WHO: HypercallNumber = HypercallNumber::user(0x303);

/// A plugin that makes the returned file when it is destroyed.
fn plugin_that_tells() -> (PathBuf, PathBuf) {
    let destroyed = place("destroyed");
    let definition = format!("-DDESTROYED=\"{}\"", destroyed.display());
    let object = build_c("vmm-host/tests/plugin/behaviour.c", &[&definition]);
    (object, destroyed)
}

#[test]
fn the_last_handler_takes_it_along() {
    let (object, destroyed) = plugin_that_tells();
    let (host, _memory) = host();
    let table = host.hypercalls();
    let plugin = load(&object);
    for number in [SUM, WHO] {
        let handler = plugin.handler(number).expect("it has one");
        table.register(number, handler).unwrap();
    }
    drop(plugin);
    assert!(is_mapped(&object));
    table.remove(WHO).unwrap();
    assert_eq!(call(&host, SUM.get(), [0; 4]), i64::from(SUM.get()));
    assert!(!destroyed.exists() && is_mapped(&object));
    table.remove(SUM).unwrap();
    assert!(destroyed.exists() && !is_mapped(&object));
}

/// A vCPU remembers the table of its last call: what was removed is there until the next.
#[test]
fn a_vcpu_that_remembers_it_keeps_it() {
    let (object, destroyed) = plugin_that_tells();
    let (host, _memory) = host();
    load(&object).register(host.hypercalls()).unwrap();
    let mut calls = host.vcpu_calls(0);
    let mut vcpu = FakeVcpu::new();
    let mut sum = || {
        vcpu.trap(SUM.get().into(), [0; 4]);
        let disposition = calls.dispatch(&mut vcpu, Transport::Instruction);
        assert_eq!(disposition, Disposition::Resume);
        vcpu.answer()
    };
    assert_eq!(sum(), i64::from(SUM.get()));
    let plugin = load(&object);
    for number in plugin.numbers() {
        host.hypercalls().remove(number).unwrap();
    }
    drop(plugin);
    // The second load's own end.
    fs::remove_file(&destroyed).unwrap();
    assert!(is_mapped(&object));
    assert!(sum() < 0);
    assert!(destroyed.exists() && !is_mapped(&object));
}

#[test]
fn what_happens_to_the_file_does_not_matter() {
    let original = build_c("vmm-host/tests/plugin/behaviour.c", &[]);
    let other = build_c("vmm-host/tests/plugin/behaviour.c", &["-DOWN_STATE=70"]);
    let (host, _memory) = host();
    load(&original).register(host.hypercalls()).unwrap();
    assert_eq!(call(&host, WHO.get(), [5, 0, 0, 0]), 7);

    fs::copy(&other, &original).expect("the file is written over");
    assert_eq!(call(&host, WHO.get(), [5, 0, 0, 0]), 8);
    fs::File::create(&original).expect("the file is truncated");
    assert_eq!(call(&host, WHO.get(), [5, 0, 0, 0]), 9);
    assert_eq!(call(&host, SUM.get(), [1; 4]), 4 + i64::from(SUM.get()));
    fs::remove_file(&original).expect("the file is removed");
    assert_eq!(call(&host, WHO.get(), [5, 0, 0, 0]), 10);
}

/// Each load is its own, whatever was at its descriptor's number before.
#[test]
fn one_after_the_other() {
    let objects = [3, 30].map(|own| {
        let definition = format!("-DOWN_STATE={own}");
        (
            own,
            build_c("vmm-host/tests/plugin/behaviour.c", &[&definition]),
        )
    });
    let (host, _memory) = host();
    let table = host.hypercalls();
    for (own, object) in objects.iter().cycle().take(20) {
        let handler = load(object).handler(WHO).expect("it has one");
        match table.contains(WHO) {
            false => table.register(WHO, handler).unwrap(),
            true => table.replace(WHO, handler).unwrap(),
        }
        assert_eq!(call(&host, WHO.get(), [5, 0, 0, 0]), *own);
        assert!(is_mapped(object));
    }
    table.remove(WHO).unwrap();
    for (_, object) in &objects {
        assert!(!is_mapped(object));
    }
}

/// As after a thread-local value with a destructor: the object is still there when its plugin
/// is not, and the next file has the number of its descriptor.
#[test]
fn an_object_that_stays_is_not_taken_for_the_next() {
    let source = "vmm-host/tests/plugin/behaviour.c";
    let staying = build_c(source, &["-DOWN_STATE=3", "-Wl,-z,nodelete"]);
    let next = build_c(source, &["-DOWN_STATE=30"]);
    let (host, _memory) = host();
    let table = host.hypercalls();
    for (object, own) in [(&staying, 3), (&next, 30), (&staying, 3)] {
        let handler = load(object).handler(WHO).expect("it has one");
        table.register(WHO, handler).unwrap();
        assert_eq!(call(&host, WHO.get(), [5, 0, 0, 0]), own);
        table.remove(WHO).unwrap();
    }
    assert!(is_mapped(&staying) && !is_mapped(&next));
}
