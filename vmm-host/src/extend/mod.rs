// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handlers that come from outside of the program that runs the VM.
//!
//! | module | is for |
//! |---|---|
//! | `source` | where a handler comes from: text, opened |
//! | `assignment` | `NUMBER=SOURCE` |
//! | `install` | from an opened source into the table |
//! | [`external`] | a process that answers over a Unix socket |
//! | [`plugin`] | shared objects |
//! | [`control`] | handlers, statistics and the VM itself, from another process |

mod assignment;
pub mod control;
pub mod external;
mod install;
pub mod plugin;
mod source;

pub use assignment::{parse_hypercall_number, Assignment, AssignmentError, NumberSyntaxError};
pub use install::{InstallError, Installer};
pub use plugin::{Plugin, PluginError};
pub use source::{HandlerSource, OpenError, OpenedSource, SourceSyntaxError};
