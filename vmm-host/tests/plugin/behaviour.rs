// SPDX-License-Identifier: MIT OR Apache-2.0
//! What handlers of a plugin in C see, ask for and answer.

use crate::building::{build_c, load};
use crate::fake_vcpu::{call, host, FakeVcpu, MEMORY_SIZE};
use hcall_vmm::{
    Callers, Disposition, Errno, HypercallHost, HypercallNumber, StopReason, TableError, Transport,
};
use kvm_bindings::kvm_sregs;
use std::sync::OnceLock;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const SUM: HypercallNumber = HypercallNumber::user(0x300);
const RETURN: HypercallNumber = HypercallNumber::user(0x301);
const COPY: HypercallNumber = HypercallNumber::user(0x302);
const WHO: HypercallNumber = HypercallNumber::user(0x303);
const SET_R15: HypercallNumber = HypercallNumber::user(0x304);
const END: HypercallNumber = HypercallNumber::user(0x305);
const MISUSE: HypercallNumber = HypercallNumber::user(0x306);

fn errno(errno: Errno) -> i64 {
    -i64::from(errno.get())
}

fn object() -> &'static std::path::Path {
    static OBJECT: OnceLock<std::path::PathBuf> = OnceLock::new();
    OBJECT.get_or_init(|| build_c("vmm-host/tests/plugin/behaviour.c", &[]))
}

fn host_with_plugin() -> (HypercallHost, GuestMemoryMmap) {
    let (host, memory) = host();
    load(object())
        .register(host.hypercalls())
        .expect("the numbers are free");
    (host, memory)
}

#[test]
fn a_plugin_says_what_it_is() {
    let plugin = load(object());
    assert_eq!((plugin.name(), plugin.version()), ("behaviour", "3.1"));
    assert_eq!(plugin.numbers().count(), 8);
    assert_eq!(plugin.callers(WHO), Some(Callers::AnyPrivilegeLevel));
    assert_eq!(plugin.callers(SET_R15), Some(Callers::KernelOnly));
    assert_eq!(plugin.callers(SUM), None);
    assert!(plugin.handler(HypercallNumber::user(0)).is_none());
}

#[test]
fn arguments_arrive_and_answers_come_back() {
    let (host, _memory) = host_with_plugin();
    for number in [SUM.get(), 0x3000] {
        let due = 4321 + i64::from(number);
        assert_eq!(call(&host, number, [1, 20, 300, 4000]), due);
    }
    let stats = host.counters().read();
    assert_eq!((stats.calls, stats.failed, stats.panicked), (2, 0, 0));
}

#[test]
fn what_is_no_result_reaches_the_guest_as_eio() {
    let (host, _memory) = host_with_plugin();
    for (value, due) in [
        (0, 0),
        (i64::MAX, i64::MAX),
        (-1, errno(Errno::EPERM)),
        (-4095, -4095),
        (-1000, errno(Errno::ENOSYS)),
        (-4096, errno(Errno::EIO)),
        (-1 << 32, errno(Errno::EIO)),
        (i64::MIN + 1, errno(Errno::EIO)),
    ] {
        let answer = call(&host, RETURN.get(), [value as u64, 0, 0, 0]);
        assert_eq!(answer, due, "{value:#x}");
    }
    let stats = host.counters().read();
    assert_eq!((stats.calls, stats.failed, stats.panicked), (8, 6, 0));
}

#[test]
fn what_a_handler_caught_is_counted_as_a_panic() {
    let (host, _memory) = host_with_plugin();
    let answer = call(&host, RETURN.get(), [i64::MIN as u64, 0, 0, 0]);
    assert_eq!(answer, errno(Errno::EIO));
    let stats = host.counters().read();
    assert_eq!((stats.failed, stats.panicked), (0, 1));
    assert_eq!(call(&host, RETURN.get(), [5, 0, 0, 0]), 5);
}

