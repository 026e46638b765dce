// SPDX-License-Identifier: MIT OR Apache-2.0
//! What somebody tries who has taken a thread of a VMM over. Each attempt is a system call
//! that a confined thread must be refused, with arguments that do no harm where it is not.

use libc::{c_long, c_void, syscall};
use std::ffi::CStr;
use std::io;
use std::ptr::{null, null_mut};

/// One of the attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) name: &'static str,
    make: fn() -> c_long,
    /// Who is let: threads that load plugins, and nobody else.
    pub(crate) controllers: Controllers,
}

/// What a thread that controls the VM gets of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Controllers {
    /// As little as the others, by seccomp.
    Refused,
    /// The system call, and by Landlock nothing of it.
    RefusedByLandlock,
    /// What it is after.
    Let,
}

impl Attempt {
    /// Tries.
    ///
    /// # Errors
    ///
    /// That of the system call, which is what is hoped for.
    pub(crate) fn make(&self) -> io::Result<()> {
        match (self.make)() {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}

/// Whether an attempt was refused, not merely vain. Threads that may start threads are told
/// that there is no `clone3`.
pub(crate) fn is_refusal(attempt: &Attempt, error: &io::Error) -> bool {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => true,
        Some(libc::ENOSYS) => attempt.name == "clone3",
        _ => false,
    }
}

/// What an attempt makes where it is let: in the one directory that can be written to everywhere.
pub(crate) const CREATED: &CStr = c"/tmp/hcall-attempt";

/// The first of [`ATTEMPTS`], which succeed without a sandbox, wherever that is.
pub(crate) const HARMLESS: usize = 6;

const SIGCHLD: c_long = libc::SIGCHLD as c_long;
const CWD: c_long = libc::AT_FDCWD as c_long;
/// No descriptor, so that what is let comes to nothing.
const NONE: c_long = -1;
/// Init, which is somebody else's process.
const INIT: c_long = 1;
const NOTHING: *const c_void = null();

/// A system call. A macro, since each has its own number of arguments.
macro_rules! call {
    ($number:ident $(, $argument:expr)*) => {
        // SAFETY: pointers are to constants, or null, which the kernel checks; what is
        // opened or mapped is used by nobody.
        unsafe { syscall(libc::$number $(, $argument)*) }
    };
}

const fn refused(name: &'static str, make: fn() -> c_long) -> Attempt {
    let controllers = Controllers::Refused;
    Attempt {
        name,
        make,
        controllers,
    }
}

const fn open(name: &'static str, make: fn() -> c_long) -> Attempt {
    let controllers = Controllers::RefusedByLandlock;
    Attempt {
        name,
        make,
        controllers,
    }
}

const fn let_controllers(name: &'static str, make: fn() -> c_long) -> Attempt {
    let controllers = Controllers::Let;
    Attempt {
        name,
        make,
        controllers,
    }
}

fn open_at(path: &CStr, flags: i32) -> c_long {
    call!(SYS_openat, CWD, path.as_ptr(), flags, 0o600)
}

fn socket(domain: i32, kind: i32) -> c_long {
    call!(SYS_socket, domain, kind, 0)
}

/// All of them; the harmless ones first.
pub(crate) const ATTEMPTS: &[Attempt] = &[
    open("open by an absolute path", || open_at(c"/", libc::O_RDONLY)),
    open("open by a relative path", || open_at(c".", libc::O_RDONLY)),
    open("open the process's memory", || {
        open_at(c"/proc/self/mem", libc::O_RDWR)
    }),
    refused("socket, Unix", || socket(libc::AF_UNIX, libc::SOCK_STREAM)),
    refused("socket, Internet", || {
        socket(libc::AF_INET, libc::SOCK_DGRAM)
    }),
    let_controllers("memory with a descriptor", || {
        call!(SYS_memfd_create, c"attempt".as_ptr(), 0)
    }),
    // From here on: only where they are expected to fail.
    open("open a device", || open_at(c"/dev/null", libc::O_RDWR)),
    open("open an unnamed file", || {
        open_at(c"/tmp", libc::O_RDWR | libc::O_TMPFILE)
    }),
    open("create a file", || {
        open_at(CREATED, libc::O_CREAT | libc::O_RDWR)
    }),
    refused("open, the old call", || {
        call!(SYS_open, c"/".as_ptr(), libc::O_RDONLY)
    }),
    refused("openat2", || {
        // How: no flags, no mode, no limits on the path.
        let how = [0_u64; 3];
        call!(SYS_openat2, CWD, c"/".as_ptr(), how.as_ptr(), 24)
    }),
    refused("open by handle", || {
        call!(SYS_open_by_handle_at, NONE, NOTHING, 0)
    }),
    refused("open, by the number of the x32 ABI", || {
        const X32: c_long = 0x4000_0000;
        // SAFETY: the path is a constant.
        unsafe { syscall(X32 + libc::SYS_openat, CWD, c"/".as_ptr(), libc::O_RDONLY) }
    }),
    refused("read a directory", || {
        call!(SYS_getdents64, NONE, NOTHING, 0)
    }),
    refused("change directory", || call!(SYS_chdir, c"/".as_ptr())),
    refused("rename", || call!(SYS_rename, NOTHING, NOTHING)),
    refused("unlink", || call!(SYS_unlink, NOTHING)),
    refused("chmod", || call!(SYS_chmod, NOTHING, 0)),
    refused("mknod", || call!(SYS_mknod, NOTHING, 0, 0)),
    refused("socket, netlink", || {
        socket(libc::AF_NETLINK, libc::SOCK_RAW)
    }),
    refused("socket, vsock", || {
        socket(libc::AF_VSOCK, libc::SOCK_STREAM)
    }),
    refused("socketpair", || {
        call!(SYS_socketpair, libc::AF_UNIX, libc::SOCK_STREAM, 0, NOTHING)
    }),
    refused("connect", || call!(SYS_connect, NONE, NOTHING, 0)),
    refused("bind", || call!(SYS_bind, NONE, NOTHING, 0)),
    refused("listen", || call!(SYS_listen, NONE, 0)),
    refused("send to an address", || {
        let address = [0_u8; 16];
        call!(SYS_sendto, NONE, NOTHING, 0, 0, address.as_ptr(), 16)
    }),
    let_controllers("send a descriptor", || call!(SYS_sendmsg, NONE, NOTHING, 0)),
    let_controllers("receive a descriptor", || {
        call!(SYS_recvmsg, NONE, NOTHING, 0)
    }),
    refused("attach a filter to a socket", || {
        let (level, option) = (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER);
        call!(SYS_setsockopt, NONE, level, option, NOTHING, 0)
    }),
    refused("execve", || call!(SYS_execve, NOTHING, NOTHING, NOTHING)),
    refused("execveat", || {
        call!(SYS_execveat, NONE, NOTHING, NOTHING, NOTHING, 0)
    }),
    refused("fork", || child(call!(SYS_fork))),
    refused("clone of a process", || {
        child(call!(SYS_clone, SIGCHLD, 0, 0, 0, 0))
    }),
    refused("clone with a namespace", || {
        let flags = SIGCHLD | libc::CLONE_NEWUSER as c_long;
        child(call!(SYS_clone, flags, 0, 0, 0, 0))
    }),
    refused("clone3", || {
        // All fields zero but the signal: a process.
        let mut arguments = [0_u64; 8];
        arguments[4] = SIGCHLD as u64;
        child(call!(SYS_clone3, arguments.as_ptr(), 64))
    }),
    refused("ptrace", || {
        call!(SYS_ptrace, libc::PTRACE_ATTACH, INIT, 0, 0)
    }),
    refused("read another process's memory", || {
        call!(SYS_process_vm_readv, INIT, NOTHING, 0, NOTHING, 0, 0)
    }),
    refused("write another process's memory", || {
        call!(SYS_process_vm_writev, INIT, NOTHING, 0, NOTHING, 0, 0)
    }),
    refused("kill another process", || call!(SYS_kill, INIT, 0)),
    refused("kill another process's thread", || {
        call!(SYS_tgkill, INIT, INIT, 0)
    }),
    refused("pidfd_open", || call!(SYS_pidfd_open, INIT, 0)),
    refused("pidfd_getfd", || call!(SYS_pidfd_getfd, NONE, 0, 0)),
    refused("set another process's limits", || {
        call!(SYS_prlimit64, INIT, 0, NOTHING, NOTHING)
    }),
    refused("mount", || {
        call!(SYS_mount, NOTHING, NOTHING, NOTHING, 0, NOTHING)
    }),
    refused("unmount", || call!(SYS_umount2, NOTHING, 0)),
    refused("chroot", || call!(SYS_chroot, NOTHING)),
    refused("unshare", || call!(SYS_unshare, 0)),
    refused("setns", || call!(SYS_setns, NONE, 0)),
    refused("bpf", || call!(SYS_bpf, NONE, NOTHING, 0)),
    refused("keyctl", || call!(SYS_keyctl, NONE)),
    refused("add_key", || {
        call!(SYS_add_key, NOTHING, NOTHING, NOTHING, 0, 0)
    }),
    refused("io_uring_setup", || call!(SYS_io_uring_setup, 1, NOTHING)),
    refused("perf_event_open", || {
        call!(SYS_perf_event_open, NOTHING, 0, NONE, NONE, 0)
    }),
    refused("userfaultfd", || call!(SYS_userfaultfd, 0)),
    refused("inotify", || call!(SYS_inotify_init1, 0)),
    refused("become dumpable", || {
        call!(SYS_prctl, libc::PR_SET_DUMPABLE, 1)
    }),
    refused("another mode of seccomp", || {
        call!(SYS_seccomp, libc::SECCOMP_SET_MODE_STRICT, 1, NOTHING)
    }),
    refused("have readable memory executed", || {
        call!(SYS_personality, libc::READ_IMPLIES_EXEC)
    }),
    let_controllers("map memory that is code", || {
        let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        call!(
            SYS_mmap,
            null_mut::<c_void>(),
            4096,
            protection,
            flags,
            NONE,
            0
        )
    }),
    let_controllers("make memory code", || {
        // No page, so that nothing becomes code where it is let.
        call!(SYS_mprotect, NOTHING, 0, libc::PROT_EXEC)
    }),
    refused("protection keys", || call!(SYS_pkey_alloc, 0, 0)),
    refused("type into the terminal", || {
        call!(SYS_ioctl, 0, libc::TIOCSTI, NOTHING)
    }),
    refused("make a VM", || {
        const KVM_CREATE_VM: c_long = 0xae01;
        call!(SYS_ioctl, NONE, KVM_CREATE_VM, 0)
    }),
    refused("signals from a descriptor", || {
        call!(SYS_fcntl, 0, libc::F_SETOWN, 0)
    }),
    refused("setuid", || call!(SYS_setuid, 0)),
    refused("capset", || call!(SYS_capset, NOTHING, NOTHING)),
    refused("load a module", || {
        call!(SYS_init_module, NOTHING, 0, NOTHING)
    }),
    refused("read the kernel's log", || {
        call!(SYS_syslog, 10, NOTHING, 0)
    }),
    refused("I/O ports", || call!(SYS_iopl, 0)),
    refused("an unknown call", || {
        const NOT_YET: c_long = 1000;
        // SAFETY: no kernel has it.
        unsafe { syscall(NOT_YET) }
    }),
];

/// Ends a child that should not be; its parent reports the success.
fn child(result: c_long) -> c_long {
    if result == 0 {
        // SAFETY: it ends the child, and runs nothing of the parent's.
        unsafe { libc::_exit(0) };
    }
    result
}
