// SPDX-License-Identifier: MIT OR Apache-2.0
//! The crate's constants that the document's tables of constants hold, by path.

use crate::literal::Value;
use hcall_abi::AbiVersion;

/// Path as in the document, and value.
pub(crate) fn constants() -> Vec<(String, Value)> {
    macro_rules! constants {
        ($($($part:ident)::+),+ $(,)?) => {
            vec![$((
                stringify!($($part)::+).replace(' ', ""),
                hcall_abi::$($part)::+.to_value(),
            )),+]
        };
    }
    constants![
        carrier::NUMBER,
        carrier::GPA,
        carrier::PAGES,
        carrier::MAGIC,
        convention::ARGUMENT_COUNT,
        convention::VMMCALL_BYTES,
        convention::VMCALL_BYTES,
        result::MAX_PAYLOAD,
        result::MAX_PAYLOAD_32,
        result::KVM_ENOSYS_RESULT,
        Errno::MAX,
        number::CORE_FIRST,
        number::CORE_LAST,
        number::USER_FIRST,
        number::USER_LAST,
        number::KVM_LAST,
        number::XEN_NUMBERS,
        number::HYPERV_BIT,
        cpuid::HYPERVISOR_LEAF,
        cpuid::HYPERVISOR_BIT,
        cpuid::SIGNATURE,
        cpuid::FIRST_BASE,
        cpuid::LAST_BASE,
        cpuid::BASE_STEP,
        cpuid::LEAF_VERSION,
        cpuid::LEAF_TRANSPORTS,
        cpuid::LEAF_LIMITS,
        cpuid::NO_TRANSPORT,
        transport::PORT,
        batch::ENTRY_ALIGNMENT,
        batch::STOP_ON_ERROR,
        ioctl::DEVICE_PATH,
        ioctl::DEVICE_NAME,
        ioctl::DEVICE_MODE,
        ioctl::IOCTL_MAGIC,
        ioctl::INFO_SEQUENCE,
        ioctl::CALL_SEQUENCE,
        ioctl::CALL_BUFFER_SEQUENCE,
        ioctl::BATCH_SEQUENCE,
        ioctl::RESTRICT_SEQUENCE,
        ioctl::BUFFER_IN,
        ioctl::BUFFER_OUT,
        ioctl::BUFFER_MAX,
        ioctl::BATCH_MAX,
        ioctl::RANGES_MAX,
        ioctl::INSTRUCTION_NONE,
        ioctl::INSTRUCTION_VMMCALL,
        ioctl::INSTRUCTION_VMCALL,
        version::ABI_VERSION,
        version::PROBE_MAGIC,
        version::PROBE_RESULT,
    ]
}

/// How a constant of some type compares with what the document says.
trait ToValue {
    fn to_value(&self) -> Value;
}

macro_rules! integers {
    ($($integer:ty),+) => {
        $(impl ToValue for $integer {
            fn to_value(&self) -> Value {
                Value::Integer(*self as i128)
            }
        })+
    };
}

integers!(u8, u16, u32, u64, usize, i64);

impl ToValue for AbiVersion {
    fn to_value(&self) -> Value {
        self.get().to_value()
    }
}

impl ToValue for [u8; 3] {
    fn to_value(&self) -> Value {
        Value::Bytes(self.to_vec())
    }
}

impl ToValue for [u8; 12] {
    fn to_value(&self) -> Value {
        Value::Text(self.to_vec())
    }
}

impl ToValue for &str {
    fn to_value(&self) -> Value {
        Value::Text(self.as_bytes().to_vec())
    }
}

impl<const COUNT: usize> ToValue for [u32; COUNT] {
    fn to_value(&self) -> Value {
        Value::List(self.iter().copied().map(i128::from).collect())
    }
}
