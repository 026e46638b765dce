// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a plugin can ask of its host: `Hypercall`'s methods, as functions of C.

use super::owed::Owed;
use super::registers::{for_kvm, for_plugin, set_special, special_for_plugin};
use super::{decode, Plugin};
use crate::hypercall::{Hypercall, Mode};
use crate::interrupts::InterruptVector;
use hcall_abi::{Errno, Gpa};
use hcall_plugin::abi::{
    HostFunctions, RawCall, RawDeferred, Registers, SpecialRegisters, PLUGIN_ABI_VERSION,
    RESULT_PANICKED,
};
use std::ffi::{c_char, c_void};
use std::mem::size_of;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;
use std::slice;
use std::sync::Arc;

/// Longest message that is logged, in bytes.
const MESSAGE_LIMIT: u64 = 64 * 1024;

/// The functions as one plugin is given them.
pub(super) struct HostTable {
    functions: HostFunctions,
    /// What `host_data` points to.
    data: Arc<HostData>,
}

/// What the host knows of a plugin where no call is at hand.
struct HostData {
    /// By which its messages are logged.
    name: String,
    owed: Owed,
}

impl HostTable {
    /// For the plugin of this name.
    pub(super) fn new(name: &str) -> Self {
        let data = Arc::new(HostData {
            name: name.to_owned(),
            owed: Owed::default(),
        });
        Self {
            functions: HostFunctions {
                abi_version: PLUGIN_ABI_VERSION,
                size: size_of::<HostFunctions>() as u32,
                host_data: Arc::as_ptr(&data).cast(),
                log,
                number,
                arguments,
                vcpu,
                cpl,
                mode,
                read,
                write,
                translate,
                read_virtual,
                write_virtual,
                registers,
                set_registers,
                request_exit,
                request_panic,
                special_registers,
                set_special_registers,
                inject_interrupt,
                defer,
                answer: answer_deferred,
                is_awaited,
            },
            data,
        }
    }

    pub(super) fn functions(&self) -> &HostFunctions {
        &self.functions
    }
}

/// A call as plugins have it, until their handler returns.
pub(super) struct PluginCall<'a, 'call> {
    call: &'a mut Hypercall<'call>,
    plugin: &'a Arc<Plugin>,
}

impl<'a, 'call> PluginCall<'a, 'call> {
    pub(super) fn new(call: &'a mut Hypercall<'call>, plugin: &'a Arc<Plugin>) -> Self {
        Self { call, plugin }
    }

    pub(super) fn raw(&mut self) -> *mut RawCall {
        ptr::from_mut(self).cast()
    }
}

/// The other way.
///
/// # Safety
///
/// `call` is null, or what [`PluginCall::raw`] made of a call that the present thread is
/// answering.
unsafe fn call_of<'a>(call: *const RawCall) -> Result<&'a Hypercall<'a>, Errno> {
    // SAFETY: by the contract; its lifetimes are cut to that of the function which asks.
    let call = unsafe { call.cast::<PluginCall<'a, 'a>>().as_ref() };
    Ok(call.ok_or(Errno::EFAULT)?.call)
}

/// # Safety
///
/// As [`call_of`], and nothing else of it is borrowed.
unsafe fn plugin_call_of_mut<'a>(call: *mut RawCall) -> Result<&'a mut PluginCall<'a, 'a>, Errno> {
    // SAFETY: by the contract.
    unsafe { call.cast::<PluginCall<'a, 'a>>().as_mut() }.ok_or(Errno::EFAULT)
}

/// # Safety
///
/// As [`plugin_call_of_mut`].
unsafe fn call_of_mut<'a>(call: *mut RawCall) -> Result<&'a mut Hypercall<'a>, Errno> {
    // SAFETY: by the contract.
    Ok(unsafe { plugin_call_of_mut(call)? }.call)
}

