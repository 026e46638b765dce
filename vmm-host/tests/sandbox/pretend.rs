// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernels that lack a layer of the sandbox, pretended by a filter of system calls, which
//! answers as such a kernel does and which programs inherit.

use libc::{c_long, c_void, sock_filter, BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use std::io;

/// What a kernel lacks, and so how it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// Built without Landlock: ENOSYS.
    Landlock,
    /// Landlock is not among the `lsm=` that it was booted with: EOPNOTSUPP.
    LandlockAtBoot,
    /// Built without seccomp: ENOSYS.
    Seccomp,
    /// Built with seccomp, and without its filters: EINVAL; it still lists what they could do.
    SeccompFilters,
}

impl Lack {
    fn errno(self) -> i32 {
        match self {
            Self::Landlock | Self::Seccomp => libc::ENOSYS,
            Self::LandlockAtBoot => libc::EOPNOTSUPP,
            Self::SeccompFilters => libc::EINVAL,
        }
    }

    fn rules(self) -> Vec<sock_filter> {
        let errno = self.errno();
        match self {
            Self::Landlock | Self::LandlockAtBoot => [
                libc::SYS_landlock_create_ruleset,
                libc::SYS_landlock_add_rule,
                libc::SYS_landlock_restrict_self,
            ]
            .into_iter()
            .flat_map(|call| refuse(call, errno))
            .collect(),
            Self::Seccomp => {
                let mut rules = refuse(libc::SYS_seccomp, errno).to_vec();
                rules.extend(no_prctl());
                rules
            }
            Self::SeccompFilters => {
                let set = libc::SECCOMP_SET_MODE_FILTER;
                let mut rules = refuse_if(libc::SYS_seccomp, set, errno).to_vec();
                rules.extend(no_prctl());
                rules
            }
        }
    }
}

/// A filter that is ready to be installed: nothing is allocated for that, so that it can be
/// done between `fork` and `exec`.
pub(crate) struct Pretence(Vec<sock_filter>);

impl Pretence {
    pub(crate) fn of(lacks: &[Lack]) -> Self {
        let mut program: Vec<sock_filter> = lacks.iter().flat_map(|lack| lack.rules()).collect();
        program.push(answer(libc::SECCOMP_RET_ALLOW));
        Self(program)
    }

    /// Has the calling thread, and what it starts from now on, see such a kernel.
    ///
    /// # Errors
    ///
    /// That of the kernel.
    pub(crate) fn begin(&self) -> io::Result<()> {
        install(&self.0, 0).map(drop)
    }
}

/// Installs a filter; what `seccomp` returns. New privileges are given up only where one must,
/// which is part of what the sandbox is tested for.
pub(crate) fn install(program: &[sock_filter], flags: libc::c_ulong) -> io::Result<c_long> {
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut(),
    };
    let set = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the kernel reads the program, which outlives the call.
    let install = || unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            set,
            flags,
            (&raw const program).cast::<c_void>(),
        )
    };
    let mut result = install();
    if result < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EACCES) {
        // SAFETY: it has no pointers.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        result = install();
    }
    match result {
        0.. => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Where the kernel puts the call's number and the low half of argument 0.
const NUMBER: u32 = 0;
const ARGUMENT_0: u32 = 16;

fn no_prctl() -> [sock_filter; 5] {
    refuse_if(libc::SYS_prctl, libc::PR_SET_SECCOMP as u32, libc::EINVAL)
}

fn refuse(call: c_long, errno: i32) -> [sock_filter; 3] {
    let refusal = libc::SECCOMP_RET_ERRNO | errno as u32;
    [load(NUMBER), unless_skip(call as u32, 1), answer(refusal)]
}

fn refuse_if(call: c_long, argument: u32, errno: i32) -> [sock_filter; 5] {
    [
        load(NUMBER),
        unless_skip(call as u32, 3),
        load(ARGUMENT_0),
        unless_skip(argument, 1),
        answer(libc::SECCOMP_RET_ERRNO | errno as u32),
    ]
}

pub(crate) fn load(offset: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, offset)
}

pub(crate) fn answer(action: u32) -> sock_filter {
    statement(BPF_RET | BPF_K, action)
}

/// Goes on with the next instruction if what was loaded is `value`, else past `others` more.
pub(crate) fn unless_skip(value: u32, others: u8) -> sock_filter {
    let jump = statement(BPF_JMP | BPF_JEQ | BPF_K, value);
    sock_filter { jf: others, ..jump }
}

fn statement(code: u32, k: u32) -> sock_filter {
    let code = code as u16;
    let (jt, jf) = (0, 0);
    sock_filter { code, jt, jf, k }
}
