// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Multiboot header: found by magic and checksum in the first 8 KiB of a file.

use super::MultibootError;
use std::fs::File;
use std::os::unix::fs::FileExt;

const MAGIC: u32 = 0x1bad_b002;
/// The header stands in this many bytes, aligned to 4.
const SEARCHED: usize = 8192;
/// Magic, flags and checksum.
const LENGTH: usize = 12;

/// The flags that an image must not be started without.
const REQUIRED: u32 = 0xffff;
/// Modules at page boundaries; memory in the information. Both are always so.
const PROVIDED: u32 = 0b11;
const VIDEO_MODE_BIT: u32 = 2;
/// Addresses follow the checksum.
const HAS_ADDRESSES: u32 = 1 << 16;

/// Where a flat image belongs, by its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) header: u32,
    pub(super) load: u32,
    pub(super) load_end: u32,
    pub(super) bss_end: u32,
    pub(super) entry: u32,
}

/// A header, whose flags nobody has judged yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Header {
    /// Where it stands in the file.
    pub(super) offset: u64,
    flags: u32,
    /// The five words after the checksum; zero where the file ends before.
    words: [u32; 5],
}

/// The header in `file`, if it has one.
pub(in super::super) fn find(file: &File) -> Option<Header> {
    let mut start = Vec::with_capacity(SEARCHED);
    let mut chunk = [0; 1024];
    while start.len() < SEARCHED {
        match file.read_at(&mut chunk, start.len() as u64) {
            Ok(0) | Err(_) => break,
            Ok(read) => start.extend_from_slice(&chunk[..read]),
        }
    }
    start.truncate(SEARCHED);
    find_in(&start)
}

pub(super) fn find_in(start: &[u8]) -> Option<Header> {
    let words: Vec<u32> = start
        .chunks_exact(4)
        .map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();
    let index = words.windows(LENGTH / 4).position(is_header)?;
    let mut rest = words[index + LENGTH / 4..].iter().copied();
    Some(Header {
        offset: (index * 4) as u64,
        flags: words[index + 1],
        words: std::array::from_fn(|_| rest.next().unwrap_or(0)),
    })
}

fn is_header(words: &[u32]) -> bool {
    let sum = words
        .iter()
        .fold(0, |sum: u32, word| sum.wrapping_add(*word));
    words[0] == MAGIC && sum == 0
}

impl Header {
    /// Fails if the image must not be started without something that this VMM lacks.
    pub(super) fn check_flags(&self) -> Result<(), MultibootError> {
        let missing = self.flags & REQUIRED & !PROVIDED;
        if missing == 0 {
            return Ok(());
        }
        let bit = missing.trailing_zeros();
        let what = match bit {
            VIDEO_MODE_BIT => "a video mode",
            _ => "something that version 0.6.96 of Multiboot does not know",
        };
        Err(MultibootError::Requires { bit, what })
    }

    /// Where the image belongs, if that is not for an ELF header to say.
    pub(super) fn addresses(&self) -> Option<Addresses> {
        let [header, load, load_end, bss_end, entry] = self.words;
        (self.flags & HAS_ADDRESSES != 0).then_some(Addresses {
            header,
            load,
            load_end,
            bss_end,
            entry,
        })
    }
}