/// # Safety
///
/// `host` is null, or the table of a plugin that has not been unloaded, or a copy of it.
unsafe fn data_of<'a>(host: *const HostFunctions) -> Result<&'a HostData, Errno> {
    // SAFETY: by the contract.
    let host = unsafe { host.as_ref() }.ok_or(Errno::EFAULT)?;
    // SAFETY: `HostTable::new` has put it there, and it lives as long as the table.
    unsafe { host.host_data.cast::<HostData>().as_ref() }.ok_or(Errno::EFAULT)
}

/// # Safety
///
/// `bytes` is null, or `length` bytes that may be read for as long as is asked.
unsafe fn bytes_of<'a>(bytes: *const c_void, length: u64) -> Result<&'a [u8], Errno> {
    let length = checked_length(length)?;
    if length == 0 {
        return Ok(&[]);
    }
    if bytes.is_null() {
        return Err(Errno::EFAULT);
    }
    // SAFETY: by the contract, and no longer than memory can be.
    Ok(unsafe { slice::from_raw_parts(bytes.cast(), length) })
}

/// # Safety
///
/// `bytes` is null, or `length` bytes that may be written for as long as is asked.
unsafe fn bytes_of_mut<'a>(bytes: *mut c_void, length: u64) -> Result<&'a mut [u8], Errno> {
    let length = checked_length(length)?;
    if length == 0 {
        return Ok(&mut []);
    }
    if bytes.is_null() {
        return Err(Errno::EFAULT);
    }
    // SAFETY: by the contract, and no longer than memory can be.
    Ok(unsafe { slice::from_raw_parts_mut(bytes.cast(), length) })
}

fn checked_length(length: u64) -> Result<usize, Errno> {
    isize::try_from(length)
        .map(isize::unsigned_abs)
        .map_err(|_| Errno::EINVAL)
}

/// What `function` returns, or a negative errno. A panic, as of an embedder's own guest memory,
/// does not cross into C.
fn answer<T: From<i16>>(function: impl FnOnce() -> Result<T, Errno>) -> T {
    match catch_unwind(AssertUnwindSafe(function)) {
        Ok(Ok(value)) => value,
        Ok(Err(errno)) => negative(errno),
        Err(payload) => {
            // Dropping what was thrown could throw again.
            std::mem::forget(payload);
            negative(Errno::EIO)
        }
    }
}

fn negative<T: From<i16>>(errno: Errno) -> T {
    // At most 4095.
    T::from(-(errno.get() as i16))
}

unsafe extern "C" fn log(host: *const HostFunctions, level: u32, text: *const c_char, length: u64) {
    answer(|| {
        // SAFETY: null, or so many bytes, by the contract.
        let text = unsafe { bytes_of(text.cast(), length.min(MESSAGE_LIMIT))? };
        // SAFETY: null, or the table that this plugin was given.
        let plugin = &unsafe { data_of(host)? }.name;
        let text = String::from_utf8_lossy(text);
        match level {
            0 | 1 => tracing::error!(%plugin, "{text}"),
            2 => tracing::warn!(%plugin, "{text}"),
            3 => tracing::info!(%plugin, "{text}"),
            4 => tracing::debug!(%plugin, "{text}"),
            _ => tracing::trace!(%plugin, "{text}"),
        }
        Ok(0_i32)
    });
}

unsafe extern "C" fn number(call: *const RawCall) -> u32 {
    // SAFETY: the plugin's call, by the contract.
    unsafe { call_of(call) }.map_or(0, |call| call.number().get())
}

unsafe extern "C" fn arguments(call: *const RawCall, arguments: *mut u64) {
    // SAFETY: the plugin's call, by the contract.
    let Ok(call) = (unsafe { call_of(call) }) else {
        return;
    };
    if arguments.is_null() {
        return;
    }
    let values = call.args();
    // SAFETY: room for four, by the contract, of the plugin's own.
    unsafe { ptr::copy_nonoverlapping(values.as_ptr(), arguments, values.len()) };
}

unsafe extern "C" fn vcpu(call: *const RawCall) -> i64 {
    answer(|| {
        // SAFETY: the plugin's call, by the contract.
        let call = unsafe { call_of(call)? };
        call.vcpu_id().map(i64::from).ok_or(Errno::EOPNOTSUPP)
    })
}

