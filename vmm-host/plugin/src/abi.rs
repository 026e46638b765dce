// SPDX-License-Identifier: MIT OR Apache-2.0
//! What crosses between a plugin and its host, version 1: the same as
//! `include/hcall_plugin.h`, with which a test compares it.
//!
//! # How it grows
//!
//! Every structure that may grow begins with, or is accompanied by, its size as its writer
//! knows it. New fields are added at the end, and the version stays. A host takes a plugin's
//! structures for as long as they are, as if what is missing were zero; a plugin looks at the
//! size of [`HostFunctions`] before it uses a function that version 1 did not begin with. The
//! version changes if an old field does.

use core::ffi::{c_char, c_void, CStr};
use core::marker::{PhantomData, PhantomPinned};
use core::mem::{offset_of, size_of};

/// The version of this file.
pub const PLUGIN_ABI_VERSION: u32 = 1;

/// The symbol by which a plugin exports its [`PluginDescriptor`], which is data: nothing of a
/// plugin is called before its host has read that.
pub const SYMBOL: &CStr = c"hcall_plugin";

/// Longest name, and longest version text, of a plugin, in bytes without the NUL.
pub const TEXT_LIMIT: usize = 63;

/// Most handlers of a plugin.
pub const HANDLERS_LIMIT: u32 = 1024;

/// What a handler returns that has panicked: the guest is answered −EIO, and the call is
/// counted as one whose handler panicked.
pub const RESULT_PANICKED: i64 = i64::MIN;

/// [`HandlerDescriptor::callers`]: whoever the VM's policy lets.
pub const CALLERS_OF_THE_VM: u32 = 0;
/// [`HandlerDescriptor::callers`]: CPL 0 only.
pub const CALLERS_KERNEL_ONLY: u32 = 1;
/// [`HandlerDescriptor::callers`]: every privilege level.
pub const CALLERS_ANY_PRIVILEGE_LEVEL: u32 = 2;

/// What a plugin is.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct PluginDescriptor {
    /// [`PLUGIN_ABI_VERSION`] as the plugin knows it.
    pub abi_version: u32,
    /// Bytes of this structure as the plugin knows it.
    pub size: u32,
    /// Name, UTF-8, at most [`TEXT_LIMIT`] bytes and a NUL.
    pub name: *const c_char,
    /// Version of the plugin itself, as the name.
    pub version: *const c_char,
    /// The first of its handlers.
    pub handlers: *const HandlerDescriptor,
    /// How many, 1 to [`HANDLERS_LIMIT`].
    pub handler_count: u32,
    /// Bytes from one to the next: of [`HandlerDescriptor`] as the plugin knows it.
    pub handler_size: u32,
    /// Makes the state that the handlers are given. May be null: they are given null.
    pub create: Option<CreateFunction>,
    /// Ends that state. May be null.
    pub destroy: Option<DestroyFunction>,
}

// SAFETY: the pointers are to constants of the plugin.
unsafe impl Sync for PluginDescriptor {}

/// What answers a number.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct HandlerDescriptor {
    /// The number, one that a VMM can have.
    pub number: u32,
    /// Who may call it: one of the `CALLERS_…`.
    pub callers: u32,
    /// What answers. Not null.
    pub call: Option<CallFunction>,
}

/// Puts the plugin's state into `*state` and returns 0, or returns a negative errno: the plugin
/// is then not loaded.
pub type CreateFunction =
    unsafe extern "C" fn(host: *const HostFunctions, state: *mut *mut c_void) -> i32;

/// Called once, when no call is under way and none will come.
pub type DestroyFunction = unsafe extern "C" fn(state: *mut c_void);

/// Answers a call: a payload from 0 on, −errno from −1 to −4095, or [`RESULT_PANICKED`].
/// Anything else reaches the guest as −EIO.
///
/// It runs on the thread of the vCPU that called, perhaps on several at once. Nothing may be
/// thrown out of it.
pub type CallFunction =
    unsafe extern "C" fn(state: *mut c_void, host: *const HostFunctions, call: *mut RawCall) -> i64;

/// A call as its host knows it. A handler may use it until it returns, on the thread that it
/// was called on.
#[repr(C)]
pub struct RawCall {
    _opaque: [u8; 0],
    _not_send: PhantomData<(*mut u8, PhantomPinned)>,
}

impl core::fmt::Debug for RawCall {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("RawCall").finish_non_exhaustive()
    }
}