#[test]
fn guest_memory_is_copied_within_its_bounds() {
    let (host, memory) = host_with_plugin();
    let text: Vec<u8> = (0..5000).map(|place| place as u8).collect();
    let end = MEMORY_SIZE as u64;
    for is_virtual in [0, 1] {
        memory.write_slice(&text, GuestAddress(0x1001)).unwrap();
        let copy = |from, to, length| copy(&host, [from, to, length, is_virtual]);
        assert_eq!(copy(0x1001, 0x8003, 5000), 5000);
        let mut copied = vec![0; text.len()];
        memory
            .read_slice(&mut copied, GuestAddress(0x8003))
            .unwrap();
        assert_eq!(copied, text);
        memory
            .write_slice(&vec![0; 5000], GuestAddress(0x8003))
            .unwrap();

        for (from, to, length) in [
            (end - 4, 0, 8),
            (0, end - 4, 8),
            (end, 0, 1),
            (u64::MAX, 0, 2),
            (0, u64::MAX - 1, 4),
            (0x1000, end - 4096, 4097),
        ] {
            let answer = copy(from, to, length);
            assert_eq!(answer, errno(Errno::EFAULT), "{from:#x} {to:#x} {length}");
        }
        // All or nothing, also where the first page is there.
        let mut last = [0xff; 4096];
        memory
            .read_slice(&mut last, GuestAddress(end - 4096))
            .unwrap();
        assert_eq!(last, [0; 4096]);
        assert_eq!(copy(0x1000, 0x1000, 0), 0);
    }
}

/// Makes the call of a guest whose paging is off.
fn copy(host: &HypercallHost, arguments: [u64; 4]) -> i64 {
    let mut vcpu = FakeVcpu::new();
    vcpu.special.set(Some(kvm_sregs::default()));
    vcpu.trap(COPY.get().into(), arguments);
    let disposition = host.dispatch(&mut vcpu, 0, Transport::Instruction);
    assert_eq!(disposition, Disposition::Resume);
    vcpu.answer()
}

/// Where KVM does not say how addresses are translated.
#[test]
fn guest_virtual_memory_is_kvm_s_to_say() {
    let (host, _memory) = host_with_plugin();
    assert_eq!(call(&host, COPY.get(), [0, 0, 1, 1]), errno(Errno::EIO));
}

#[test]
fn core_calls_are_no_plugin_s() {
    let core = format!("-DSECOND={}", hcall_vmm::abi::number::ECHO.get());
    let plugin = load(&build_c("vmm-host/tests/plugin/faulty.c", &[&core]));
    let (host, _memory) = host();
    let refused = plugin.register(host.hypercalls());
    assert_eq!(
        refused,
        Err(TableError::CoreCall(hcall_vmm::abi::number::ECHO))
    );
    assert!(!host.hypercalls().contains(SUM));
}

#[test]
fn a_handler_sees_who_calls() {
    let (host, _memory) = host_with_plugin();
    let mut vcpu = FakeVcpu::new();
    vcpu.cpl = 3;
    for (what, due) in [
        (0, 6),
        (1, 3),
        (2, 64),
        (3, 0x1234),
        (4, 0x1000),
        (6, errno(Errno::EINVAL)),
    ] {
        vcpu.trap(WHO.get().into(), [what, 0, 0, 0]);
        let disposition = host.dispatch(&mut vcpu, 6, Transport::Instruction);
        assert_eq!(disposition, Disposition::Resume);
        assert_eq!(vcpu.answer(), due, "{what}");
    }
    vcpu.trap_32(WHO.get().into(), [2, 0, 0, 0]);
    assert_eq!(
        host.dispatch(&mut vcpu, 6, Transport::Instruction),
        Disposition::Resume
    );
    assert_eq!(vcpu.answer(), 32);
}