unsafe extern "C" fn cpl(call: *const RawCall) -> i32 {
    answer(|| {
        // SAFETY: the plugin's call, by the contract.
        let call = unsafe { call_of(call)? };
        Ok(call.cpl()?.get().into())
    })
}

unsafe extern "C" fn mode(call: *const RawCall) -> i32 {
    answer(|| {
        // SAFETY: the plugin's call, by the contract.
        let call = unsafe { call_of(call)? };
        Ok(match call.mode()? {
            Mode::Bits64 => 64,
            Mode::Bits32 => 32,
        })
    })
}

unsafe extern "C" fn read(call: *const RawCall, gpa: u64, bytes: *mut c_void, length: u64) -> i32 {
    answer(|| {
        // SAFETY: the plugin's call, and bytes that it may write, by the contract.
        let (call, bytes) = unsafe { (call_of(call)?, bytes_of_mut(bytes, length)?) };
        call.memory().read(Gpa::new(gpa), bytes)?;
        Ok(0)
    })
}

unsafe extern "C" fn write(
    call: *const RawCall,
    gpa: u64,
    bytes: *const c_void,
    length: u64,
) -> i32 {
    answer(|| {
        // SAFETY: the plugin's call, and bytes that it may read, by the contract.
        let (call, bytes) = unsafe { (call_of(call)?, bytes_of(bytes, length)?) };
        call.memory().write(Gpa::new(gpa), bytes)?;
        Ok(0)
    })
}

unsafe extern "C" fn translate(call: *const RawCall, gva: u64, gpa: *mut u64) -> i32 {
    answer(|| {
        // SAFETY: the plugin's call, by the contract.
        let call = unsafe { call_of(call)? };
        // SAFETY: null, or a place for it of the plugin's own.
        let gpa = unsafe { gpa.as_mut() }.ok_or(Errno::EFAULT)?;
        *gpa = call.translate(gva)?.get();
        Ok(0)
    })
}

unsafe extern "C" fn read_virtual(
    call: *const RawCall,
    gva: u64,
    bytes: *mut c_void,
    length: u64,
) -> i32 {
    answer(|| {
        // SAFETY: as in `read`.
        let (call, bytes) = unsafe { (call_of(call)?, bytes_of_mut(bytes, length)?) };
        call.read_virtual(gva, bytes)?;
        Ok(0)
    })
}

unsafe extern "C" fn write_virtual(
    call: *const RawCall,
    gva: u64,
    bytes: *const c_void,
    length: u64,
) -> i32 {
    answer(|| {
        // SAFETY: as in `write`.
        let (call, bytes) = unsafe { (call_of(call)?, bytes_of(bytes, length)?) };
        call.write_virtual(gva, bytes)?;
        Ok(0)
    })
}

unsafe extern "C" fn registers(call: *mut RawCall, registers: *mut Registers) -> i32 {
    answer(|| {
        // SAFETY: the plugin's call, which nothing else uses meanwhile, by the contract.
        let call = unsafe { call_of_mut(call)? };
        // SAFETY: null, or a place for them of the plugin's own.
        let registers = unsafe { registers.as_mut() }.ok_or(Errno::EFAULT)?;
        *registers = for_plugin(&call.registers()?);
        Ok(0)
    })
}

unsafe extern "C" fn set_registers(call: *mut RawCall, registers: *const Registers) -> i32 {
    answer(|| {
        // SAFETY: the plugin's call, which nothing else uses meanwhile, by the contract.
        let call = unsafe { call_of_mut(call)? };
        // SAFETY: null, or registers of the plugin's own.
        let registers = unsafe { registers.as_ref() }.ok_or(Errno::EFAULT)?;
        call.set_registers(&for_kvm(registers))?;
        Ok(0)
    })
}

