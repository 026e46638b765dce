// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest's half of a ring, whose host writes what it likes.

use crate::input::Input;
use crate::memory::Watched;
use hcall_abi::ring::{RingEntry, RingLayout, COMPLETION_TAIL};
use hcall_abi::ring_protocol::{GuestHalf, HostHalf};
use hcall_vmm::ring::HostRegion;
use vm_memory::{Bytes, GuestAddress, GuestMemory};

/// Most things that happen in an input.
const STEPS: usize = 64;

/// A ring of `layout` at `place`; the guest never has more calls outstanding than fit, nor
/// believes in completions of others, and writes to nothing of the host's.
pub(crate) fn guest_half(memory: &Watched, place: u64, layout: RingLayout, input: &mut Input<'_>) {
    let region = || {
        let slice = memory
            .memory
            .get_slice(GuestAddress(place), layout.bytes() as usize);
        HostRegion::new(slice.expect("the ring is in memory"), layout).expect("it is long enough")
    };
    HostHalf::prepare(&region());
    let mut half = GuestHalf::new(region(), layout);
    let mut expected = 0;
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        match input.u8() % 8 {
            0 | 1 => {
                let entry = RingEntry::from_words([input.u8().into(); 8]);
                let has_room = expected < layout.entries();
                assert_eq!(half.submit(&entry).is_ok(), has_room);
                expected += u32::from(has_room);
            }
            2 => {
                let _ = half.publish();
            }
            3 => {
                if half.complete().is_some() {
                    assert!(expected > 0, "a completion of nothing");
                    expected -= 1;
                }
            }
            4 => {
                let _ = half.listen();
            }
            5 => {
                let tail = input.number(&[0, u64::from(layout.entries())]) as u32;
                write(memory, place + COMPLETION_TAIL, &tail.to_le_bytes());
            }
            _ => {
                let offset = u64::from(input.u16()) % layout.bytes();
                let room = (layout.bytes() - offset).min(32) as usize;
                write(memory, place + offset, input.bytes(room));
            }
        }
        assert_eq!(half.outstanding(), expected);
        let _ = half.status();
    }
}

/// As the host does it: nobody keeps what stood there.
fn write(memory: &Watched, address: u64, bytes: &[u8]) {
    let written = memory.memory.write_slice(bytes, GuestAddress(address));
    written.expect("the ring is in memory");
}
