// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handlers in shared objects, by the contract of the crate
//! [`hcall-plugin`](https://docs.rs/hcall-plugin).
//!
//! A plugin is part of the process: it can do what the VMM can do, and one that crashes takes
//! the VMM with it. What is checked here is checked against mistakes, not against malice.
//!
//! | module | is for |
//! |---|---|
//! | `elf` | whether a file is a shared object that the dynamic linker can be given |
//! | `sealed` | the copy of it that nobody can change any more |
//! | `library` | the dynamic linker |
//! | `descriptor` | what the plugin says of itself |
//! | `host_functions` | what it can ask for |
//! | `registers` | a vCPU's registers, as KVM and as plugins have them |
//! | `owed` | the answers that it has put off |

mod descriptor;
mod elf;
mod error;
mod host_functions;
mod library;
mod owed;
mod registers;
mod sealed;

pub use error::{DescriptorFault, ElfFault, PluginError, PluginFault};

use crate::hypercall::{Hypercall, HypercallResult};
use crate::table::{Callers, Handler, HypercallTable, TableError};
use descriptor::{Checked, PluginHandler};
use hcall_abi::{decode_result, CallError, Errno, HypercallNumber};
use hcall_plugin::abi::RESULT_PANICKED;
use host_functions::{HostTable, PluginCall};
use library::Library;
use std::ffi::c_void;
use std::fmt;
use std::fs::File;
use std::ptr;
use std::sync::Arc;

#[cfg(feature = "_fuzzing")]
pub(crate) use elf::check as check_file;

/// The numbers of a descriptor.
///
/// # Safety
///
/// As [`descriptor::read`].
#[cfg(feature = "_fuzzing")]
pub(crate) unsafe fn read_descriptor(
    descriptor: *const hcall_plugin::abi::PluginDescriptor,
) -> Result<Vec<u32>, DescriptorFault> {
    // SAFETY: the caller's promise.
    let checked = unsafe { descriptor::read(descriptor)? };
    let handlers = checked.handlers.iter();
    Ok(handlers.map(|handler| handler.number.get()).collect())
}

/// A shared object with handlers, loaded.
///
/// It is unloaded when nobody has it any more: no [`Arc`] of it, no handler in a table, no vCPU
/// that remembers a handler of it until its next call, and none that waits for an answer which a
/// handler of it has put off.
///
/// # Examples
///
/// ```no_run
/// use hcall_vmm::extend::Plugin;
/// use hcall_vmm::HypercallTable;
/// use std::fs::File;
///
/// # fn example(table: &HypercallTable) -> Result<(), Box<dyn std::error::Error>> {
/// let plugin = Plugin::load(File::open("greet.so")?, "greet.so")?;
/// plugin.register(table)?;
/// # Ok(())
/// # }
/// ```
pub struct Plugin {
    /// What messages and the table call its file.
    file: String,
    descriptor: Checked,
    state: *mut c_void,
    /// Where the plugin finds its host; it has the address.
    host: Box<HostTable>,
    /// The last of the fields: what the others point to is in it.
    _library: Library,
}

// SAFETY: by the contract a plugin's functions may be called by any thread, several at once;
// `state` is only handed to them, and everything else is constant.
unsafe impl Send for Plugin {}
// SAFETY: see above.
unsafe impl Sync for Plugin {}

impl Plugin {
    /// Loads the shared object `file`, which messages call `name`.
    ///
    /// What is loaded is a copy in memory: the file may change afterwards, and needs no path.
    ///
    /// # Errors
    ///
    /// [`PluginError`] says what is wrong with it.
    pub fn load(file: File, name: &str) -> Result<Arc<Self>, PluginError> {
        Self::load_unnamed(&file, name).map_err(|fault| PluginError::new(name, fault))
    }

    fn load_unnamed(file: &File, name: &str) -> Result<Arc<Self>, PluginFault> {
        library::possible()?;
        let bytes = sealed::read(file)?;
        elf::check(&bytes)?;
        let copy = sealed::copy(&bytes, name).map_err(PluginFault::Copy)?;
        drop(bytes);
        let library = Library::open(&copy)?;
        let exported = library.descriptor()?;
        // SAFETY: a symbol of that name is, by the contract, a descriptor of constants, and the
        // library is loaded.
        let descriptor = unsafe { descriptor::read(exported)? };
        let host = Box::new(HostTable::new(&descriptor.name));
        let mut state = ptr::null_mut();
        if let Some(create) = descriptor.create {
            // SAFETY: the contract's function, with a table that lives as long as the plugin,
            // and a place for the state.
            let answer = unsafe { create(host.functions(), &mut state) };
            if answer != 0 {
                return Err(PluginFault::Create(errno(answer.into())));
            }
        }
        tracing::info!(
            file = name,
            plugin = descriptor.name,
            version = descriptor.version,
            "a plugin is loaded"
        );
        Ok(Arc::new(Self {
            file: name.into(),
            descriptor,
            state,
            host,
            _library: library,
        }))
    }

