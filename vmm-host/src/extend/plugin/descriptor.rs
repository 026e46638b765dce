// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a plugin says of itself, read with care.

use super::error::DescriptorFault;
use crate::table::Callers;
use hcall_abi::HypercallNumber;
use hcall_plugin::abi::{
    CallFunction, CreateFunction, DestroyFunction, HandlerDescriptor, PluginDescriptor,
    CALLERS_ANY_PRIVILEGE_LEVEL, CALLERS_KERNEL_ONLY, CALLERS_OF_THE_VM, HANDLERS_LIMIT,
    PLUGIN_ABI_VERSION, TEXT_LIMIT,
};
use std::ffi::{c_char, CStr};
use std::mem::{align_of, offset_of, size_of, MaybeUninit};
use std::ptr;

/// Bytes of the structures that version 1 began with; they only grow.
const LEAST_SIZE: usize = 56;
const LEAST_HANDLER_SIZE: usize = 16;
/// No structure grows beyond this.
const MOST_SIZE: usize = 4096;

/// A descriptor as it should be.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) handlers: Vec<PluginHandler>,
    pub(super) create: Option<CreateFunction>,
    pub(super) destroy: Option<DestroyFunction>,
}

/// A handler of a plugin.
#[derive(Clone, Copy, Debug)]
pub(super) struct PluginHandler {
    pub(super) number: HypercallNumber,
    pub(super) callers: Option<Callers>,
    pub(super) call: CallFunction,
}

/// Reads the descriptor and what it points to.
///
/// # Safety
///
/// `descriptor` is null, or points to as many bytes as the structure there says; its pointers
/// are null, or point to what they say and how many, and to texts that end.
pub(super) unsafe fn read(descriptor: *const PluginDescriptor) -> Result<Checked, DescriptorFault> {
    if descriptor.is_null() {
        return Err(DescriptorFault::Null("hcall_plugin"));
    }
    let start = descriptor.cast::<u8>();
    // SAFETY: every version of the structure begins with these two.
    let (abi_version, size) = unsafe {
        let version = start.add(offset_of!(PluginDescriptor, abi_version));
        let size = start.add(offset_of!(PluginDescriptor, size));
        (
            version.cast::<u32>().read_unaligned(),
            size.cast::<u32>().read_unaligned(),
        )
    };
    if abi_version != PLUGIN_ABI_VERSION {
        return Err(DescriptorFault::Version(abi_version));
    }
    let length = size as usize;
    if !(LEAST_SIZE..=MOST_SIZE).contains(&length) {
        return Err(DescriptorFault::Size(size));
    }
    // SAFETY: as many bytes are there, and zero is a value of every field.
    let plugin: PluginDescriptor = unsafe { copy(start, length) };
    // SAFETY: by the contract.
    let (name, version, handlers) = unsafe {
        (
            text("name", plugin.name)?,
            text("version", plugin.version)?,
            read_handlers(&plugin)?,
        )
    };
    Ok(Checked {
        name,
        version,
        handlers,
        create: plugin.create,
        destroy: plugin.destroy,
    })
}

/// # Safety
///
/// As [`read`].
unsafe fn read_handlers(plugin: &PluginDescriptor) -> Result<Vec<PluginHandler>, DescriptorFault> {
    if plugin.handlers.is_null() {
        return Err(DescriptorFault::Null("handlers"));
    }
    if !(1..=HANDLERS_LIMIT).contains(&plugin.handler_count) {
        return Err(DescriptorFault::HandlerCount(plugin.handler_count));
    }
    let stride = plugin.handler_size as usize;
    let is_size = (LEAST_HANDLER_SIZE..=MOST_SIZE).contains(&stride);
    if !is_size || stride % align_of::<HandlerDescriptor>() != 0 {
        return Err(DescriptorFault::HandlerSize(plugin.handler_size));
    }
    let mut handlers: Vec<PluginHandler> = Vec::new();
    for index in 0..plugin.handler_count as usize {
        // SAFETY: so many are there, so far apart.
        let handler = unsafe { copy(plugin.handlers.cast::<u8>().add(index * stride), stride) };
        let handler = check_handler(&handler)?;
        if handlers.iter().any(|other| other.number == handler.number) {
            return Err(DescriptorFault::Duplicate(handler.number));
        }
        handlers.push(handler);
    }
    Ok(handlers)
}

fn check_handler(handler: &HandlerDescriptor) -> Result<PluginHandler, DescriptorFault> {
    let number = HypercallNumber::new(handler.number)?;
    let callers = match handler.callers {
        CALLERS_OF_THE_VM => None,
        CALLERS_KERNEL_ONLY => Some(Callers::KernelOnly),
        CALLERS_ANY_PRIVILEGE_LEVEL => Some(Callers::AnyPrivilegeLevel),
        callers => return Err(DescriptorFault::Callers { number, callers }),
    };
    let call = handler.call.ok_or(DescriptorFault::NoFunction(number))?;
    Ok(PluginHandler {
        number,
        callers,
        call,
    })
}

/// As much of a structure as is there, and zeroes for the rest.
///
/// # Safety
///
/// `length` bytes are there; zero is a value of every field of `T`, and so is what is there.
unsafe fn copy<T: Copy>(from: *const u8, length: usize) -> T {
    let mut to = MaybeUninit::<T>::zeroed();
    let length = length.min(size_of::<T>());
    // SAFETY: both are as long; the copy is on the stack, and overlaps with nothing.
    unsafe {
        ptr::copy_nonoverlapping(from, to.as_mut_ptr().cast::<u8>(), length);
        to.assume_init()
    }
}

/// # Safety
///
/// `start` is null, or a text that ends.
unsafe fn text(field: &'static str, start: *const c_char) -> Result<String, DescriptorFault> {
    if start.is_null() {
        return Err(DescriptorFault::Null(field));
    }
    // SAFETY: a text that ends, by the contract.
    let bytes = unsafe { CStr::from_ptr(start) }.to_bytes();
    if !(1..=TEXT_LIMIT).contains(&bytes.len()) {
        return Err(DescriptorFault::Text(field));
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| DescriptorFault::Text(field))
}

const _: () = assert!(
    LEAST_SIZE <= size_of::<PluginDescriptor>()
        && LEAST_HANDLER_SIZE <= size_of::<HandlerDescriptor>()
);
