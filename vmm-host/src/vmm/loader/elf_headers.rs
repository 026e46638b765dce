// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an ELF image may ask of its loader, which reads for each program header what that
//! says: the largest number of headers, each of the whole of a large file, would take hours.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Most program headers; Linux has fewer than ten.
const HEADERS_MAX: u16 = 128;
/// Longest notes in bytes, which are read in small pieces; Linux has some hundred.
const NOTES_MAX: u64 = 64 << 10;

/// Where a file's header says where the program headers are, and how many there are.
const TABLE_OFFSET: usize = 32;
const COUNT_OFFSET: usize = 56;
const HEADER_SIZE: usize = 64;
/// Of a program header: its size, and where its kind and its length in the file are.
const ENTRY_SIZE: usize = 56;
const LENGTH_OFFSET: usize = 32;
const NOTE: u32 = 4;

/// Whether the headers of `image` are few and their notes short. True where they cannot be
/// read, of which the loader then complains.
pub(super) fn are_modest(image: &File) -> bool {
    let mut header = [0; HEADER_SIZE];
    if image.read_exact_at(&mut header, 0).is_err() {
        return true;
    }
    let count = u16::from_le_bytes(part(&header, COUNT_OFFSET));
    if count > HEADERS_MAX {
        return false;
    }
    let mut table = vec![0; usize::from(count) * ENTRY_SIZE];
    let start = u64::from_le_bytes(part(&header, TABLE_OFFSET));
    if image.read_exact_at(&mut table, start).is_err() {
        return true;
    }
    let notes = table.chunks_exact(ENTRY_SIZE).filter(|entry| {
        let kind = u32::from_le_bytes(part(entry, 0));
        kind == NOTE
    });
    let lengths = notes.map(|note| u64::from_le_bytes(part(note, LENGTH_OFFSET)));
    lengths.fold(0, u64::saturating_add) <= NOTES_MAX
}

/// The bytes at `offset`, which are there.
fn part<const LENGTH: usize>(bytes: &[u8], offset: usize) -> [u8; LENGTH] {
    std::array::from_fn(|index| bytes[offset + index])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use vmm_sys_util::tempfile::TempFile;

    /// An image with `count` headers, all of this kind and length.
    fn image(count: u16, kind: u32, length: u64) -> TempFile {
        let mut bytes = vec![0; HEADER_SIZE];
        bytes[TABLE_OFFSET] = HEADER_SIZE as u8;
        bytes[COUNT_OFFSET..COUNT_OFFSET + 2].copy_from_slice(&count.to_le_bytes());
        for _ in 0..count {
            let mut entry = [0; ENTRY_SIZE];
            entry[..4].copy_from_slice(&kind.to_le_bytes());
            entry[LENGTH_OFFSET..LENGTH_OFFSET + 8].copy_from_slice(&length.to_le_bytes());
            bytes.extend(entry);
        }
        let file = TempFile::new().unwrap();
        file.as_file().write_all(&bytes).unwrap();
        file
    }

    #[test]
    fn what_would_be_read_for_hours_is_seen() {
        const LOAD: u32 = 1;
        for (count, kind, length, expected) in [
            (0, LOAD, 0, true),
            (HEADERS_MAX, LOAD, u64::MAX, true),
            (HEADERS_MAX + 1, LOAD, 0, false),
            (u16::MAX, NOTE, 12, false),
            (1, NOTE, NOTES_MAX, true),
            (1, NOTE, NOTES_MAX + 1, false),
            (2, NOTE, NOTES_MAX / 2 + 1, false),
            (2, NOTE, u64::MAX, false),
        ] {
            let image = image(count, kind, length);
            let modest = are_modest(image.as_file());
            assert_eq!(modest, expected, "{count} of {kind}, {length}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_for_the_loader_to_refuse() {
        let file = TempFile::new().unwrap();
        assert!(are_modest(file.as_file()));
        file.as_file().write_all(&[0xff; HEADER_SIZE - 1]).unwrap();
        assert!(are_modest(file.as_file()));
        let image = image(3, NOTE, 1);
        image
            .as_file()
            .set_len((HEADER_SIZE + ENTRY_SIZE) as u64)
            .unwrap();
        assert!(are_modest(image.as_file()));
    }
}
