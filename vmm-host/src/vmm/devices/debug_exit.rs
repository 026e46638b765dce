// SPDX-License-Identifier: MIT OR Apache-2.0
//! The port by which a test image ends the VM: QEMU's isa-debug-exit, where kvm-unit-tests
//! have it.

use std::ops::RangeInclusive;

/// Its four ports.
pub(super) const PORTS: RangeInclusive<u16> = 0xf4..=0xf7;

/// The process's exit status for what was written: the value and a one after it, of which
/// a status has the low 8 bits. It is never 0.
pub(super) fn status(written: &[u8]) -> u8 {
    let lowest = written.first().copied().unwrap_or(0);
    (lowest << 1) | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_the_value_twice_and_one_whatever_the_size() {
        assert_eq!(status(&[0]), 1);
        assert_eq!(status(&[42, 0]), 85);
        assert_eq!(status(&0x1234_5601_u32.to_le_bytes()), 3);
        assert_eq!(status(&[0xff]), 0xff);
    }
}
