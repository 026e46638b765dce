// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is looked at of a plugin before any of its code runs: the file, and the descriptor.

use crate::input::Input;
use hcall_abi::HypercallNumber;
use hcall_plugin::abi::{
    HandlerDescriptor, HostFunctions, PluginDescriptor, RawCall, HANDLERS_LIMIT,
    PLUGIN_ABI_VERSION, TEXT_LIMIT,
};
use hcall_vmm::fuzzing::{check_plugin_file, read_plugin_descriptor};
use std::cell::RefCell;
use std::ffi::c_void;
use std::mem::size_of;
use std::ptr;

/// No structure of a plugin is larger.
const MOST_SIZE: usize = 4096;
/// Room for the descriptor, as far as one is believed.
const WORDS: usize = MOST_SIZE / size_of::<u64>();
/// Room for handlers: those that the input says, in steps as large as any that is taken.
const HANDLERS: usize = 8;
/// Longest text of an input.
const TEXT: usize = TEXT_LIMIT + 8;

thread_local! {
    static STRUCTURES: RefCell<Structures> = RefCell::new(Structures::new());
}

/// A file, or a descriptor.
pub fn plugin(data: &[u8]) {
    let mut input = Input::new(data);
    if input.u8() % 2 == 0 {
        file(input.rest());
    } else {
        STRUCTURES.with_borrow_mut(|structures| structures.check(&mut input));
    }
}

/// What the dynamic linker would map of a file that is taken is in the file.
fn file(rest: &[u8]) {
    let mut bytes = rest.to_vec();
    if let Some(magic) = bytes.get_mut(..4) {
        magic.copy_from_slice(b"\x7fELF");
    }
    match check_plugin_file(&bytes) {
        Ok(()) => assert_segments(&bytes),
        Err(error) => assert!(!error.is_empty()),
    }
}

fn assert_segments(bytes: &[u8]) {
    let word = |place: usize| -> u64 {
        let word = bytes[place..place + 8].try_into();
        u64::from_le_bytes(word.expect("there are eight"))
    };
    let half = |place: usize| usize::from(u16::from_le_bytes([bytes[place], bytes[place + 1]]));
    let table = word(32) as usize;
    for index in 0..half(56) {
        let entry = table + index * 56;
        if [1, 2].contains(&(word(entry) as u32)) {
            let (offset, in_file) = (word(entry + 8), word(entry + 32));
            assert!(
                offset + in_file <= bytes.len() as u64,
                "a segment beyond the file"
            );
            assert!(word(entry + 40) >= in_file);
        }
    }
}

/// A descriptor and all that it points to, of which as much is there as it can say.
struct Structures {
    descriptor: Box<[u64; WORDS]>,
    handlers: Box<[u64; WORDS * HANDLERS]>,
    texts: [Box<[u8; TEXT + 1]>; 2],
}

impl Structures {
    fn new() -> Self {
        Self {
            descriptor: Box::new([0; WORDS]),
            handlers: Box::new([0; WORDS * HANDLERS]),
            texts: [Box::new([0; TEXT + 1]), Box::new([0; TEXT + 1])],
        }
    }

    fn check(&mut self, input: &mut Input<'_>) {
        let shape = input.u8();
        let is_there = |bit: u8| (shape >> bit) & 1 == 0;
        for text in &mut self.texts {
            let length = usize::from(input.u8()) % TEXT;
            text.fill(0);
            let bytes = input.bytes(length);
            text[..bytes.len()].copy_from_slice(bytes);
        }
        let stride = if is_there(0) { 16 } else { input.u16().into() };
        let count = self.fill_handlers(stride as usize, input);
        let descriptor = PluginDescriptor {
            abi_version: if is_there(1) {
                PLUGIN_ABI_VERSION
            } else {
                input.u32()
            },
            size: if is_there(2) { 56 } else { input.u16().into() },
            name: if is_there(3) {
                self.texts[0].as_ptr().cast()
            } else {
                ptr::null()
            },
            version: if is_there(4) {
                self.texts[1].as_ptr().cast()
            } else {
                ptr::null()
            },
            handlers: if is_there(5) {
                self.handlers.as_ptr().cast()
            } else {
                ptr::null()
            },
            handler_count: count,
            handler_size: stride,
            create: None,
            destroy: None,
        };
        // SAFETY: the place is aligned and large enough, and is this structure's.
        unsafe {
            self.descriptor
                .as_mut_ptr()
                .cast::<PluginDescriptor>()
                .write(descriptor)
        };
        // SAFETY: there are as many bytes as a descriptor can have; the texts end; and there are
        // as many handlers as it says, unless that is more than any plugin has.
        match unsafe { read_plugin_descriptor(self.descriptor.as_ptr().cast()) } {
            Ok(numbers) => {
                assert!(numbers.len() == count as usize && count > 0);
                assert!(numbers
                    .iter()
                    .all(|number| HypercallNumber::new(*number).is_ok()));
                let mut sorted = numbers.clone();
                sorted.sort_unstable();
                sorted.dedup();
                assert_eq!(sorted.len(), numbers.len(), "a number twice");
            }
            Err(error) => assert!(!error.is_empty()),
        }
    }

    /// Puts handlers where they stand at this distance; how many the descriptor is to say.
    fn fill_handlers(&mut self, stride: usize, input: &mut Input<'_>) -> u32 {
        self.handlers.fill(0);
        let count = input.u8();
        for index in 0..HANDLERS {
            let place = index * stride / size_of::<u64>();
            let Some(place) = self.handlers.get_mut(place..place + 2) else {
                break;
            };
            let handler = HandlerDescriptor {
                number: input.number(&[0x4843_8000]) as u32,
                callers: input.u8() as u32 & 3,
                call: (input.u8() != 0).then_some(answer as _),
            };
            // SAFETY: the place is aligned and large enough.
            unsafe {
                place
                    .as_mut_ptr()
                    .cast::<HandlerDescriptor>()
                    .write(handler)
            };
        }
        match count {
            0xff => HANDLERS_LIMIT + 1 + input.u32() % 1000,
            count => u32::from(count) % (HANDLERS as u32 + 1),
        }
    }
}

unsafe extern "C" fn answer(_: *mut c_void, _: *const HostFunctions, _: *mut RawCall) -> i64 {
    0
}
