// SPDX-License-Identifier: MIT OR Apache-2.0
//! As much of AML, the encoding of what a DSDT defines (ACPI 6.5, chapter 20), and of
//! resource descriptors (6.4) as the machine needs.

/// A name in the namespace: always four characters.
type Segment = [u8; 4];

const NAME: [u8; 1] = [0x08];
const SCOPE: [u8; 1] = [0x10];
const BUFFER: [u8; 1] = [0x11];
const PACKAGE: [u8; 1] = [0x12];
const DEVICE: [u8; 2] = [0x5b, 0x82];
const BYTE: u8 = 0x0a;
const STRING: u8 = 0x0d;
/// Before a name: it is one from the root.
const ROOT: [u8; 1] = [b'\\'];
/// Values that are opcodes themselves.
const ZERO: u8 = 0;
const ONE: u8 = 1;

/// "PNP0501" as an integer: a serial port that is compatible with the 16550A.
pub(super) const PNP_16550: [u8; 5] = [0x0c, 0x41, 0xd0, 0x05, 0x01];

/// `Name(name, value)`.
pub(super) fn name(name: Segment, value: &[u8]) -> Vec<u8> {
    [&NAME[..], &name, value].concat()
}

/// `Device(name) { content }`.
pub(super) fn device(name: Segment, content: &[u8]) -> Vec<u8> {
    [&DEVICE[..], &with_length(&[&name, content])].concat()
}

/// `Scope(\name) { content }`.
pub(super) fn scope(name: Segment, content: &[u8]) -> Vec<u8> {
    [&SCOPE[..], &with_length(&[&ROOT, &name, content])].concat()
}

/// `Package { values }`.
pub(super) fn package(values: &[u8]) -> Vec<u8> {
    let elements: Vec<u8> = values.iter().flat_map(|value| byte(*value)).collect();
    [
        &PACKAGE[..],
        &with_length(&[&[values.len() as u8], &elements]),
    ]
    .concat()
}

/// An integer below 256.
pub(super) fn byte(value: u8) -> Vec<u8> {
    match value {
        ZERO | ONE => vec![value],
        _ => vec![BYTE, value],
    }
}

/// A string.
pub(super) fn string(text: &str) -> Vec<u8> {
    [&[STRING], text.as_bytes(), &[0]].concat()
}

/// `ResourceTemplate() { descriptors }`, at most 253 bytes of them.
pub(super) fn resources(descriptors: &[&[u8]]) -> Vec<u8> {
    /// The end, with a checksum that says there is none.
    const END: [u8; 2] = [0x79, 0];
    let content = [&descriptors.concat()[..], &END].concat();
    let size = byte(content.len() as u8);
    [&BUFFER[..], &with_length(&[&size, &content])].concat()
}

/// An edge-triggered interrupt, active high, not shared.
pub(super) fn edge_interrupt(number: u32) -> Vec<u8> {
    /// The descriptor's type and the length of what follows.
    const EXTENDED_INTERRUPT: [u8; 3] = [0x89, 6, 0];
    const CONSUMER: u8 = 1;
    const EDGE: u8 = 1 << 1;
    const COUNT: u8 = 1;
    let flags = CONSUMER | EDGE;
    [
        &EXTENDED_INTERRUPT[..],
        &[flags, COUNT],
        &number.to_le_bytes(),
    ]
    .concat()
}

/// `count` ports from `first` on, at that place only.
pub(super) fn ports(first: u16, count: u8) -> Vec<u8> {
    /// The descriptor's type with its length, and that all 16 bits of a port count.
    const PORTS: [u8; 2] = [0x47, 1];
    const ALIGNMENT: u8 = 1;
    let place = first.to_le_bytes();
    [&PORTS[..], &place, &place, &[ALIGNMENT, count]].concat()
}

/// The parts, with the length of them and of itself before them.
fn with_length(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = parts.concat();
    bytes.splice(0..0, length(bytes.len()));
    bytes
}

/// A length that counts itself: 6 bits in one byte, or 4 bits in the first and 8 in each of
/// those that follow, whose number stands in the first one's upper two bits.
fn length(content: usize) -> Vec<u8> {
    if content + 1 < 1 << 6 {
        return vec![(content + 1) as u8];
    }
    let following: usize = if content + 2 < 1 << 12 { 1 } else { 2 };
    let total = content + 1 + following;
    let mut bytes = vec![((following << 6) | (total & 0xf)) as u8];
    bytes.extend((0..following).map(|index| (total >> (4 + 8 * index)) as u8));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_themselves() {
        assert_eq!(length(0), [1]);
        assert_eq!(length(62), [63]);
        assert_eq!(length(63), [0x41, 4], "65 bytes");
        assert_eq!(length(4093), [0x4f, 0xff], "4095 bytes");
        assert_eq!(length(4094), [0x81, 0, 1], "4097 bytes");
    }

    #[test]
    fn objects_are_encoded_as_the_specification_says() {
        assert_eq!(byte(0), [0]);
        assert_eq!(byte(1), [1]);
        assert_eq!(byte(2), [0x0a, 2]);
        assert_eq!(name(*b"_UID", &byte(7)), *b"\x08_UID\x0a\x07");
        assert_eq!(string("AB"), *b"\x0dAB\0");
        assert_eq!(device(*b"COM1", &[0xa3]), *b"\x5b\x82\x06COM1\xa3");
        assert_eq!(scope(*b"_SB_", &[]), *b"\x10\x06\\_SB_");
        assert_eq!(resources(&[&[1, 2]]), [0x11, 7, 0x0a, 4, 1, 2, 0x79, 0]);
    }
}
