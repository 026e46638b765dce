// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which system calls each role may make, and with which arguments.
//!
//! Whatever is listed either works on what the process has already, or concerns the calling
//! thread only. The lists were found by watching the tests run (`strace -f`) with glibc, and
//! from what it does on paths that are hard to reach by a test: a thread's first allocation, a
//! panic, a full pipe. The lab runs them linked statically.

use super::requests;
use crate::confinement::ThreadRole;
use libc::c_long;

/// A condition on an argument, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    /// The low 32 bits are these: for what the kernel takes as an `int`.
    Int(u8, u32),
    /// All 64 bits are these.
    Long(u8, u64),
    /// None of these bits is set.
    Without(u8, u64),
}

/// A system call, and what must hold of its arguments; all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    pub(super) call: c_long,
    pub(super) arguments: Vec<Argument>,
}

/// What every thread needs to live, and what works on descriptors that are open.
const COMMON: &[c_long] = &[
    // Memory.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // Time, turns, chance. Clocks are system calls where the vDSO has no usable one.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    // Locks and threads.
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_membarrier,
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    // Signals of one's own: kicks, Ctrl-C, the report of a stack overflow.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Open descriptors. No message with descriptors in it: `recvmsg` is the controller's.
    libc::SYS_close,
    libc::SYS_fdatasync,
    libc::SYS_fstat,
    libc::SYS_fsync,
    libc::SYS_lseek,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_shutdown,
    libc::SYS_write,
    libc::SYS_writev,
];

/// New events, by which rings and external handlers wait: neither names anything.
const EVENTS: &[c_long] = &[libc::SYS_eventfd2];

/// Who controls the VM connects, passes descriptors, and has plugins loaded: from memory
/// that has no name. `openat` is `dlopen`'s of /proc/self/fd/N, the only path that Landlock
/// leaves: it leads to what is open.
const CONTROL: &[c_long] = &[
    libc::SYS_accept4,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd2,
    libc::SYS_ftruncate,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_memfd_create,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_recvmsg,
    libc::SYS_sendfile,
    libc::SYS_sendmsg,
];

/// Who has built the VM removes its control socket, once it has seen that it is still the same:
/// where Landlock lets, if at all.
const OWNER: &[c_long] = &[libc::SYS_newfstatat, libc::SYS_unlinkat];

/// Flags of a thread, as the C libraries set them: it shares everything. With CLONE_DETACHED
/// (musl), which means nothing.
const THREAD: u64 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM
    | libc::CLONE_SETTLS
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID) as u64;
const DETACHED_THREAD: u64 = THREAD | libc::CLONE_DETACHED as u64;

/// Whether threads of this role start others; these inherit its filter, and add their own.
pub(super) fn starts_threads(role: ThreadRole) -> bool {
    matches!(role, ThreadRole::Vcpu | ThreadRole::Control)
}

/// Everything that `role` may do.
pub(super) fn of(role: ThreadRole) -> Vec<Allowed> {
    let mut allowed = plain(COMMON);
    allowed.extend(common_with_arguments());
    allowed.extend(requests::of(role).into_iter().map(|request| {
        let arguments = vec![Argument::Int(1, request)];
        with(libc::SYS_ioctl, arguments)
    }));
    match role {
        ThreadRole::Vcpu | ThreadRole::ExternalHandler => allowed.extend(plain(EVENTS)),
        ThreadRole::Control => allowed.extend(plain(CONTROL)),
        ThreadRole::Owner => allowed.extend(plain(OWNER)),
        ThreadRole::Ring | ThreadRole::ConsoleInput | ThreadRole::Signals => {}
    }
    if starts_threads(role) {
        allowed.extend(starting_threads());
    }
    allowed
}

fn common_with_arguments() -> Vec<Allowed> {
    const NO_CODE: Argument = Argument::Without(2, libc::PROT_EXEC as u64);
    let process = std::process::id();
    let mut allowed = vec![
        with(libc::SYS_mmap, vec![NO_CODE]),
        with(libc::SYS_mprotect, vec![NO_CODE]),
        // To a thread of this process: a kick, or `abort`.
        with(libc::SYS_tgkill, vec![Argument::Int(0, process)]),
        // To the peer that the socket has, and no address.
        with(libc::SYS_sendto, vec![Argument::Long(4, 0)]),
    ];
    for command in [
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
        libc::F_DUPFD_CLOEXEC,
        libc::F_ADD_SEALS,
        libc::F_GET_SEALS,
    ] {
        allowed.push(with(
            libc::SYS_fcntl,
            vec![Argument::Int(1, command as u32)],
        ));
    }
    // Time limits of sockets.
    for option in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
        let arguments = vec![
            Argument::Int(1, libc::SOL_SOCKET as u32),
            Argument::Int(2, option as u32),
        ];
        allowed.push(with(libc::SYS_setsockopt, arguments));
    }
    allowed
}

/// A thread, not a process; its name; and its own filter, which can only take away.
fn starting_threads() -> Vec<Allowed> {
    let filter = vec![
        Argument::Int(0, libc::SECCOMP_SET_MODE_FILTER),
        Argument::Long(1, 0),
    ];
    let mut allowed = vec![with(libc::SYS_seccomp, filter)];
    for flags in [THREAD, DETACHED_THREAD] {
        allowed.push(with(libc::SYS_clone, vec![Argument::Long(0, flags)]));
    }
    for option in [libc::PR_SET_NAME, libc::PR_SET_NO_NEW_PRIVS] {
        allowed.push(with(libc::SYS_prctl, vec![Argument::Int(0, option as u32)]));
    }
    allowed
}

fn plain(calls: &[c_long]) -> Vec<Allowed> {
    calls.iter().map(|call| with(*call, Vec::new())).collect()
}

fn with(call: c_long, arguments: Vec<Argument>) -> Allowed {
    Allowed { call, arguments }
}
