// SPDX-License-Identifier: MIT OR Apache-2.0
//! The core calls against guest memory, without KVM.

use crate::fake_vcpu::{call, host, FakeVcpu, MEMORY_SIZE};
use hcall_abi::cpuid::Features;
use hcall_abi::layout::GuestInfo;
use hcall_abi::number::{
    CONSOLE_WRITE, CORE_CALLS, ECHO, FEATURES, GUEST_INFO, PANIC, PROBE, RANDOM, STATS, TIME,
    TSC_KHZ,
};
use hcall_abi::version::PROBE_RESULT;
use hcall_abi::{Errno, Transport, ABI_VERSION};
use hcall_vmm::core_calls::CoreServices;
use hcall_vmm::{Disposition, HypercallHost, StopReason};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

#[derive(Clone, Default)]
pub(crate) struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A console whose other end is gone.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn core_host(console: impl Write + Send + 'static) -> (HypercallHost, GuestMemoryMmap) {
    let (host, memory) = host();
    let services = CoreServices {
        console: Box::new(console),
        tsc_khz: Some(2_000_000),
        memory_bytes: MEMORY_SIZE as u64,
        vcpu_count: 1,
    };
    (host.with_core_calls(services), memory)
}

fn errno(errno: Errno) -> i64 {
    -i64::from(errno.get())
}

#[test]
fn every_core_call_of_this_version_has_a_handler() {
    let (host, _memory) = core_host(Sink::default());
    for (number, name) in CORE_CALLS {
        let reserved = matches!(name, "RING_SETUP" | "RING_TEARDOWN");
        assert_eq!(host.hypercalls().contains(number), !reserved, "{name}");
    }
}

#[test]
fn simple_answers() {
    let (host, _memory) = core_host(Sink::default());
    assert_eq!(call(&host, PROBE.get(), [0; 4]), PROBE_RESULT as i64);
    let mut vcpu = FakeVcpu::new();
    vcpu.trap_32(PROBE.get().into(), [0; 4]);
    let disposition = host.dispatch(&mut vcpu, 0, Transport::Instruction);
    assert_eq!(disposition, Disposition::Resume);
    let version = i64::from(ABI_VERSION.get());
    assert_eq!(vcpu.answer(), version, "the magic has no room in 32 bits");
    let features = Features::CORE_CALLS.union(Features::BATCH).bits();
    assert_eq!(call(&host, FEATURES.get(), [0; 4]), i64::from(features));
    assert_eq!(call(&host, FEATURES.get(), [1, 0, 0, 0]), 0);
    assert_eq!(call(&host, ECHO.get(), [99, 0, 0, 0]), 99);
    assert_eq!(
        call(&host, ECHO.get(), [1 << 63, 0, 0, 0]),
        errno(Errno::ERANGE)
    );
    assert_eq!(call(&host, TSC_KHZ.get(), [0; 4]), 2_000_000);
}

#[test]
fn console_takes_exactly_what_it_was_given() {
    let sink = Sink::default();
    let (host, memory) = core_host(sink.clone());
    let text: Vec<u8> = (0..MEMORY_SIZE).map(|index| index as u8).collect();
    memory.write_slice(&text, GuestAddress(0)).unwrap();
    for (gpa, length) in [
        (0, 1),
        (1, 4096),
        (4095, 4097),
        (0, MEMORY_SIZE as u64),
        (5, 0),
    ] {
        sink.0.lock().unwrap().clear();
        assert_eq!(
            call(&host, CONSOLE_WRITE.get(), [gpa, length, 0, 0]),
            length as i64
        );
        let written = sink.0.lock().unwrap();
        assert_eq!(*written, text[gpa as usize..(gpa + length) as usize]);
    }
}