unsafe extern "C" fn request_exit(call: *mut RawCall, status: u8) {
    answer(|| {
        // SAFETY: the plugin's call, which nothing else uses meanwhile, by the contract.
        unsafe { call_of_mut(call)? }.request_exit(status);
        Ok(0_i32)
    });
}

unsafe extern "C" fn request_panic(call: *mut RawCall, message: *const c_char, length: u64) {
    answer(|| {
        // SAFETY: the plugin's call, and so many bytes, by the contract.
        let (call, message) = unsafe {
            let message = bytes_of(message.cast(), length.min(MESSAGE_LIMIT))?;
            (call_of_mut(call)?, message)
        };
        call.request_panic(String::from_utf8_lossy(message).into_owned());
        Ok(0_i32)
    });
}

unsafe extern "C" fn special_registers(
    call: *const RawCall,
    registers: *mut SpecialRegisters,
) -> i32 {
    answer(|| {
        // SAFETY: the plugin's call, by the contract.
        let call = unsafe { call_of(call)? };
        // SAFETY: null, or a place for them of the plugin's own.
        let registers = unsafe { registers.as_mut() }.ok_or(Errno::EFAULT)?;
        *registers = special_for_plugin(&call.special_registers()?);
        Ok(0)
    })
}

unsafe extern "C" fn set_special_registers(
    call: *mut RawCall,
    registers: *const SpecialRegisters,
) -> i32 {
    answer(|| {
        // SAFETY: the plugin's call, which nothing else uses meanwhile, by the contract.
        let call = unsafe { call_of_mut(call)? };
        // SAFETY: null, or registers of the plugin's own.
        let registers = unsafe { registers.as_ref() }.ok_or(Errno::EFAULT)?;
        let mut changed = call.special_registers()?;
        set_special(&mut changed, registers)?;
        call.set_special_registers(&changed)?;
        Ok(0)
    })
}

unsafe extern "C" fn inject_interrupt(call: *const RawCall, vcpu: u32, vector: u8) -> i32 {
    answer(|| {
        // SAFETY: the plugin's call, by the contract.
        let call = unsafe { call_of(call)? };
        let vector = InterruptVector::new(vector).ok_or(Errno::EINVAL)?;
        call.inject_interrupt(vcpu, vector)?;
        Ok(0)
    })
}

unsafe extern "C" fn defer(call: *mut RawCall, deferred: *mut *mut RawDeferred) -> i32 {
    answer(|| {
        // SAFETY: the plugin's call, which nothing else uses meanwhile, by the contract.
        let PluginCall { call, plugin } = unsafe { plugin_call_of_mut(call)? };
        if deferred.is_null() {
            return Err(Errno::EFAULT);
        }
        let owed = call.defer_for(Arc::clone(plugin) as _)?;
        let raw = plugin.host.data.owed.add(owed);
        // SAFETY: a place for it of the plugin's own, by the contract.
        unsafe { deferred.write(raw) };
        Ok(0)
    })
}

unsafe extern "C" fn answer_deferred(
    host: *const HostFunctions,
    deferred: *mut RawDeferred,
    result: i64,
) -> i32 {
    answer(|| {
        // SAFETY: null, or the table that this plugin was given.
        let data = unsafe { data_of(host)? };
        let plugin = &data.name;
        let owed = data.owed.take(deferred).inspect_err(|_| {
            tracing::error!(
                plugin,
                "a plugin answered what it has answered, or never deferred"
            );
        })?;
        owed.answer(decode(result).unwrap_or_else(|| {
            if result != RESULT_PANICKED {
                tracing::error!(
                    plugin,
                    result,
                    "a plugin answered later what is no result; the guest is answered -EIO"
                );
            }
            Err(Errno::EIO)
        }));
        Ok(0)
    })
}

unsafe extern "C" fn is_awaited(host: *const HostFunctions, deferred: *const RawDeferred) -> i32 {
    answer(|| {
        // SAFETY: null, or the table that this plugin was given.
        let data = unsafe { data_of(host)? };
        Ok(data.owed.is_awaited(deferred)?.into())
    })
}
