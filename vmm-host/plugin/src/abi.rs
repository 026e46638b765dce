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

/// The right to answer a call later, once, on any thread. It is a number in the shape of a
/// pointer: there is nothing to be read there, and no two have been or will be the same.
#[repr(C)]
pub struct RawDeferred {
    _opaque: [u8; 0],
}

impl core::fmt::Debug for RawDeferred {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter
            .debug_struct("RawDeferred")
            .finish_non_exhaustive()
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
    /// Puts the vCPU's segments, descriptor tables and control registers there.
    ///
    /// This one and those below were not there in the beginning: [`size`](Self::size) says
    /// whether they are.
    pub special_registers:
        unsafe extern "C" fn(call: *const RawCall, registers: *mut SpecialRegisters) -> i32,
    /// Sets them; −EINVAL if anything reserved is not 0, −EIO if KVM refuses.
    pub set_special_registers:
        unsafe extern "C" fn(call: *mut RawCall, registers: *const SpecialRegisters) -> i32,
    /// Makes an interrupt pending in a vCPU's local APIC; −EINVAL for a vector below 16, −ENXIO
    /// if there is no such vCPU or its APIC is off, −EOPNOTSUPP if the VMM offers none.
    pub inject_interrupt: unsafe extern "C" fn(call: *const RawCall, vcpu: u32, vector: u8) -> i32,
    /// Puts the answer off, until `answer` is called with what is put there. −EOPNOTSUPP in a
    /// batch and through a ring, −EBUSY if the handler has asked for something else.
    pub defer: unsafe extern "C" fn(call: *mut RawCall, deferred: *mut *mut RawDeferred) -> i32,
    /// Answers a call that was deferred, with what [`CallFunction`] could have returned; −EINVAL
    /// if it has been answered.
    pub answer: unsafe extern "C" fn(
        host: *const HostFunctions,
        deferred: *mut RawDeferred,
        result: i64,
    ) -> i32,
    /// Whether somebody still waits for the answer, 1 or 0; −EINVAL if it has been given.
    pub is_awaited:
        unsafe extern "C" fn(host: *const HostFunctions, deferred: *const RawDeferred) -> i32,
}

/// Bytes of [`HostFunctions`] in the beginning.
pub const HOST_FUNCTIONS_FIRST_SIZE: usize = 136;

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

/// A segment register with what the processor keeps of its descriptor. Flags are 0 or 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Segment {
    /// Its first byte.
    pub base: u64,
    /// Its last byte, whatever the granularity.
    pub limit: u32,
    /// What a program sees of it.
    pub selector: u16,
    /// The descriptor's type, 4 bits.
    pub segment_type: u8,
    /// Whether it is present.
    pub present: u8,
    /// The descriptor's privilege level, 0 to 3.
    pub dpl: u8,
    /// Whether it is of 32 bits.
    pub db: u8,
    /// Whether it is code or data; 0: the system's.
    pub s: u8,
    /// Whether it is code of 64 bits.
    pub l: u8,
    /// Whether its limit is in pages.
    pub g: u8,
    /// The bit that is software's.
    pub avl: u8,
    /// Whether it cannot be used.
    pub unusable: u8,
    /// 0.
    pub reserved: u8,
}

/// A descriptor table's register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DescriptorTable {
    /// Its first byte.
    pub base: u64,
    /// Its last byte, from the first on.
    pub limit: u16,
    /// 0.
    pub reserved: [u16; 3],
}

/// A vCPU's segments, descriptor tables and control registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs)]
pub struct SpecialRegisters {
    pub cs: Segment,
    pub ds: Segment,
    pub es: Segment,
    pub fs: Segment,
    pub gs: Segment,
    pub ss: Segment,
    pub tr: Segment,
    pub ldt: Segment,
    pub gdt: DescriptorTable,
    pub idt: DescriptorTable,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub cr8: u64,
    pub efer: u64,
    pub apic_base: u64,
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

    assert!(size_of::<HostFunctions>() == 184);
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
    assert!(offset_of!(HostFunctions, special_registers) == HOST_FUNCTIONS_FIRST_SIZE);
    assert!(offset_of!(HostFunctions, set_special_registers) == 144);
    assert!(offset_of!(HostFunctions, inject_interrupt) == 152);
    assert!(offset_of!(HostFunctions, defer) == 160);
    assert!(offset_of!(HostFunctions, answer) == 168);
    assert!(offset_of!(HostFunctions, is_awaited) == 176);

    assert!(size_of::<Registers>() == 144);
    assert!(offset_of!(Registers, rdi) == 40);
    assert!(offset_of!(Registers, rsp) == 48);
    assert!(offset_of!(Registers, r8) == 64);
    assert!(offset_of!(Registers, rip) == 128);
    assert!(offset_of!(Registers, rflags) == 136);

    assert!(size_of::<Segment>() == 24);
    assert!(offset_of!(Segment, limit) == 8);
    assert!(offset_of!(Segment, selector) == 12);
    assert!(offset_of!(Segment, segment_type) == 14);
    assert!(offset_of!(Segment, present) == 15);
    assert!(offset_of!(Segment, dpl) == 16);
    assert!(offset_of!(Segment, db) == 17);
    assert!(offset_of!(Segment, s) == 18);
    assert!(offset_of!(Segment, l) == 19);
    assert!(offset_of!(Segment, g) == 20);
    assert!(offset_of!(Segment, avl) == 21);
    assert!(offset_of!(Segment, unusable) == 22);
    assert!(offset_of!(Segment, reserved) == 23);

    assert!(size_of::<DescriptorTable>() == 16);
    assert!(offset_of!(DescriptorTable, limit) == 8);
    assert!(offset_of!(DescriptorTable, reserved) == 10);

    assert!(size_of::<SpecialRegisters>() == 280);
    assert!(offset_of!(SpecialRegisters, ss) == 120);
    assert!(offset_of!(SpecialRegisters, ldt) == 168);
    assert!(offset_of!(SpecialRegisters, gdt) == 192);
    assert!(offset_of!(SpecialRegisters, idt) == 208);
    assert!(offset_of!(SpecialRegisters, cr0) == 224);
    assert!(offset_of!(SpecialRegisters, efer) == 264);
    assert!(offset_of!(SpecialRegisters, apic_base) == 272);
};
