// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! What `RESTRICT` leaves of the numbers: a set that can only become smaller.

use super::ioctl::{NumberRange, RANGES_MAX};
use core::str::FromStr;

const CAPACITY: usize = RANGES_MAX as usize;

/// A set of numbers, as at most [`RANGES_MAX`] ranges: ascending, not empty, with at least
/// one number between each and the next.
///
/// # Examples
///
/// ```
/// use hcall_abi::allow_list::AllowList;
/// use hcall_abi::ioctl::NumberRange;
///
/// let range = |first, last| NumberRange { first, last };
/// let wide = AllowList::new(&[range(10, 20), range(15, 29), range(30, 40)])?;
/// assert_eq!(wide.ranges(), [range(10, 40)]);
/// assert!(wide.contains(40) && !wide.contains(41));
/// assert!(wide.covers(&AllowList::new(&[range(40, 40)])?));
/// # Ok::<(), hcall_abi::allow_list::RangeError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AllowList {
    ranges: [NumberRange; CAPACITY],
    count: usize,
}

/// Why a text is no allow-list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseListError {
    /// The part with this place, counted from 1, is neither a number nor FIRST-LAST.
    NotARange(usize),
    /// The ranges make no allow-list.
    Ranges(RangeError),
}

/// Why ranges make no allow-list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RangeError {
    /// More ranges than [`RANGES_MAX`].
    TooMany(usize),
    /// A range whose last number is below its first.
    Backwards(NumberRange),
}

impl AllowList {
    /// Every number there is.
    pub const EVERYTHING: Self = {
        let mut ranges = [NumberRange { first: 0, last: 0 }; CAPACITY];
        ranges[0].last = u32::MAX;
        Self { ranges, count: 1 }
    };

    /// The numbers of `ranges`, which may be in any order and overlap; none of no ranges.
    ///
    /// # Errors
    ///
    /// [`RangeError`] if there are too many, or one is backwards.
    pub fn new(ranges: &[NumberRange]) -> Result<Self, RangeError> {
        if ranges.len() > CAPACITY {
            return Err(RangeError::TooMany(ranges.len()));
        }
        if let Some(range) = ranges.iter().find(|range| range.last < range.first) {
            return Err(RangeError::Backwards(*range));
        }
        let mut list = Self {
            ranges: [NumberRange::default(); CAPACITY],
            count: 0,
        };
        // In order of their first numbers. A search each time, because sorting is a lot of
        // code for a kernel module and sixteen ranges.
        let mut next = Self::earliest(ranges, None);
        while let Some(index) = next {
            list.append(ranges[index]);
            next = Self::earliest(ranges, next);
        }
        Ok(list)
    }

    /// The index of the range that begins first of those that come after the one with index
    /// `after`, in the order of first numbers and then of indexes.
    fn earliest(ranges: &[NumberRange], after: Option<usize>) -> Option<usize> {
        let order = |index: usize| (ranges[index].first, index);
        (0..ranges.len())
            .filter(|index| after.is_none_or(|after| order(*index) > order(after)))
            .min_by_key(|index| order(*index))
    }

    /// Adds a range that does not begin before any in the list.
    fn append(&mut self, range: NumberRange) {
        if let Some(before) = self.ranges[..self.count].last_mut() {
            if range.first <= before.last.saturating_add(1) {
                before.last = before.last.max(range.last);
                return;
            }
        }
        self.ranges[self.count] = range;
        self.count += 1;
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> &[NumberRange] {
        &self.ranges[..self.count]
    }

    /// Whether `number` is in the set.
    pub fn contains(&self, number: u32) -> bool {
        self.ranges()
            .iter()
            .any(|range| range.first <= number && number <= range.last)
    }

    /// Whether every number of `other` is in this set too.
    pub fn covers(&self, other: &Self) -> bool {
        // Ranges of a list are never adjacent, so one that is covered lies within one.
        other.ranges().iter().all(|inner| {
            self.ranges()
                .iter()
                .any(|outer| outer.first <= inner.first && inner.last <= outer.last)
        })
    }
}

/// A list as it is displayed: numbers and ranges FIRST-LAST, decimal or 0x hexadecimal,
/// separated by commas; `none`; and `all`.
impl FromStr for AllowList {
    type Err = ParseListError;

    fn from_str(text: &str) -> Result<Self, ParseListError> {
        match text {
            "all" => return Ok(Self::EVERYTHING),
            "none" => return Self::new(&[]).map_err(ParseListError::Ranges),
            _ => {}
        }
        let mut ranges = [NumberRange::default(); CAPACITY];
        let mut count = 0;
        for part in text.split(',') {
            let range = parse_range(part).ok_or(ParseListError::NotARange(count + 1))?;
            if let Some(place) = ranges.get_mut(count) {
                *place = range;
            }
            count += 1;
        }
        let ranges = ranges
            .get(..count)
            .ok_or(ParseListError::Ranges(RangeError::TooMany(count)))?;
        Self::new(ranges).map_err(ParseListError::Ranges)
    }
}

fn parse_range(text: &str) -> Option<NumberRange> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(NumberRange {
        first: parse_number(first)?,
        last: parse_number(last)?,
    })
}

/// Digits only: the standard library would take a sign.
fn parse_number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    if !digits.starts_with(|first: char| first.is_digit(radix)) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

impl core::fmt::Debug for AllowList {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_list().entries(self.ranges()).finish()
    }
}

/// The ranges in hexadecimal, `none` if there are none.
impl core::fmt::Display for AllowList {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.count == 0 {
            return formatter.write_str("none");
        }
        for (index, range) in self.ranges().iter().enumerate() {
            if index > 0 {
                formatter.write_str(",")?;
            }
            write!(formatter, "{range}")?;
        }
        Ok(())
    }
}

impl core::fmt::Display for RangeError {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooMany(count) => write!(
                formatter,
                "{count} ranges were given, an allow-list holds at most {RANGES_MAX}"
            ),
            Self::Backwards(range) => write!(formatter, "the range {range} ends before it begins"),
        }
    }
}

impl core::error::Error for RangeError {}

impl core::fmt::Display for ParseListError {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotARange(place) => write!(
                formatter,
                "part {place} is neither a number nor FIRST-LAST (decimal or 0x hexadecimal)"
            ),
            Self::Ranges(error) => error.fmt(formatter),
        }
    }
}

impl core::error::Error for ParseListError {}
