// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a VMM gives up once its VM is built: every path, every socket, and of the system
//! calls all that its threads do not need.
//!
//! A guest that finds a hole in a handler then has a thread that can use what is open, and
//! nothing else: no file, no connection, no program, no other process. In three layers:
//!
//! | layer | what is given up | for |
//! |---|---|---|
//! | no new privileges | set-user-ID programs and the like | the process |
//! | Landlock | all files, TCP and UDP ports, sockets with abstract names, signals to others | the thread that calls [`enclose`](Sandbox::enclose), and all it starts from then on |
//! | seccomp | all system calls but those of a [`ThreadRole`], and of these all arguments but those needed | each thread |
//!
//! `hcall-vmm run` is confined unless it is told otherwise. The library confines nobody unasked;
//! a VMM of one's own does so:
//!
//! ```no_run
//! use hcall_vmm::sandbox::{Sandbox, ThreadRole};
//! use hcall_vmm::vmm::{Vm, VmConfig};
//!
//! let sandbox = Sandbox::new();
//! let mut config = VmConfig::new("unikernel.elf");
//! config.sandbox = Some(sandbox.clone());
//! let vm = Vm::new(config)?;
//! // Everything is open: handlers are registered, their files and sockets held.
//! println!("{}", sandbox.enclose()?);
//! let running = vm.start()?;
//! // The VM's threads have confined themselves; this one follows.
//! sandbox.confine_thread(ThreadRole::Owner)?;
//! println!("{}", running.wait()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Without the VMM of [`vmm`](crate::vmm) the threads are one's own, and so are the calls of
//! [`confine_thread`](Sandbox::confine_thread); those of rings are confined by
//! [`HypercallHost::with_sandbox`](crate::HypercallHost::with_sandbox).
//!
//! # A refused call fails, it does not kill
//!
//! It returns EPERM. A filter that kills tells of an attack at once, and of every mistake in
//! its list as well, by the death of the guest: some other libc, a handler that looks at a
//! file nobody thought of. A call that fails is as useless to an attacker, who gets no
//! second way in by asking again; an honest handler answers its guest with an error, and the
//! VM goes on. Other architectures' system calls do kill: no honest program makes them.
//!
//! # What a kernel lacks
//!
//! Where it has no Landlock, or an older one, or no seccomp, the rest is done, and
//! [`Enclosure`] says what was had: a VMM that refused to start there would have its users
//! turn the whole sandbox off.

mod calls;
mod files;
mod filter;
mod requests;

pub use crate::confinement::ThreadRole;
pub use files::{Enclosure, FileAccess};

use filter::Filter;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// How many roles there are: the last one's number and one.
const ROLES: usize = ThreadRole::Owner as usize + 1;

/// The filter of each role, made when a thread needs it, once.
type Filters = [OnceLock<Filter>; ROLES];

/// The confinement of one process. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// None where the kernel has no seccomp.
    filters: Option<Arc<Filters>>,
}

impl Sandbox {
    /// A sandbox that nobody is in yet.
    pub fn new() -> Self {
        Self {
            filters: filter::is_available().then(Arc::default),
        }
    }

    /// Gives up new privileges and every path: for the calling thread, and for all that it
    /// starts from now on. Threads that run already are included if the kernel can (Linux
    /// 7.0); otherwise [`Enclosure::outside`] counts them.
    ///
    /// # Errors
    ///
    /// That of the kernel, where it has what was asked for and refuses it all the same.
    pub fn enclose(&self) -> io::Result<Enclosure> {
        files::enclose(self.filters.is_some(), None)
    }

    /// As [`enclose`](Self::enclose), but for the right to remove files in `directory`, of which
    /// only the [`Owner`](ThreadRole::Owner) can make use: for the socket that is to go with
    /// the VM.
    ///
    /// # Errors
    ///
    /// Also if `directory` is not there.
    pub fn enclose_but_removal(&self, directory: &Path) -> io::Result<Enclosure> {
        files::enclose(self.filters.is_some(), Some(directory))
    }

    /// Gives up, for the calling thread, what its role does not need: for good.
    ///
    /// # Errors
    ///
    /// That of the kernel. A thread that goes on nonetheless is not confined.
    pub fn confine_thread(&self, role: ThreadRole) -> io::Result<()> {
        match &self.filters {
            Some(filters) => filters[role as usize]
                .get_or_init(|| Filter::of(role))
                .install(),
            None => Ok(()),
        }
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}
