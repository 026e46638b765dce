// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handlers that come from outside of the program that runs the VM.
//!
//! | module | is for |
//! |---|---|
//! | `source` | where a handler comes from: text, opened, installed |
//! | `assignment` | `NUMBER=SOURCE` |
//! | [`external`] | a process that answers over a Unix socket |
//! | [`plugin`] | shared objects |

mod assignment;
pub mod external;
pub mod plugin;
mod source;

pub use assignment::{parse_hypercall_number, Assignment, AssignmentError, NumberSyntaxError};
pub use plugin::{Plugin, PluginError};
pub use source::{HandlerSource, OpenError, OpenedSource, SourceSyntaxError};
