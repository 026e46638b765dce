// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every system call of a program and its threads, seen by ptrace: which, and how long.

use std::collections::HashMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

/// Bits 8 to 15 of an ioctl request say whose it is.
const IOCTL_TYPE_SHIFT: u64 = 8;
/// Which of KVM's requests, in bits 0 to 7 (include/uapi/linux/kvm.h).
const KVM_CREATE_VM: u64 = 0x01;
const KVM_CREATE_VCPU: u64 = 0x41;
const KVM_RUN: u64 = 0x80;

/// One system call that has returned.
#[derive(Clone, Debug)]
pub(crate) struct SystemCall {
    pub(crate) thread: libc::pid_t,
    number: u64,
    arguments: [u64; 2],
    pub(crate) result: i64,
    /// From its entry to its exit, with what it takes the tracer to be told of both.
    pub(crate) duration: Duration,
}

impl SystemCall {
    fn is(&self, number: libc::c_long) -> bool {
        i64::try_from(self.number) == Ok(number)
    }

    pub(crate) fn is_kvm_ioctl(&self) -> bool {
        let kind = (self.arguments[1] >> IOCTL_TYPE_SHIFT) & 0xff;
        self.is(libc::SYS_ioctl) && kind == u64::from(kvm_bindings::KVMIO)
    }

    fn is_kvm_request(&self, sequence: u64) -> bool {
        self.is_kvm_ioctl() && self.arguments[1] & 0xff == sequence
    }

    pub(crate) fn is_kvm_run(&self) -> bool {
        self.is_kvm_request(KVM_RUN)
    }

    pub(crate) fn makes_vm(&self) -> bool {
        self.is_kvm_request(KVM_CREATE_VM)
    }

    pub(crate) fn makes_vcpu(&self) -> bool {
        self.is_kvm_request(KVM_CREATE_VCPU)
    }

    /// The file descriptor of a `close`.
    pub(crate) fn closes(&self) -> Option<u64> {
        self.is(libc::SYS_close).then_some(self.arguments[0])
    }

    /// Whether it writes to standard output.
    pub(crate) fn prints(&self) -> bool {
        self.is(libc::SYS_write) && self.arguments[0] == libc::STDOUT_FILENO as u64
    }
}

/// Runs `command` to its end, which must be a good one; its system calls, in the order of
/// their ends.
pub(crate) fn trace(command: &mut Command) -> Result<Vec<SystemCall>, String> {
    let ask_to_be_traced = || request(libc::PTRACE_TRACEME, 0, 0, 0);
    // SAFETY: between fork and exec, only a system call is made.
    unsafe { command.pre_exec(ask_to_be_traced) };
    let child = command
        .spawn()
        .map_err(|error| format!("{command:?}: {error}"))?;
    follow(child.id() as libc::pid_t).map_err(|error| format!("tracing {command:?}: {error}"))
}

/// One of ptrace's requests that take numbers.
fn request(
    request: libc::c_uint,
    thread: libc::pid_t,
    address: usize,
    data: usize,
) -> io::Result<()> {
    // SAFETY: none of the requests made here reads or writes memory of this process, but
    // for `GETREGS`, whose data is a structure of that type.
    match unsafe { libc::ptrace(request, thread, address, data) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn registers(thread: libc::pid_t) -> io::Result<libc::user_regs_struct> {
    // SAFETY: plain integers.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    let address = (&raw mut registers).expose_provenance();
    request(libc::PTRACE_GETREGS, thread, 0, address)?;
    Ok(registers)
}

/// The next thread of which there is something to be said, and what: a status of `waitpid`.
fn wait(thread: libc::pid_t) -> io::Result<(libc::pid_t, i32)> {
    let mut status = 0;
    // SAFETY: writes the status.
    match unsafe { libc::waitpid(thread, &raw mut status, libc::__WALL) } {
        -1 => Err(io::Error::last_os_error()),
        thread => Ok((thread, status)),
    }
}

/// What a thread has asked of the kernel.
struct Entered {
    number: u64,
    arguments: [u64; 2],
    at: Instant,
}

/// What PTRACE_O_TRACESYSGOOD makes of SIGTRAP at a system call.
const AT_SYSTEM_CALL: i32 = libc::SIGTRAP | 0x80;

fn follow(child: libc::pid_t) -> io::Result<Vec<SystemCall>> {
    wait(child)?;
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_EXITKILL;
    request(libc::PTRACE_SETOPTIONS, child, 0, options as usize)?;
    request(libc::PTRACE_SYSCALL, child, 0, 0)?;

    let mut entered = HashMap::new();
    let mut calls = Vec::new();
    loop {
        let (thread, status) = wait(-1)?;
        let now = Instant::now();
        if !libc::WIFSTOPPED(status) {
            if thread != child {
                continue;
            }
            if status == 0 {
                return Ok(calls);
            }
            return Err(io::Error::other(format!(
                "it ended with wait status {status}"
            )));
        }
        let signal = match libc::WSTOPSIG(status) {
            AT_SYSTEM_CALL => {
                calls.extend(pass(thread, now, &mut entered));
                0
            }
            // A thread begins, or has made another.
            libc::SIGSTOP | libc::SIGTRAP => 0,
            signal => signal as usize,
        };
        // Whoever has ended meanwhile need not go on.
        let _ = request(libc::PTRACE_SYSCALL, thread, 0, signal);
    }
}

/// `thread` stands at the entry to a system call, or at its exit, and then it has made it.
fn pass(
    thread: libc::pid_t,
    now: Instant,
    entered: &mut HashMap<libc::pid_t, Entered>,
) -> Option<SystemCall> {
    // A thread that has ended meanwhile has no registers.
    let registers = registers(thread).ok()?;
    let Some(entry) = entered.remove(&thread) else {
        let entry = Entered {
            number: registers.orig_rax,
            arguments: [registers.rdi, registers.rsi],
            at: now,
        };
        entered.insert(thread, entry);
        return None;
    };
    Some(SystemCall {
        thread,
        number: entry.number,
        arguments: entry.arguments,
        result: registers.rax as i64,
        duration: now - entry.at,
    })
}
