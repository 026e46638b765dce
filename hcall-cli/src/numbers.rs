// SPDX-License-Identifier: MIT OR Apache-2.0
//! Numbers as people write them.

use crate::failure::Failure;
use hcall_guest::abi::allow_list::AllowList;
use hcall_guest::abi::convention::ARGUMENT_COUNT;
use hcall_guest::abi::ioctl::NumberRange;
use hcall_guest::abi::number::CORE_CALLS;
use hcall_guest::HypercallNumber;

/// A hypercall number: decimal, 0x hexadecimal, or the name of a core call.
pub(crate) fn hypercall(text: &str) -> Result<HypercallNumber, Failure> {
    HypercallNumber::new(any_number(text)?).map_err(|error| Failure::Usage(error.to_string()))
}

/// Ranges of numbers, separated by commas; `none` for none.
pub(crate) fn ranges(text: &str) -> Result<Vec<NumberRange>, Failure> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let ranges = text
        .split(',')
        .map(range)
        .collect::<Result<Vec<_>, Failure>>()?;
    AllowList::new(&ranges).map_err(|error| Failure::Usage(error.to_string()))?;
    Ok(ranges)
}

/// `FIRST-LAST`, or one number.
fn range(text: &str) -> Result<NumberRange, Failure> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Ok(NumberRange {
        first: any_number(first)?,
        last: any_number(last)?,
    })
}

/// A number of 32 bits, whether it can be called or not.
fn any_number(text: &str) -> Result<u32, Failure> {
    if let Some(number) = by_name(text) {
        return Ok(number.get());
    }
    let value = unsigned(text).map_err(|problem| match problem {
        Problem::NotANumber => Failure::Usage(format!(
            "'{text}' is neither a number nor a core call ({})",
            names()
        )),
        Problem::TooLarge => too_large(text),
    })?;
    u32::try_from(value).map_err(|_| too_large(text))
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
    fn ranges_are_names_numbers_or_none() {
        let read = |text| ranges(text).ok();
        let range = |first, last| NumberRange { first, last };
        assert_eq!(read("none"), Some(vec![]));
        assert_eq!(
            read("ECHO,0x10-0x1f"),
            Some(vec![range(0x4843_0002, 0x4843_0002), range(0x10, 0x1f)])
        );
        assert_eq!(read("0-0xffffffff"), Some(vec![range(0, u32::MAX)]));
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
