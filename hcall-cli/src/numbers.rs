// SPDX-License-Identifier: MIT OR Apache-2.0
//! Numbers as people write them.

use crate::failure::Failure;
use hcall_guest::abi::convention::ARGUMENT_COUNT;
use hcall_guest::abi::number::CORE_CALLS;
use hcall_guest::HypercallNumber;

/// A hypercall number: decimal, 0x hexadecimal, or the name of a core call.
pub(crate) fn hypercall(text: &str) -> Result<HypercallNumber, Failure> {
    if let Some(number) = by_name(text) {
        return Ok(number);
    }
    let value = unsigned(text).map_err(|problem| match problem {
        Problem::NotANumber => Failure::Usage(format!(
            "'{text}' is neither a number nor a core call ({})",
            names()
        )),
        Problem::TooLarge => too_large(text),
    })?;
    let value = u32::try_from(value).map_err(|_| too_large(text))?;
    HypercallNumber::new(value).map_err(|error| Failure::Usage(error.to_string()))
}

/// Up to four arguments.
pub(crate) fn arguments(texts: &[String]) -> Result<Vec<u64>, Failure> {
    if texts.len() > ARGUMENT_COUNT {
        return Err(Failure::Usage(format!(
            "{} arguments were given, a hypercall carries at most {ARGUMENT_COUNT}",
            texts.len()
        )));
    }
    texts.iter().map(|text| argument(text)).collect()
}

/// One 64-bit argument, decimal or 0x hexadecimal.
pub(crate) fn argument(text: &str) -> Result<u64, Failure> {
    unsigned(text).map_err(|problem| {
        Failure::Usage(match problem {
            Problem::NotANumber => format!("'{text}' is no number (decimal or 0x hexadecimal)"),
            Problem::TooLarge => format!("{text} is out of range: arguments have 64 bits"),
        })
    })
}

enum Problem {
    NotANumber,
    TooLarge,
}

fn unsigned(text: &str) -> Result<u64, Problem> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = hexadecimal.map_or((text, 10), |digits| (digits, 16));
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(Problem::NotANumber);
    }
    u64::from_str_radix(digits, radix).map_err(|_| Problem::TooLarge)
}

fn by_name(text: &str) -> Option<HypercallNumber> {
    CORE_CALLS
        .iter()
        .find(|(_, name)| name.eq_ignore_ascii_case(text))
        .map(|(number, _)| *number)
}

fn names() -> String {
    CORE_CALLS.map(|(_, name)| name).join(", ")
}

fn too_large(text: &str) -> Failure {
    Failure::Usage(format!(
        "{text} is out of range: hypercall numbers have 32 bits"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_notations_and_names_are_read() {
        for text in ["1212350466", "0x48430002", "0X48430002", "ECHO", "echo"] {
            let number = hypercall(text).map(HypercallNumber::get);
            assert_eq!(number.ok(), Some(0x4843_0002), "{text}");
        }
        assert_eq!(argument("0xffffffffffffffff").ok(), Some(u64::MAX));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "0x",
            "-1",
            "+1",
            "1_000",
            "0b1",
            "seven",
            "18446744073709551616",
        ] {
            assert!(argument(text).is_err(), "{text}");
        }
        for text in ["12", "0x80000000", "0x100000000", "NOSUCHCALL"] {
            assert!(hypercall(text).is_err(), "{text}");
        }
    }
}
