// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files that are no files, too large, cut, or not there.

use crate::command::{expect_refusal, hcall_vmm};
use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

const TEBIBYTE: u64 = 1 << 40;

/// A file of the tests', removed at their end.
struct Scratch(PathBuf);

impl Scratch {
    /// A name for a test's own file; nothing is there.
    fn name(name: &str) -> Self {
        let name = format!("faults-{name}-{}", std::process::id());
        Self(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    fn with(name: &str, content: &[u8]) -> Self {
        let scratch = Self::name(name);
        fs::write(&scratch.0, content).expect("the tests' directory is writable");
        scratch
    }

    /// Nothing but length.
    fn sparse(name: &str, start: &[u8], length: u64) -> Self {
        let scratch = Self::with(name, start);
        let file = File::options().write(true).open(&scratch.0);
        file.and_then(|file| file.set_len(length))
            .expect("a file system with large files");
        scratch
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a path of ours")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// An ELF file without anything that could be run, to stand for an image where something
/// else is wrong.
const ELF: &[u8] = b"\x7fELF\x02\x01\x01";

#[test]
fn an_image_that_is_a_fifo_is_not_waited_for() {
    let fifo = Scratch::name("fifo");
    let path = CString::new(fifo.path()).expect("without NUL");
    // SAFETY: the path is a string that ends.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    expect_refusal(hcall_vmm(&["run", fifo.path()]), "not a regular file");
}

#[test]
fn an_image_that_is_a_device_or_a_socket_is_refused() {
    for device in ["/dev/null", "/dev/zero"] {
        expect_refusal(hcall_vmm(&["run", device]), "not a regular file");
    }
    // Its name is short: a socket's may not be long.
    let directory = std::env::temp_dir().join(format!("hcall-{}", std::process::id()));
    let _socket = UnixListener::bind(&directory).expect("a socket");
    let path = directory.to_str().expect("a path of ours").to_owned();
    let _removed = Scratch(directory);
    expect_refusal(hcall_vmm(&["run", &path]), "cannot read");
}

#[test]
fn an_image_of_a_tebibyte_of_nothing_is_no_guest() {
    let sparse = Scratch::sparse("sparse", b"", TEBIBYTE);
    let reason = "neither an ELF file nor a Linux bzImage";
    expect_refusal(hcall_vmm(&["run", sparse.path()]), reason);
}

#[test]
fn an_elf_header_before_a_tebibyte_of_nothing_is_damaged() {
    let sparse = Scratch::sparse("sparse-elf", ELF, TEBIBYTE);
    expect_refusal(hcall_vmm(&["run", sparse.path()]), "damaged");
}

#[test]
fn a_bzimage_that_is_only_a_header_is_damaged() {
    let mut content = vec![0; 0x1000];
    content[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    content[0x202..0x206].copy_from_slice(b"HdrS");
    let image = Scratch::with("bzimage", &content);
    expect_refusal(hcall_vmm(&["run", image.path()]), "damaged");
}

#[test]
fn an_initramfs_that_does_not_fit_or_is_no_file_is_refused() {
    // Multiboot, flat, at 1 MiB: as little as an image can be.
    let (magic, flags, start) = (0x1bad_b002_u32, 0x1_0000_u32, 0x10_0000_u32);
    let checksum = 0_u32.wrapping_sub(magic).wrapping_sub(flags);
    let header = [magic, flags, checksum, start, start, 0, 0, start];
    let content: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
    let image = Scratch::with("flat", &content);
    let sparse = Scratch::sparse("initramfs", b"", TEBIBYTE);
    for (initrd, reason) in [
        (sparse.path(), "does not fit"),
        ("/", "not a regular file"),
        ("/dev/zero", "not a regular file"),
        ("/no/such/file", "No such file"),
    ] {
        let arguments = ["run", image.path(), "--initrd", initrd];
        expect_refusal(hcall_vmm(&arguments), reason);
    }
}

#[test]
fn a_link_that_leads_to_itself_is_refused() {
    let link = Scratch::name("link");
    std::os::unix::fs::symlink(&link.0, &link.0).expect("a link");
    expect_refusal(hcall_vmm(&["run", link.path()]), "cannot read");
    let arguments = ["probe", "--kvm", link.path()];
    expect_refusal(hcall_vmm(&arguments), "cannot open");
}

#[test]
fn a_kvm_that_is_another_file_is_refused() {
    let file = Scratch::with("kvm", b"");
    for path in ["/dev/null", "/dev/zero", file.path()] {
        let arguments = ["probe", "--kvm", path];
        expect_refusal(hcall_vmm(&arguments), path);
    }
    expect_refusal(hcall_vmm(&["probe", "--kvm", "/"]), "cannot open /");
}
