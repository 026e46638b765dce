// SPDX-License-Identifier: MIT OR Apache-2.0
//! Images of every kind, put into guest memory as `hcall-vmm run` does.

use crate::image::MemoryFile;
use crate::input::Input;
use crate::memory;
use hcall_vmm::fuzzing::{load, Start};
use hcall_vmm::vmm::VcpuCount;
use std::sync::{LazyLock, Mutex, PoisonError};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const MEMORY: usize = 4 << 20;
/// Bytes of an input before the image.
pub(crate) const PREFIX: usize = 4;

/// Where things stand that every guest gets; `loader/mod.rs` says so too.
const INFORMATION: u64 = 0x6000;
const ZERO_PAGE: u64 = 0x7000;
const COMMAND_LINE: u64 = 0x2_0000;
const ACPI: u64 = 0xe_0000;
const HIGH_MEMORY: u64 = 0x10_0000;

const PVH_MAGIC: u32 = 0x336e_c578;
const MULTIBOOT_MAGIC: u64 = 0x2bad_b002;

static LOADER: LazyLock<Mutex<Loader>> = LazyLock::new(|| {
    Mutex::new(Loader {
        memory: memory::guarded(&[(0, MEMORY)]),
        kernel: MemoryFile::new(),
        initrd: MemoryFile::new(),
    })
});

struct Loader {
    memory: GuestMemoryMmap,
    kernel: MemoryFile,
    initrd: MemoryFile,
}

/// What has been put into memory.
struct Loaded {
    start: Start,
    /// The initramfs, if there is one.
    initrd: Option<Vec<u8>>,
}

/// An ELF image; what has no other magic is taken for one.
pub fn elf(data: &[u8]) {
    with_magic(data, 0, b"\x7fELF");
}

/// A Multiboot image. The input has two bytes that say where the header is, of which the
/// checksum is made right, for the fuzzer would not find it.
pub fn multiboot(data: &[u8]) {
    let mut input = Input::new(data);
    let prefix = input.array::<PREFIX>();
    let (place, flags) = (usize::from(input.u16()) & !3, input.u32());
    let mut image = input.rest().to_vec();
    if image.len() < place + 12 {
        image.resize(place + 12, 0);
    }
    let magic = 0x1bad_b002_u32;
    let checksum = 0_u32.wrapping_sub(magic).wrapping_sub(flags);
    for (at, word) in [(0, magic), (4, flags), (8, checksum)] {
        image[place + at..place + at + 4].copy_from_slice(&word.to_le_bytes());
    }
    check(prefix, &image);
}

/// A bzImage.
pub fn bzimage(data: &[u8]) {
    with_magic(data, 0x202, b"HdrS");
}

fn with_magic(data: &[u8], place: usize, magic: &[u8; 4]) {
    let mut input = Input::new(data);
    let prefix = input.array::<PREFIX>();
    let mut image = input.rest().to_vec();
    if let Some(found) = image.get_mut(place..place + magic.len()) {
        found.copy_from_slice(magic);
    }
    check(prefix, &image);
}

/// Loads it, with an initramfs and a command line that the prefix says, and checks what the
/// guest finds.
fn check([vcpus, line, initrd_low, initrd_high]: [u8; PREFIX], image: &[u8]) {
    let loader = LOADER.lock().unwrap_or_else(PoisonError::into_inner);
    memory::clear(&loader.memory);
    loader.kernel.fill(image);
    let initrd_length = usize::from(u16::from_le_bytes([initrd_low, initrd_high & 0x7f]));
    let initrd = (initrd_high & 0x80 != 0).then(|| vec![0xa5; initrd_length]);
    loader.initrd.fill(initrd.as_deref().unwrap_or_default());
    let command_line = "x".repeat(usize::from(line) * 9);
    let vcpus = VcpuCount::new(vcpus % 64 + 1).expect("1 to 64 are");
    let path = initrd.is_some().then_some(&*loader.initrd.path);
    let kernel = &loader.kernel.path;
    match load(&loader.memory, kernel, path, &command_line, vcpus) {
        Ok(start) => Loaded { start, initrd }.check(&loader.memory, &command_line),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

impl Loaded {
    fn check(&self, memory: &GuestMemoryMmap, command_line: &str) {
        let word = |address| -> u32 {
            let word = memory.read_obj(GuestAddress(address));
            word.expect("boot structures are in memory")
        };
        let (start, length) = match (self.start.rax, self.start.rbx, self.start.rsi) {
            (0, INFORMATION, 0) => {
                assert_eq!(word(INFORMATION), PVH_MAGIC);
                assert_eq!(word(INFORMATION + 12), u32::from(self.initrd.is_some()));
                (word(0x6040), word(0x6048))
            }
            (MULTIBOOT_MAGIC, INFORMATION, 0) => {
                assert!(self.start.rip >= HIGH_MEMORY && self.start.rip < MEMORY as u64);
                assert_eq!(word(INFORMATION + 20), u32::from(self.initrd.is_some()));
                let mut pointer = [0; 8];
                let found = memory.read_slice(&mut pointer, GuestAddress(ACPI));
                assert_eq!((found.is_ok(), &pointer), (true, b"RSD PTR "));
                self.check_command_line(memory, command_line);
                (word(0x6080), word(0x6084).wrapping_sub(word(0x6080)))
            }
            (0, 0, ZERO_PAGE) => {
                assert_eq!(u64::from(word(ZERO_PAGE + 0x228)), COMMAND_LINE);
                (word(ZERO_PAGE + 0x218), word(ZERO_PAGE + 0x21c))
            }
            _ => panic!("{:x?} is no start of a guest", self.start),
        };
        if let Some(initrd) = &self.initrd {
            assert_eq!(length as usize, initrd.len());
            assert!(u64::from(start) >= HIGH_MEMORY || initrd.is_empty());
            let mut found = vec![0; initrd.len()];
            if !found.is_empty() {
                let read = memory.read_slice(&mut found, GuestAddress(start.into()));
                assert!(
                    read.is_ok() && found == *initrd,
                    "the initramfs is not as it was"
                );
            }
        }
    }

    fn check_command_line(&self, memory: &GuestMemoryMmap, command_line: &str) {
        let mut found = [0; 2048];
        let read = memory.read_slice(&mut found, GuestAddress(COMMAND_LINE));
        assert!(read.is_ok());
        let end = found.iter().position(|byte| *byte == 0);
        let line = &found[..end.expect("the command line ends")];
        assert!(line.ends_with(command_line.as_bytes()));
    }
}
