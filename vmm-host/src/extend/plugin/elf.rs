// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether a file is a shared object that the dynamic linker can be given: it maps what the
//! headers say without asking whether the file is so long, and reading beyond its end is then
//! a SIGBUS.
//!
//! System V ABI, chapters 4 and 5, and its supplement for AMD64.

use super::error::ElfFault;

const HEADER_SIZE: usize = 64;
const PROGRAM_HEADER_SIZE: usize = 56;

const MAGIC: &[u8] = b"\x7fELF";
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const SHARED_OBJECT: u16 = 3;
const X86_64: u16 = 62;
const LOADED: u32 = 1;
const DYNAMIC: u32 = 2;
const INTERPRETER: u32 = 3;

/// Checks the whole of a file.
///
/// # Errors
///
/// [`ElfFault`]
pub(crate) fn check(file: &[u8]) -> Result<(), ElfFault> {
    if !file.starts_with(MAGIC) {
        return Err(ElfFault::NotElf);
    }
    let header = file.get(..HEADER_SIZE).ok_or(ElfFault::Truncated)?;
    if header[4] != CLASS_64 || header[5] != LITTLE_ENDIAN || u16_at(header, 18) != X86_64 {
        return Err(ElfFault::OtherMachine);
    }
    if u16_at(header, 16) != SHARED_OBJECT {
        return Err(ElfFault::NotShared);
    }
    if usize::from(u16_at(header, 54)) != PROGRAM_HEADER_SIZE {
        return Err(ElfFault::Damaged);
    }
    let length = usize::from(u16_at(header, 56)) * PROGRAM_HEADER_SIZE;
    let table = part(file, u64_at(header, 32), length as u64)?;
    let (mut loaded, mut dynamic) = (0, 0);
    for entry in table.chunks_exact(PROGRAM_HEADER_SIZE) {
        match u32_at(entry, 0) {
            LOADED => {
                check_segment(file, entry)?;
                loaded += 1;
            }
            DYNAMIC => {
                check_segment(file, entry)?;
                dynamic += 1;
            }
            // A program that can be loaded anywhere.
            INTERPRETER => return Err(ElfFault::NotShared),
            _ => {}
        }
    }
    match (loaded, dynamic) {
        (1.., 1) => Ok(()),
        _ => Err(ElfFault::Damaged),
    }
}

/// All of a segment is in the file, and its memory is no smaller and does not wrap.
fn check_segment(file: &[u8], entry: &[u8]) -> Result<(), ElfFault> {
    let (in_file, in_memory) = (u64_at(entry, 32), u64_at(entry, 40));
    part(file, u64_at(entry, 8), in_file)?;
    let end = u64_at(entry, 16).checked_add(in_memory);
    if in_memory < in_file || end.is_none_or(|end| end > u64::MAX >> 17) {
        return Err(ElfFault::Damaged);
    }
    Ok(())
}

fn part(file: &[u8], offset: u64, length: u64) -> Result<&[u8], ElfFault> {
    let end = offset.checked_add(length).ok_or(ElfFault::Damaged)?;
    let range = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
    let (start, end) = range.ok_or(ElfFault::Truncated)?;
    file.get(start..end).ok_or(ElfFault::Truncated)
}

/// The `N` bytes of `bytes` at `offset`, which its caller has seen to be there.
fn bytes_at<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[offset..offset + N]);
    value
}

fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(bytes_at(bytes, offset))
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes_at(bytes, offset))
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes_at(bytes, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the dynamic segment's header begins, and where the file ends.
    const SECOND_ENTRY: usize = HEADER_SIZE + PROGRAM_HEADER_SIZE;
    const END: usize = SECOND_ENTRY + PROGRAM_HEADER_SIZE;

    /// The least that is taken: one loaded segment of the whole file, and a dynamic one.
    fn least() -> Vec<u8> {
        let mut file = vec![0; END];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[16..18].copy_from_slice(&SHARED_OBJECT.to_le_bytes());
        file[18..20].copy_from_slice(&X86_64.to_le_bytes());
        file[32] = HEADER_SIZE as u8;
        file[54] = PROGRAM_HEADER_SIZE as u8;
        file[56] = 2;
        for (start, kind) in [(HEADER_SIZE, LOADED), (SECOND_ENTRY, DYNAMIC)] {
            file[start] = kind as u8;
            file[start + 32] = END as u8;
            file[start + 40] = END as u8;
        }
        file
    }

    fn with(changes: &[(usize, u8)]) -> Result<(), ElfFault> {
        let mut file = least();
        for (offset, value) in changes {
            file[*offset] = *value;
        }
        check(&file)
    }

    #[test]
    fn the_least_is_taken() {
        assert_eq!(check(&least()), Ok(()));
    }

    #[test]
    fn every_shorter_file_is_refused() {
        let file = least();
        for length in 0..file.len() {
            let expected = if length < MAGIC.len() {
                ElfFault::NotElf
            } else {
                ElfFault::Truncated
            };
            assert_eq!(check(&file[..length]), Err(expected), "{length} bytes");
        }
    }

    #[test]
    fn others_are_refused() {
        let second_kind = SECOND_ENTRY;
        for (changes, expected) in [
            (&[(0, b'X')][..], ElfFault::NotElf),
            (&[(4, 1)], ElfFault::OtherMachine),
            (&[(5, 2)], ElfFault::OtherMachine),
            (&[(18, 3)], ElfFault::OtherMachine),
            (&[(16, 2)], ElfFault::NotShared),
            (&[(second_kind, INTERPRETER as u8)], ElfFault::NotShared),
            (&[(54, 32)], ElfFault::Damaged),
            (&[(56, 0)], ElfFault::Damaged),
            (&[(57, 0xff)], ElfFault::Truncated),
            (&[(39, 0xff)], ElfFault::Truncated),
            (&[(second_kind, 0)], ElfFault::Damaged),
            (&[(HEADER_SIZE, 0)], ElfFault::Damaged),
            (&[(HEADER_SIZE, DYNAMIC as u8)], ElfFault::Damaged),
            (&[(HEADER_SIZE + 33, 1)], ElfFault::Truncated),
            (&[(HEADER_SIZE + 40, 1)], ElfFault::Damaged),
            (&[(HEADER_SIZE + 23, 0xff)], ElfFault::Damaged),
        ] {
            assert_eq!(with(changes), Err(expected), "{changes:?}");
        }
        let wraps: Vec<_> = (8..16).map(|byte| (HEADER_SIZE + byte, 0xff)).collect();
        assert_eq!(with(&wraps), Err(ElfFault::Damaged));
    }

    proptest::proptest! {
        #[test]
        fn no_change_of_a_byte_is_too_much(offset in 0..END, value: u8) {
            let _ = with(&[(offset, value)]);
        }
    }
}
