// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a check fails: with one line that says what was found and what was due.

use hcall_ktap::{CaseResult, Verdict};
use std::error::Error;
use std::fmt::{self, Debug, Display};

/// Why a check failed.
#[derive(Debug)]
pub(crate) struct Failure(String);

/// What a check returns.
pub(crate) type Check = Result<(), Failure>;

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Fails unless the two are equal.
pub(crate) fn equal<T: PartialEq + Debug>(what: impl Display, found: T, due: T) -> Check {
    if found == due {
        return Ok(());
    }
    Err(Failure(format!("{what}: found {found:?}, due {due:?}")))
}

/// A check as a case of a suite.
pub(crate) fn passes(check: Check) -> CaseResult {
    match check {
        Ok(()) => Ok(Verdict::Pass),
        Err(failure) => Err(failure.0),
    }
}
