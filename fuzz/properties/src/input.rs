// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a target makes of its bytes: values one after the other, zeros after the last.

/// The bytes of an input that have not been used yet.
#[derive(Clone, Debug)]
pub(crate) struct Input<'data>(&'data [u8]);

impl<'data> Input<'data> {
    pub(crate) fn new(data: &'data [u8]) -> Self {
        Self(data)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Up to `length` bytes.
    pub(crate) fn bytes(&mut self, length: usize) -> &'data [u8] {
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// All the others.
    pub(crate) fn rest(&mut self) -> &'data [u8] {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn array<const LENGTH: usize>(&mut self) -> [u8; LENGTH] {
        let mut array = [0; LENGTH];
        let bytes = self.bytes(LENGTH);
        array[..bytes.len()].copy_from_slice(bytes);
        array
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// One of `choices`.
    pub(crate) fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.u8()) % choices.len()]
    }

    /// Any number, in few bytes where it is small, or near one of `edges`, or near the end
    /// of all numbers: those are the ones with which arithmetic goes wrong.
    pub(crate) fn number(&mut self, edges: &[u64]) -> u64 {
        match self.u8() % 8 {
            0 => self.u8().into(),
            1 => self.u16().into(),
            2 => self.u32().into(),
            3 => self.u64(),
            4 => u64::MAX - u64::from(self.u8()),
            5 => 1u64
                .rotate_right(self.u8().into())
                .wrapping_add(self.near()),
            _ if edges.is_empty() => 0,
            _ => self.choose(edges).wrapping_add(self.near()),
        }
    }

    /// A small number, also below zero.
    fn near(&mut self) -> u64 {
        i64::from(self.u8() as i8) as u64
    }
}
