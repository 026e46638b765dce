// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handlers that come from outside of the program that runs the VM.
//!
//! | module | is for |
//! |---|---|
//! | `source` | where a handler comes from: text, opened, installed |
//! | `assignment` | `NUMBER=SOURCE` |
//! | [`external`] | a process that answers over a Unix socket |

mod assignment;
pub mod external;
mod source;

pub use assignment::{parse_hypercall_number, Assignment, AssignmentError, NumberSyntaxError};
pub use source::{HandlerSource, OpenError, OpenedSource, SourceSyntaxError};
