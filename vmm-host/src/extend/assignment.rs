// SPDX-License-Identifier: MIT OR Apache-2.0
//! `NUMBER=SOURCE`, as people write which handler a number is to have.

use super::source::{parse_number, HandlerSource, SourceSyntaxError};
use hcall_abi::{HypercallNumber, NumberError};
use std::fmt;
use std::str::FromStr;

/// A number, and the handler that it is to have.
///
/// # Examples
///
/// ```
/// use hcall_vmm::extend::{Assignment, HandlerSource};
/// use hcall_vmm::HypercallNumber;
/// let assignment: Assignment = "0x48430001=value:42".parse().unwrap();
/// assert_eq!(assignment.source, HandlerSource::Value(42));
/// assert!("12=value:42".parse::<Assignment>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Assignment {
    /// The number.
    pub number: HypercallNumber,
    /// Where its handler comes from.
    pub source: HandlerSource,
}

/// Why a text is no number that a handler can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NumberSyntaxError {
    /// Not a number at all.
    #[error("'{0}' is no hypercall's number: give one below 2^32, decimal or with 0x")]
    Syntax(String),
    /// One that nobody can have.
    #[error(transparent)]
    Unusable(#[from] NumberError),
}

/// Why a text is no assignment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssignmentError {
    /// There is no `=`.
    #[error("'{0}' is no NUMBER=SOURCE")]
    Syntax(String),
    /// See [`NumberSyntaxError`].
    #[error(transparent)]
    Number(#[from] NumberSyntaxError),
    /// See [`SourceSyntaxError`].
    #[error(transparent)]
    Source(#[from] SourceSyntaxError),
}

/// The number that `text` writes, decimal or hexadecimal with `0x`.
///
/// # Errors
///
/// [`NumberSyntaxError`]
pub fn parse_hypercall_number(text: &str) -> Result<HypercallNumber, NumberSyntaxError> {
    let number = parse_number(text)
        .and_then(|number| u32::try_from(number).ok())
        .ok_or_else(|| NumberSyntaxError::Syntax(text.into()))?;
    Ok(HypercallNumber::new(number)?)
}

impl FromStr for Assignment {
    type Err = AssignmentError;

    fn from_str(text: &str) -> Result<Self, AssignmentError> {
        let (number, source) = text
            .split_once('=')
            .ok_or_else(|| AssignmentError::Syntax(text.into()))?;
        Ok(Self {
            number: parse_hypercall_number(number)?,
            source: source.parse()?,
        })
    }
}

impl fmt::Display for Assignment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}={}", self.number.get(), self.source)
    }
}
