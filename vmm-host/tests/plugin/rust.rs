// SPDX-License-Identifier: MIT OR Apache-2.0
//! The example in Rust: its panic stays its own.

use crate::building::{build_rust_example, load};
use crate::fake_vcpu::{call, host, MEMORY_SIZE};
use hcall_vmm::{Errno, HypercallNumber};
use vm_memory::{Bytes, GuestAddress};

const DIVIDE: u32 = HypercallNumber::user(0x10).get();
const CAPITALS: u32 = HypercallNumber::user(0x11).get();
const CHECKSUM: u32 = HypercallNumber::user(0x12).get();

fn errno(errno: Errno) -> i64 {
    -i64::from(errno.get())
}

#[test]
fn the_example_in_rust() {
    let object = build_rust_example();
    let (host, memory) = host();
    let plugin = load(&object);
    assert_eq!(plugin.name(), "example-rust");
    plugin.register(host.hypercalls()).unwrap();

    assert_eq!(call(&host, DIVIDE, [84, 2, 0, 0]), 42);
    let text = b"a text of the guest";
    memory.write_slice(text, GuestAddress(0x100)).unwrap();
    assert_eq!(call(&host, CAPITALS, [0x100, text.len() as u64, 0, 0]), 19);
    let mut changed = [0; 19];
    memory
        .read_slice(&mut changed, GuestAddress(0x100))
        .unwrap();
    assert_eq!(&changed, b"A TEXT OF THE GUEST");
    for (gpa, length, due) in [
        (0x100, 4097, Errno::EMSGSIZE),
        (0x100, u64::MAX, Errno::EMSGSIZE),
        (MEMORY_SIZE as u64 - 1, 2, Errno::EFAULT),
    ] {
        assert_eq!(call(&host, CAPITALS, [gpa, length, 0, 0]), errno(due));
    }
    assert_eq!(host.counters().read().panicked, 0);

    // A thread of its own answers.
    let sum: i64 = text.to_ascii_uppercase().into_iter().map(i64::from).sum();
    for _ in 0..100 {
        assert_eq!(call(&host, CHECKSUM, [0x100, text.len() as u64, 0, 0]), sum);
    }
    assert_eq!(
        call(&host, CHECKSUM, [0, 4097, 0, 0]),
        errno(Errno::EMSGSIZE)
    );

    // A division by zero panics.
    assert_eq!(call(&host, DIVIDE, [84, 0, 0, 0]), errno(Errno::EIO));
    assert_eq!(host.counters().read().panicked, 1);
    assert_eq!(call(&host, DIVIDE, [84, 4, 0, 0]), 21);

    // And it goes: nothing of it is called again.
    for number in plugin.numbers() {
        host.hypercalls().remove(number).unwrap();
    }
    drop(plugin);
    assert_eq!(call(&host, DIVIDE, [84, 2, 0, 0]), errno(Errno::ENOSYS));
}