    /// What the plugin calls itself.
    pub fn name(&self) -> &str {
        &self.descriptor.name
    }

    /// The plugin's version, a text of its own.
    pub fn version(&self) -> &str {
        &self.descriptor.version
    }

    /// The numbers that it has handlers for.
    pub fn numbers(&self) -> impl Iterator<Item = HypercallNumber> + '_ {
        self.descriptor
            .handlers
            .iter()
            .map(|handler| handler.number)
    }

    /// Its handler for `number`, to be registered; `None` if it has none.
    pub fn handler(self: &Arc<Self>, number: HypercallNumber) -> Option<impl Handler> {
        let handler = *self.find(number)?;
        let plugin = Arc::clone(self);
        Some(move |call: &mut Hypercall<'_>| plugin.answer(handler, call))
    }

    /// Who may call `number`, if the plugin says so.
    pub fn callers(&self, number: HypercallNumber) -> Option<Callers> {
        self.find(number)?.callers
    }

    /// Registers all of its handlers, or none.
    ///
    /// # Errors
    ///
    /// [`TableError`] for the first number that has a handler already, or is in the core range.
    pub fn register(self: &Arc<Self>, table: &HypercallTable) -> Result<(), TableError> {
        let handlers = self.descriptor.handlers.iter().map(|handler| {
            let (handler, plugin) = (*handler, Arc::clone(self));
            let answer = move |call: &mut Hypercall<'_>| plugin.answer(handler, call);
            (handler.number, handler.callers, answer)
        });
        table.register_all_from(&format!("plugin:{}", self.file), handlers)
    }

    fn find(&self, number: HypercallNumber) -> Option<&PluginHandler> {
        let mut handlers = self.descriptor.handlers.iter();
        handlers.find(|handler| handler.number == number)
    }

    fn answer(
        self: &Arc<Self>,
        handler: PluginHandler,
        call: &mut Hypercall<'_>,
    ) -> HypercallResult {
        let mut call = PluginCall::new(call, self);
        // SAFETY: a handler of this plugin, which is loaded as long as `self` is, with the
        // state that `create` made and a call that nobody else uses until it returns.
        let answer = unsafe { (handler.call)(self.state, self.host.functions(), call.raw()) };
        match decode(answer) {
            Some(result) => result,
            None if answer == RESULT_PANICKED => {
                // Counted, and answered, as a panic in this program is; it has been reported.
                std::panic::resume_unwind(Box::new("a plugin's handler panicked"))
            }
            None => Err(self.no_result(handler.number, answer)),
        }
    }

    /// What the guest is answered when a handler returned what is no result.
    #[cold]
    fn no_result(&self, number: HypercallNumber, answer: i64) -> Errno {
        tracing::error!(
            plugin = self.name(),
            %number,
            answer,
            "a plugin's handler returned what is no result; the guest is answered -EIO"
        );
        Errno::EIO
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        if let Some(destroy) = self.descriptor.destroy {
            // SAFETY: no handler is left that could be called, and this is the only time.
            unsafe { destroy(self.state) };
        }
        tracing::info!(plugin = self.name(), "a plugin is unloaded");
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Plugin")
            .field("name", &self.name())
            .field("version", &self.version())
            .field("numbers", &self.numbers().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// What a handler's answer means; `None` if it is no result.
fn decode(answer: i64) -> Option<HypercallResult> {
    match decode_result(answer) {
        Ok(payload) => Some(Ok(payload)),
        Err(CallError::Errno(errno)) => Some(Err(errno)),
        Err(CallError::NotHcall) => Some(Err(Errno::ENOSYS)),
        Err(_) => None,
    }
}

/// The errno of a negative answer; EIO for what is none.
fn errno(answer: i64) -> Errno {
    match decode_result(answer) {
        Err(CallError::Errno(errno)) => errno,
        _ => Errno::EIO,
    }
}
