// SPDX-License-Identifier: MIT OR Apache-2.0
//! Images made by hand: good ones are loaded, and no broken one does harm.

use super::*;
use crate::vmm::loader::load as load_guest;
use crate::vmm::VcpuCount;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use vm_memory::GuestMemoryMmap;

const MAGIC: u32 = 0x1bad_b002;
const MEMORY: usize = 8 << 20;
const CODE: [u8; 4] = [0xde, 0xad, 0xbe, 0xef];
const CODE_ADDRESS: u32 = 0x10_1000;
/// Where the test's images have their code.
const CODE_OFFSET: u32 = 0x100;

/// A file that is removed with this.
struct Image {
    path: PathBuf,
}

impl Image {
    fn new(bytes: &[u8]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hcall-multiboot-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        Self { path }
    }

    fn load(&self, initrd: Option<&Path>) -> (GuestMemoryMmap, Result<Entry, LoadError>) {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]).unwrap();
        let guest = Guest {
            kernel: &self.path,
            initrd,
            command_line: "a b",
            vcpus: VcpuCount::ONE,
        };
        let entry = load_guest(&memory, guest);
        (memory, entry)
    }

    fn refusal(&self) -> MultibootError {
        match self.load(None).1 {
            Err(LoadError::Multiboot { source, .. }) => source,
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // A file that stays in the temporary directory harms nobody.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn header(flags: u32) -> Vec<u8> {
    let checksum = 0u32.wrapping_sub(MAGIC).wrapping_sub(flags);
    words(&[MAGIC, flags, checksum])
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The class of an ELF file.
#[derive(Clone, Copy, Debug)]
enum Bits {
    B32,
    B64,
}

/// What the one program header of a test image says.
#[derive(Clone, Copy, Debug)]
struct Segment {
    offset: u64,
    virtual_address: u64,
    address: u64,
    file_length: u64,
    length: u64,
}

const SEGMENT: Segment = Segment {
    offset: CODE_OFFSET as u64,
    virtual_address: 0xc010_1000,
    address: CODE_ADDRESS as u64,
    file_length: CODE.len() as u64,
    length: 0x1000,
};
const ENTRY: u64 = SEGMENT.virtual_address + 2;

/// An ELF file with one segment, the header after its program header, then the code.
fn elf(bits: Bits, segment: Segment, entry: u64) -> Vec<u8> {
    let (class, machine) = match bits {
        Bits::B32 => (1, 3u16),
        Bits::B64 => (2, 62),
    };
    let mut file = vec![0x7f, b'E', b'L', b'F', class, 1, 1, 0];
    file.resize(16, 0);
    file.extend([2u16, machine].iter().flat_map(|half| half.to_le_bytes()));
    file.extend(1u32.to_le_bytes());
    let (header_length, entry_length) = match bits {
        Bits::B32 => (52u16, 32u16),
        Bits::B64 => (64, 56),
    };
    let wide = |file: &mut Vec<u8>, value: u64| match bits {
        Bits::B32 => file.extend((value as u32).to_le_bytes()),
        Bits::B64 => file.extend(value.to_le_bytes()),
    };
    wide(&mut file, entry);
    wide(&mut file, header_length.into());
    wide(&mut file, 0);
    file.extend(0u32.to_le_bytes());
    for half in [header_length, entry_length, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    const READ_EXECUTE: u32 = 5;
    file.extend(1u32.to_le_bytes());
    if let Bits::B64 = bits {
        file.extend(READ_EXECUTE.to_le_bytes());
    }
    for value in [
        segment.offset,
        segment.virtual_address,
        segment.address,
        segment.file_length,
        segment.length,
    ] {
        wide(&mut file, value);
    }
    if let Bits::B32 = bits {
        file.extend(READ_EXECUTE.to_le_bytes());
    }
    wide(&mut file, 0);
    file.extend(header(3));
    file.resize(CODE_OFFSET as usize, 0);
    file.extend(CODE);
    file
}

fn read_word(memory: &GuestMemoryMmap, address: u64) -> u32 {
    memory.read_obj(GuestAddress(address)).unwrap()
}

fn read_string(memory: &GuestMemoryMmap, address: u32) -> String {
    let mut bytes = vec![0; 512];
    memory
        .read_slice(&mut bytes, GuestAddress(address.into()))
        .unwrap();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap();
    String::from_utf8(bytes[..end].to_vec()).unwrap()
}

#[test]
fn elf_of_either_class_is_loaded_and_told_everything() {
    for bits in [Bits::B32, Bits::B64] {
        let image = Image::new(&elf(bits, SEGMENT, ENTRY));
        let module = Image::new(b"module");
        let (memory, entry) = image.load(Some(&module.path));
        let entry = entry.unwrap();
        assert_eq!(entry.rip.get(), u64::from(CODE_ADDRESS) + 2, "{bits:?}");
        assert_eq!(entry.rax, 0x2bad_b002);
        let code = read_word(&memory, CODE_ADDRESS.into());
        assert_eq!(code.to_le_bytes(), CODE);

        let word = |index: u64| read_word(&memory, entry.rbx + 4 * index);
        assert_eq!(word(0), 0x24d, "flags");
        assert_eq!(
            [word(1), word(2)],
            [0x9_fc00 >> 10, 7 << 10],
            "memory in KiB"
        );
        let line = format!("{} a b", image.path.display());
        assert_eq!(read_string(&memory, word(4)), line);
        assert_eq!(word(5), 1, "modules");
        let [start, end, string] =
            [0, 4, 8].map(|offset| read_word(&memory, u64::from(word(6)) + offset));
        assert_eq!((start % 4096, end - start), (0, 6));
        assert_eq!(read_string(&memory, start), "module");
        assert_eq!(
            read_string(&memory, string),
            module.path.display().to_string()
        );
        assert_eq!(word(11), 2 * 24, "length of the memory map");
        let map: Vec<u32> = (0..12)
            .map(|index| read_word(&memory, u64::from(word(12)) + 4 * index))
            .collect();
        assert_eq!(map[..6], [20, 0, 0, 0x9_fc00, 0, 1]);
        assert_eq!(map[6..], [20, 0x10_0000, 0, 7 << 20, 0, 1]);
        assert_eq!(read_string(&memory, word(16)), "hcall-vmm");
    }
}

#[test]
fn without_a_module_there_is_none() {
    let image = Image::new(&elf(Bits::B32, SEGMENT, ENTRY));
    let (memory, entry) = image.load(None);
    assert_eq!(read_word(&memory, entry.unwrap().rbx + 20), 0);
}

/// A flat image: its header, the five addresses, and the code.
fn flat(addresses: [u32; 5]) -> Vec<u8> {
    let mut file = header(1 << 16);
    file.extend(words(&addresses));
    file.resize(CODE_OFFSET as usize, 0);
    file.extend(CODE);
    file
}

const START: u32 = CODE_ADDRESS - CODE_OFFSET;
const FLAT: [u32; 5] = [
    START,
    START,
    CODE_ADDRESS + CODE.len() as u32,
    CODE_ADDRESS + 0x1000,
    CODE_ADDRESS,
];

#[test]
fn a_flat_image_goes_where_its_header_says() {
    let [header, load, _, _, entry] = FLAT;
    let whole_file = [header, load, 0, 0, entry];
    // From the code on: the header stands before what is loaded, in the file only.
    for addresses in [FLAT, whole_file] {
        let (memory, entry) = Image::new(&flat(addresses)).load(None);
        assert_eq!(entry.unwrap().rip.get(), u64::from(CODE_ADDRESS));
        let code = read_word(&memory, CODE_ADDRESS.into());
        assert_eq!(code.to_le_bytes(), CODE);
        assert_eq!(read_word(&memory, START.into()), MAGIC);
    }
}

#[test]
fn contradictions_of_a_flat_image_are_refused() {
    let [header, load, end, bss_end, entry] = FLAT;
    for addresses in [
        [header - 4, load, end, bss_end, entry],
        [header + 4, load, end, bss_end, entry],
        [header, load, load - 1, bss_end, entry],
        [header, load, end, end - 1, entry],
    ] {
        assert_eq!(
            Image::new(&flat(addresses)).refusal(),
            MultibootError::Addresses,
            "{addresses:x?}"
        );
    }
}

#[test]
fn what_is_not_in_the_file_or_not_in_memory_is_refused() {
    for bits in [Bits::B32, Bits::B64] {
        for offset in [CODE_OFFSET as u64 + 1, 0xffff_ffff, u64::MAX] {
            let segment = Segment { offset, ..SEGMENT };
            let refusal = Image::new(&elf(bits, segment, ENTRY)).refusal();
            assert!(
                matches!(refusal, MultibootError::BeyondFile { .. }),
                "{refusal:?}"
            );
        }
        for (address, length) in [
            (0x6000, 0x1000),
            (0xf_ffff, 0x1000),
            (MEMORY as u64 - 0xfff, 0x1000),
            (u64::MAX, 0x1000),
            (SEGMENT.address, u64::MAX),
            (SEGMENT.address, 1),
        ] {
            let segment = Segment {
                address,
                length,
                ..SEGMENT
            };
            let refusal = Image::new(&elf(bits, segment, ENTRY)).refusal();
            assert!(
                matches!(refusal, MultibootError::BeyondMemory { .. }),
                "{refusal:?}"
            );
        }
        for entry in [0, ENTRY + 0x1000, u64::MAX] {
            let refusal = Image::new(&elf(bits, SEGMENT, entry)).refusal();
            assert!(matches!(refusal, MultibootError::Entry(_)), "{refusal:?}");
        }
    }
}

#[test]
fn what_the_image_requires_and_this_vmm_lacks_is_named() {
    let mut file = elf(Bits::B32, SEGMENT, ENTRY);
    let at = file.len() - CODE.len();
    file.truncate(at);
    let place = file
        .windows(4)
        .position(|bytes| bytes == MAGIC.to_le_bytes())
        .unwrap();
    for bit in 2..16 {
        file.splice(place..place + 12, header(1 << bit));
        let refusal = Image::new(&file).refusal();
        assert!(
            matches!(refusal, MultibootError::Requires { bit: named, .. } if named == bit),
            "{refusal:?}"
        );
    }
    assert!(MultibootError::Requires {
        bit: 2,
        what: "a video mode"
    }
    .to_string()
    .contains("video mode"));
}

#[test]
fn a_header_without_a_kind_of_image_is_refused() {
    assert_eq!(Image::new(&header(0)).refusal(), MultibootError::Nowhere);
    for length in [5, 20, 51] {
        let mut file = elf(Bits::B32, SEGMENT, ENTRY);
        file.truncate(length);
        file.resize(length.next_multiple_of(4), 0);
        file.extend(header(0));
        assert_eq!(Image::new(&file).refusal(), MultibootError::Elf, "{length}");
    }
}

#[test]
fn the_header_is_found_where_the_specification_allows_it() {
    let at = |offset: usize, bytes: &[u8]| {
        let mut file = vec![0; offset];
        file.extend_from_slice(bytes);
        header::find_in(&file[..file.len().min(8192)]).map(|header| header.offset)
    };
    for offset in [0, 4, 8180] {
        assert_eq!(at(offset, &header(0)), Some(offset as u64));
    }
    assert_eq!(at(2, &header(0)), None, "not aligned");
    assert_eq!(at(8184, &header(0)), None, "not within 8 KiB");
    let mut wrong = header(0);
    wrong[8] ^= 1;
    assert_eq!(at(0, &wrong), None, "the checksum is wrong");
}

/// Thousands of segments over each other would take for ever to load.
#[test]
fn segments_do_not_overlap() {
    let mut file = elf(Bits::B32, SEGMENT, ENTRY);
    // Two program headers: the second is the first once more, over the Multiboot header,
    // which moves to the end.
    const ENTRIES: usize = 52;
    const COUNT: usize = 44;
    file[COUNT] = 2;
    file.copy_within(ENTRIES..ENTRIES + 32, ENTRIES + 32);
    file.extend(header(3));
    assert_eq!(
        Image::new(&file).refusal(),
        MultibootError::Overlap(CODE_ADDRESS.into())
    );
}

/// Whatever a file says, the loader answers, and quickly.
#[test]
fn damaged_images_do_no_harm() {
    let images = [
        elf(Bits::B32, SEGMENT, ENTRY),
        elf(Bits::B64, SEGMENT, ENTRY),
        flat(FLAT),
    ];
    let mut state = 1u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state >> 33
    };
    let mut loaded = 0;
    for round in 0..3000 {
        let mut file = images[round % images.len()].clone();
        for _ in 0..1 + random() % 4 {
            let values = [0, 0xff, 0x7f, 0x80, random() as u8];
            let place = random() as usize % file.len();
            // The header stays, or the file would be none of ours.
            if file[place..].len() > 4 {
                file[place] = values[random() as usize % values.len()];
            }
        }
        if random() % 8 == 0 {
            file.truncate(random() as usize % file.len());
        }
        if Image::new(&file).load(None).1.is_ok() {
            loaded += 1;
        }
    }
    assert!(loaded > 0, "some damage does not matter");
}
