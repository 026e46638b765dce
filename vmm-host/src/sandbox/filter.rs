// SPDX-License-Identifier: MIT OR Apache-2.0
//! From lists of system calls to what the kernel runs at each of them.

use super::calls::{self, Allowed, Argument};
use super::requests::KVM_RUN;
use crate::confinement::ThreadRole;
use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use seccompiler::{
    apply_filter, sock_filter, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;
use std::io;

/// Where the kernel puts the call's number, its architecture, and the low half of argument 1
/// (`struct seccomp_data`).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENT_1: u32 = 24;

/// AUDIT_ARCH_X86_64.
const X86_64: u32 = 0xc000_003e;

/// Whether this kernel filters system calls: one that does looks for the filter, and finds none.
/// (One that was built with seccomp and without filters lists what these could do all the same.)
pub(super) fn is_available() -> bool {
    let nowhere = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: the kernel checks the pointer, and changes nothing without a filter.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, nowhere) };
    result == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

/// What the kernel runs at each system call of a thread.
#[derive(Clone, Debug)]
pub(super) struct Filter(BpfProgram);

impl Filter {
    /// The filter of a thread with this role.
    pub(super) fn of(role: ThreadRole) -> Self {
        let mut program = Vec::new();
        if role == ThreadRole::Vcpu {
            program.extend(run_first());
        }
        if calls::starts_threads(role) {
            program.extend(no_clone3());
        }
        program.extend(compile(calls::of(role)));
        Self(program)
    }

    /// Confines the calling thread to it.
    pub(super) fn install(&self) -> io::Result<()> {
        apply_filter(&self.0).map_err(|error| match error {
            seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => error,
            other => io::Error::other(other),
        })
    }
}

const fn load(offset: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, offset)
}

const fn answer(action: u32) -> sock_filter {
    statement(BPF_RET | BPF_K, action)
}

const fn statement(code: u32, k: u32) -> sock_filter {
    let code = code as u16;
    let (jt, jf) = (0, 0);
    sock_filter { code, jt, jf, k }
}

/// Goes on with the next instruction if what was loaded is `value`, else past `others` more.
const fn unless_skip(value: u32, others: u8) -> sock_filter {
    let code = (BPF_JMP | BPF_JEQ | BPF_K) as u16;
    let (jt, k) = (0, value);
    let jf = others;
    sock_filter { code, jt, jf, k }
}

/// KVM_RUN is asked for at every exit, and the kernel remembers no answer to a call whose
/// arguments matter: seven instructions, in place of a walk through the whole list.
fn run_first() -> [sock_filter; 7] {
    [
        load(ARCHITECTURE),
        unless_skip(X86_64, 5),
        load(NUMBER),
        unless_skip(libc::SYS_ioctl as u32, 3),
        load(ARGUMENT_1),
        unless_skip(KVM_RUN, 1),
        answer(libc::SECCOMP_RET_ALLOW),
    ]
}

/// The flags of `clone3` are in memory, where no filter sees them. A kernel that does not
/// have it is asked by `clone`, whose flags are an argument.
fn no_clone3() -> [sock_filter; 3] {
    [
        load(NUMBER),
        unless_skip(libc::SYS_clone3 as u32, 1),
        answer(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
    ]
}

/// Calls that are allowed without conditions, and those with, each list an alternative.
fn compile(allowed: Vec<Allowed>) -> BpfProgram {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for Allowed { call, arguments } in &allowed {
        let alternatives = rules.entry(*call).or_default();
        if !arguments.is_empty() {
            alternatives.push(rule(arguments));
        }
    }
    // What one list allows whole, no condition of another takes back.
    for Allowed { call, arguments } in &allowed {
        if arguments.is_empty() {
            rules.insert(*call, Vec::new());
        }
    }
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, refuse, SeccompAction::Allow, TargetArch::x86_64)
        .and_then(TryInto::try_into)
        .expect("lists of this crate make filters that the kernel takes, as its tests see")
}

fn rule(arguments: &[Argument]) -> SeccompRule {
    let conditions = arguments.iter().map(condition).collect();
    SeccompRule::new(conditions).expect("a rule has conditions")
}

fn condition(argument: &Argument) -> SeccompCondition {
    use SeccompCmpArgLen::{Dword, Qword};
    use SeccompCmpOp::{Eq, MaskedEq};
    let (place, width, operator, value) = match *argument {
        Argument::Int(place, value) => (place, Dword, Eq, value.into()),
        Argument::Long(place, value) => (place, Qword, Eq, value),
        Argument::Without(place, bits) => (place, Qword, MaskedEq(bits), 0),
    };
    SeccompCondition::new(place, width, operator, value).expect("a call has six arguments")
}
