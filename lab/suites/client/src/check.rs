// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a case fails: with one line that says what was found and what was due.

use std::error::Error;
use std::fmt::{Debug, Display};

/// What a case returns.
pub(crate) type Check = Result<(), Box<dyn Error>>;

/// Fails unless the two are equal.
pub(crate) fn equal<T: PartialEq + Debug>(what: impl Display, found: T, due: T) -> Check {
    if found == due {
        return Ok(());
    }
    Err(format!("{what}: found {found:?}, due {due:?}").into())
}