#[test]
fn nothing_is_written_when_the_buffer_is_not_all_memory() {
    let sink = Sink::default();
    let (host, memory) = core_host(sink.clone());
    let end = MEMORY_SIZE as u64;
    for (gpa, length) in [
        (end - 8, 9),
        (end, 1),
        (u64::MAX, 2),
        (u64::MAX - 1, 1),
        (1 << 40, 1),
    ] {
        assert_eq!(
            call(&host, CONSOLE_WRITE.get(), [gpa, length, 0, 0]),
            errno(Errno::EFAULT)
        );
        assert_eq!(
            call(&host, RANDOM.get(), [gpa, length, 0, 0]),
            errno(Errno::EFAULT)
        );
        assert_eq!(
            call(&host, PANIC.get(), [gpa, length, 0, 0]),
            errno(Errno::EFAULT)
        );
    }
    for gpa in [end - 15, end, u64::MAX] {
        assert_eq!(
            call(&host, GUEST_INFO.get(), [gpa, 16, 0, 0]),
            errno(Errno::EFAULT)
        );
        assert_eq!(
            call(&host, STATS.get(), [gpa, 16, 0, 0]),
            errno(Errno::EFAULT)
        );
        assert_eq!(
            call(&host, TIME.get(), [0, gpa, 0, 0]),
            errno(Errno::EFAULT)
        );
    }
    assert!(sink.0.lock().unwrap().is_empty());
    let mut tail = [0; 16];
    memory
        .read_slice(&mut tail, GuestAddress(end - 16))
        .unwrap();
    assert_eq!(tail, [0; 16]);
}

#[test]
fn buffers_above_the_limit_are_refused() {
    let (host, _memory) = core_host(Sink::default());
    for number in [CONSOLE_WRITE, RANDOM, PANIC, GUEST_INFO, STATS] {
        for length in [64 * 1024 + 1, 1 << 32, u64::MAX] {
            assert_eq!(
                call(&host, number.get(), [0, length, 0, 0]),
                errno(Errno::EMSGSIZE)
            );
        }
    }
}

#[test]
fn console_that_fails_is_an_error_and_not_the_end() {
    let (host, _memory) = core_host(Closed);
    assert_eq!(
        call(&host, CONSOLE_WRITE.get(), [0, 1, 0, 0]),
        errno(Errno::EIO)
    );
    assert_eq!(call(&host, ECHO.get(), [1, 0, 0, 0]), 1);
}

#[test]
fn structures_are_cut_to_the_callers_length() {
    let (host, memory) = core_host(Sink::default());
    let size = size_of::<GuestInfo>() as u64;
    assert_eq!(call(&host, GUEST_INFO.get(), [0, 4096, 0, 0]), size as i64);
    let version: u32 = memory.read_obj(GuestAddress(0)).unwrap();
    assert_eq!(version, 1);
    assert_eq!(call(&host, GUEST_INFO.get(), [0x100, 4, 0, 0]), 4);
    let (first, second): (u32, u32) = (
        memory.read_obj(GuestAddress(0x100)).unwrap(),
        memory.read_obj(GuestAddress(0x104)).unwrap(),
    );
    assert_eq!((first, second), (1, 0));
    assert_eq!(call(&host, GUEST_INFO.get(), [u64::MAX, 0, 0, 0]), 0);
}

#[test]
fn clocks() {
    let (host, memory) = core_host(Sink::default());
    assert_eq!(call(&host, TIME.get(), [0, 0, 0, 0]), 0);
    let seconds: u64 = memory.read_obj(GuestAddress(0)).unwrap();
    assert!(seconds > 1_700_000_000);
    assert_eq!(call(&host, TIME.get(), [1, 0, 0, 0]), 0);
    let nanoseconds: u32 = memory.read_obj(GuestAddress(8)).unwrap();
    assert!(nanoseconds < 1_000_000_000);
    assert_eq!(call(&host, TIME.get(), [2, 0, 0, 0]), errno(Errno::EINVAL));
}

#[test]
fn panic_message_that_is_not_text_still_arrives() {
    let (host, memory) = core_host(Sink::default());
    memory
        .write_slice(b"bad \xff\x1b[2J", GuestAddress(0))
        .unwrap();
    let mut vcpu = FakeVcpu::new();
    vcpu.trap(PANIC.get().into(), [0, 9, 0, 0]);
    let disposition = host.dispatch(&mut vcpu, 0, Transport::Instruction);
    let expected = StopReason::Panic("bad \u{fffd}\\u{1b}[2J".into());
    assert_eq!(disposition, Disposition::Stop(expected));
}