/// What a host does for a plugin. It stands where it is from `create` to the end of `destroy`.
///
/// A function that returns `i32` returns 0 or a negative errno, if nothing else is said. Where
/// no vCPU makes the call, as through a ring, what needs one is −EOPNOTSUPP.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct HostFunctions {
    /// [`PLUGIN_ABI_VERSION`] as the host knows it.
    pub abi_version: u32,
    /// Bytes of this structure as the host knows it.
    pub size: u32,
    /// The host's own.
    pub host_data: *const c_void,
    /// Has a message logged, UTF-8, by the host of any call or of none; any thread may. Levels
    /// are 1 (error), 2 (warning), 3 (information), 4 (debugging) and 5 (tracing).
    pub log: unsafe extern "C" fn(
        host: *const HostFunctions,
        level: u32,
        text: *const c_char,
        length: u64,
    ),
    /// The number that was called.
    pub number: unsafe extern "C" fn(call: *const RawCall) -> u32,
    /// Puts the call's four arguments there.
    pub arguments: unsafe extern "C" fn(call: *const RawCall, arguments: *mut u64),
    /// The identifier of the vCPU that made the call, or a negative errno.
    pub vcpu: unsafe extern "C" fn(call: *const RawCall) -> i64,
    /// The caller's privilege level, 0 to 3, or a negative errno.
    pub cpl: unsafe extern "C" fn(call: *const RawCall) -> i32,
    /// How many bits the caller's registers have, 64 or 32, or a negative errno.
    pub mode: unsafe extern "C" fn(call: *const RawCall) -> i32,
    /// Copies guest memory at a guest-physical address to `bytes`; −EFAULT if not all of it is
    /// guest memory.
    pub read: unsafe extern "C" fn(
        call: *const RawCall,
        gpa: u64,
        bytes: *mut c_void,
        length: u64,
    ) -> i32,
    /// Copies `bytes` to guest memory: all, or nothing and −EFAULT.
    pub write: unsafe extern "C" fn(
        call: *const RawCall,
        gpa: u64,
        bytes: *const c_void,
        length: u64,
    ) -> i32,
    /// Puts the guest-physical address there that the guest's page tables give for a
    /// guest-virtual one; −EFAULT if none.
    pub translate: unsafe extern "C" fn(call: *const RawCall, gva: u64, gpa: *mut u64) -> i32,
    /// As `read`, at a guest-virtual address that the caller may read.
    pub read_virtual: unsafe extern "C" fn(
        call: *const RawCall,
        gva: u64,
        bytes: *mut c_void,
        length: u64,
    ) -> i32,
    /// As `write`, at a guest-virtual address that the caller may write.
    pub write_virtual: unsafe extern "C" fn(
        call: *const RawCall,
        gva: u64,
        bytes: *const c_void,
        length: u64,
    ) -> i32,
    /// Puts the vCPU's general registers there.
    pub registers: unsafe extern "C" fn(call: *mut RawCall, registers: *mut Registers) -> i32,
    /// Sets them. rax and rip are the call's, and stay.
    pub set_registers: unsafe extern "C" fn(call: *mut RawCall, registers: *const Registers) -> i32,
    /// Ends the VM with this status once the handler has returned.
    pub request_exit: unsafe extern "C" fn(call: *mut RawCall, status: u8),
    /// Ends the VM as panicked with this message, UTF-8, once the handler has returned.
    pub request_panic:
        unsafe extern "C" fn(call: *mut RawCall, message: *const c_char, length: u64),
}

/// A vCPU's general registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Registers {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rsp: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
}

const _: () = {
    assert!(size_of::<PluginDescriptor>() == 56);
    assert!(offset_of!(PluginDescriptor, size) == 4);
    assert!(offset_of!(PluginDescriptor, name) == 8);
    assert!(offset_of!(PluginDescriptor, version) == 16);
    assert!(offset_of!(PluginDescriptor, handlers) == 24);
    assert!(offset_of!(PluginDescriptor, handler_count) == 32);
    assert!(offset_of!(PluginDescriptor, handler_size) == 36);
    assert!(offset_of!(PluginDescriptor, create) == 40);
    assert!(offset_of!(PluginDescriptor, destroy) == 48);

    assert!(size_of::<HandlerDescriptor>() == 16);
    assert!(offset_of!(HandlerDescriptor, callers) == 4);
    assert!(offset_of!(HandlerDescriptor, call) == 8);

    assert!(size_of::<HostFunctions>() == 136);
    assert!(offset_of!(HostFunctions, size) == 4);
    assert!(offset_of!(HostFunctions, host_data) == 8);
    assert!(offset_of!(HostFunctions, log) == 16);
    assert!(offset_of!(HostFunctions, number) == 24);
    assert!(offset_of!(HostFunctions, arguments) == 32);
    assert!(offset_of!(HostFunctions, vcpu) == 40);
    assert!(offset_of!(HostFunctions, cpl) == 48);
    assert!(offset_of!(HostFunctions, mode) == 56);
    assert!(offset_of!(HostFunctions, read) == 64);
    assert!(offset_of!(HostFunctions, write) == 72);
    assert!(offset_of!(HostFunctions, translate) == 80);
    assert!(offset_of!(HostFunctions, read_virtual) == 88);
    assert!(offset_of!(HostFunctions, write_virtual) == 96);
    assert!(offset_of!(HostFunctions, registers) == 104);
    assert!(offset_of!(HostFunctions, set_registers) == 112);
    assert!(offset_of!(HostFunctions, request_exit) == 120);
    assert!(offset_of!(HostFunctions, request_panic) == 128);

    assert!(size_of::<Registers>() == 144);
    assert!(offset_of!(Registers, rdi) == 40);
    assert!(offset_of!(Registers, rsp) == 48);
    assert!(offset_of!(Registers, r8) == 64);
    assert!(offset_of!(Registers, rip) == 128);
    assert!(offset_of!(Registers, rflags) == 136);
};
