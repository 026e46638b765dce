// SPDX-License-Identifier: MIT OR Apache-2.0
//! The crate's structures: sizes, offsets, and bytes for given fields.

use hcall_abi::batch::BatchEntry;
use hcall_abi::ioctl::{Batch, Call, CallBuffer, Info, NumberRange, Restrict};
use hcall_abi::layout::{GuestInfo, Stats, TimeValue};
use std::collections::BTreeMap;
use std::mem::{offset_of, size_of, size_of_val};

/// Values of fields by name; a field that is not named is zero.
pub(crate) type Assignments = BTreeMap<String, Vec<i128>>;

pub(crate) struct Structure {
    pub(crate) name: &'static str,
    pub(crate) size: usize,
    pub(crate) fields: Vec<Field>,
    /// The bytes in memory.
    pub(crate) bytes: fn(&Assignments) -> Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) offset: usize,
    pub(crate) size: usize,
}

/// Describes a structure; `to_bytes` compares its own encoder with the layout as well.
macro_rules! structure {
    ($name:ident { $($field:ident),+ } $($to_bytes:ident)?) => {
        Structure {
            name: stringify!($name),
            size: size_of::<$name>(),
            fields: vec![$(Field {
                name: stringify!($field).to_owned(),
                offset: offset_of!($name, $field),
                size: size_of_val(&$name::default().$field),
            }),+],
            bytes: |assignments| {
                let mut value = $name::default();
                $(if let Some(values) = assignments.get(stringify!($field)) {
                    value.$field.assign(values);
                })+
                let mut bytes = vec![0; size_of::<$name>()];
                $({
                    let field = value.$field.to_le_bytes_vec();
                    let start = offset_of!($name, $field);
                    bytes[start..start + field.len()].copy_from_slice(&field);
                })+
                $(assert_eq!(value.$to_bytes().as_slice(), bytes);)?
                bytes
            },
        }
    };
}

/// All structures of the ABI.
pub(crate) fn structures() -> [Structure; 10] {
    [
        structure!(TimeValue { seconds, nanoseconds, reserved } to_bytes),
        structure!(GuestInfo {
            abi_version, features, vcpu, vcpu_count, memory_bytes, tsc_khz, transport
        } to_bytes),
        structure!(Stats {
            calls, instruction, carrier, port, unknown, refused, failed, panicked
        } to_bytes),
        structure!(BatchEntry { number, flags, arguments, result, reserved } to_bytes),
        structure!(Call {
            number,
            flags,
            arguments,
            result
        }),
        structure!(CallBuffer {
            number,
            flags,
            arguments,
            result,
            buffer,
            length,
            gpa_index
        }),
        structure!(Info {
            abi_version,
            transport,
            transports_offered,
            features,
            cpuid_base,
            instruction,
            batch_entries,
            ring_entries,
            buffer_bytes,
            reserved
        }),
        structure!(Batch {
            entries,
            count,
            flags,
            result
        }),
        structure!(NumberRange { first, last }),
        structure!(Restrict {
            count,
            reserved,
            ranges
        }),
    ]
}

/// A field that can be filled from the document and written to memory.
trait FieldValue {
    /// How many integers make up the field.
    const INTEGERS: usize = 1;

    fn assign(&mut self, values: &[i128]);
    fn to_le_bytes_vec(&self) -> Vec<u8>;
}

macro_rules! integer_fields {
    ($($integer:ty),+) => {
        $(impl FieldValue for $integer {
            fn assign(&mut self, values: &[i128]) {
                let [value] = values else {
                    panic!("one value expected, not {values:?}");
                };
                *self = <$integer>::try_from(*value).expect("the value fits the field");
            }

            fn to_le_bytes_vec(&self) -> Vec<u8> {
                self.to_le_bytes().to_vec()
            }
        })+
    };
}

integer_fields!(u32, u64, i64);

impl FieldValue for NumberRange {
    const INTEGERS: usize = 2;

    fn assign(&mut self, values: &[i128]) {
        let [first, last] = values else {
            panic!("two values expected, not {values:?}");
        };
        self.first.assign(&[*first]);
        self.last.assign(&[*last]);
    }

    fn to_le_bytes_vec(&self) -> Vec<u8> {
        [self.first.to_le_bytes(), self.last.to_le_bytes()].concat()
    }
}

impl<T: FieldValue, const COUNT: usize> FieldValue for [T; COUNT] {
    const INTEGERS: usize = COUNT * T::INTEGERS;

    fn assign(&mut self, values: &[i128]) {
        assert_eq!(
            values.len(),
            Self::INTEGERS,
            "every element of the array has a value"
        );
        for (element, values) in self.iter_mut().zip(values.chunks(T::INTEGERS)) {
            element.assign(values);
        }
    }

    fn to_le_bytes_vec(&self) -> Vec<u8> {
        self.iter().flat_map(T::to_le_bytes_vec).collect()
    }
}