#[test]
fn the_plugin_says_who_may_call() {
    let (host, _memory) = host();
    let host = host.with_callers(Callers::AnyPrivilegeLevel);
    load(object()).register(host.hypercalls()).unwrap();
    let mut vcpu = FakeVcpu::new();
    vcpu.cpl = 3;
    vcpu.trap(SET_R15.get().into(), [1, 0, 0, 0]);
    let _ = host.dispatch(&mut vcpu, 0, Transport::Instruction);
    assert_eq!(vcpu.answer(), errno(Errno::EPERM));
    vcpu.trap(SUM.get().into(), [1, 0, 0, 0]);
    let _ = host.dispatch(&mut vcpu, 0, Transport::Instruction);
    assert_eq!(vcpu.answer(), 1 + i64::from(SUM.get()));
}

#[test]
fn registers_are_set_but_for_the_call_s() {
    let (host, _memory) = host_with_plugin();
    let mut vcpu = FakeVcpu::new();
    vcpu.trap(SET_R15.get().into(), [77, 0, 0, 0]);
    let before = vcpu.registers();
    let _ = host.dispatch(&mut vcpu, 0, Transport::Instruction);
    assert_eq!(vcpu.answer(), 0);
    let after = vcpu.registers();
    assert_eq!(after.r15, 77);
    assert_eq!((after.rax, after.rip), (before.rax, before.rip));
    assert_ne!(vcpu.dirty_registers(), 0);
}

#[test]
fn a_handler_ends_the_vm() {
    let (host, _memory) = host_with_plugin();
    for (how, due) in [
        (0, StopReason::Exit(42)),
        (1, StopReason::Panic("the plugin says so \u{fffd}".into())),
    ] {
        let mut vcpu = FakeVcpu::new();
        vcpu.trap(END.get().into(), [how, 0, 0, 0]);
        let disposition = host.dispatch(&mut vcpu, 0, Transport::Instruction);
        assert_eq!(disposition, Disposition::Stop(due));
    }
}

#[test]
fn a_mistake_is_answered_with_an_errno() {
    let (host, _memory) = host_with_plugin();
    for (what, due) in [
        (0, Errno::EFAULT),
        (1, Errno::EFAULT),
        (2, Errno::EINVAL),
        (3, Errno::EFAULT),
        (4, Errno::EFAULT),
        (5, Errno::EFAULT),
        (6, Errno::EFAULT),
        (7, Errno::EFAULT),
    ] {
        let answer = call(&host, MISUSE.get(), [what, 0, 0, 0]);
        assert_eq!(answer, errno(due), "{what}");
    }
    for what in [8, 9] {
        assert_eq!(call(&host, MISUSE.get(), [what, 0, 0, 0]), 0, "{what}");
    }
}

#[test]
fn all_handlers_are_registered_or_none() {
    let (host, _memory) = host();
    let table = host.hypercalls();
    table.register(END, |_| Ok(1)).unwrap();
    let plugin = load(object());
    assert_eq!(plugin.register(table), Err(TableError::Duplicate(END)));
    for number in plugin.numbers().filter(|number| *number != END) {
        assert!(!table.contains(number), "{number}");
    }
    assert_eq!(call(&host, END.get(), [0; 4]), 1);
}

#[test]
fn one_handler_can_take_another_s_place() {
    let (host, _memory) = host();
    let table = host.hypercalls();
    table.register(SUM, |_| Ok(1)).unwrap();
    let handler = load(object()).handler(SUM).expect("it has one");
    table.replace(SUM, handler).unwrap();
    assert_eq!(call(&host, SUM.get(), [0; 4]), i64::from(SUM.get()));
}

/// Two copies of one file are two plugins: nothing of a plugin is shared by several VMs.
#[test]
fn two_loads_of_a_file_share_nothing() {
    let (first, _memory) = host_with_plugin();
    let (second, _memory) = host_with_plugin();
    assert_eq!(call(&first, WHO.get(), [5, 0, 0, 0]), 7);
    assert_eq!(call(&first, WHO.get(), [5, 0, 0, 0]), 8);
    assert_eq!(call(&second, WHO.get(), [5, 0, 0, 0]), 7);
}
