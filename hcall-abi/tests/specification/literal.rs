// SPDX-License-Identifier: MIT OR Apache-2.0
//! Values as the document writes them.

/// A value of the document or of the crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Integer(i128),
    /// `15, 17, 24`
    List(Vec<i128>),
    /// `0f 01 d9`
    Bytes(Vec<u8>),
    /// `"HcallHcall\0\0"`
    Text(Vec<u8>),
}

impl Value {
    /// The value that `text`, from between backticks, stands for.
    pub(crate) fn parse(text: &str) -> Self {
        if text.starts_with('"') {
            Self::Text(quoted(text))
        } else if text.contains(", ") {
            Self::List(text.split(", ").map(integer).collect())
        } else if text.contains(' ') {
            Self::Bytes(bytes(text))
        } else {
            Self::Integer(integer(text))
        }
    }
}

/// An integer: decimal, `0x…` or `0o…`, grouped by underscores, perhaps negative.
pub(crate) fn integer(text: &str) -> i128 {
    let digits = text.replace('_', "").replace('−', "-");
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) => (-1, rest.to_owned()),
        None => (1, digits),
    };
    let parsed = if let Some(digits) = digits.strip_prefix("0x") {
        i128::from_str_radix(digits, 16)
    } else if let Some(digits) = digits.strip_prefix("0o") {
        i128::from_str_radix(digits, 8)
    } else {
        digits.parse()
    };
    sign * parsed.unwrap_or_else(|error| panic!("{text:?} is no integer: {error}"))
}

/// A 64-bit register value, for which negative numbers stand in two's complement.
pub(crate) fn register(text: &str) -> u64 {
    u64::try_from(integer(text)).unwrap_or_else(|_| panic!("{text:?} does not fit a register"))
}

/// A 32-bit value.
pub(crate) fn word(text: &str) -> u32 {
    u32::try_from(integer(text)).unwrap_or_else(|_| panic!("{text:?} does not fit 32 bits"))
}

/// Bytes in hexadecimal, separated by spaces.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    text.split(' ')
        .map(|byte| {
            assert_eq!(byte.len(), 2, "{byte:?} is no byte in {text:?}");
            u8::from_str_radix(byte, 16).unwrap_or_else(|_| panic!("{byte:?} is no byte"))
        })
        .collect()
}

/// Text in quotes; `\0` is the only escape.
pub(crate) fn quoted(text: &str) -> Vec<u8> {
    text.strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or_else(|| panic!("{text:?} is not quoted"))
        .replace("\\0", "\0")
        .into_bytes()
}
