// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exits of KVM that a VMM has no answer to, in words.

use kvm_bindings::{
    kvm_run, KVM_EXIT_INTERNAL_ERROR, KVM_INTERNAL_ERROR_DELIVERY_EV, KVM_INTERNAL_ERROR_EMULATION,
    KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES, KVM_INTERNAL_ERROR_SIMUL_EX,
    KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON,
};
use kvm_ioctls::VcpuExit;
use std::fmt::Write;

/// What an exit says that ends the VM; of an internal error, `kvm_run`
/// [says more](describe_internal_error).
pub(super) fn describe(exit: &VcpuExit<'_>) -> String {
    match exit {
        VcpuExit::InternalError => "internal error of KVM".into(),
        VcpuExit::FailEntry(reason, cpu) => format!(
            "the processor refused to enter the guest, with the hardware's reason {reason:#x}, \
             on CPU {cpu}"
        ),
        VcpuExit::Unknown => "KVM does not know why the guest stopped (KVM_EXIT_UNKNOWN)".into(),
        VcpuExit::Unsupported(reason) => format!("exit {reason}, which this VMM does not know"),
        other => format!("{other:?}, which this VMM does not use"),
    }
}

/// What KVM_EXIT_INTERNAL_ERROR says, if `run` holds one.
pub(super) fn describe_internal_error(run: &kvm_run) -> Option<String> {
    (run.exit_reason == KVM_EXIT_INTERNAL_ERROR).then(|| describe_suberror(run))
}

fn describe_suberror(run: &kvm_run) -> String {
    // SAFETY: for KVM_EXIT_INTERNAL_ERROR, KVM filled this field; all of it is integers.
    let error = unsafe { run.__bindgen_anon_1.internal };
    let mut text = match error.suberror {
        KVM_INTERNAL_ERROR_EMULATION => return describe_emulation_failure(run),
        KVM_INTERNAL_ERROR_SIMUL_EX => "KVM met an exception while it took another".into(),
        KVM_INTERNAL_ERROR_DELIVERY_EV => {
            "KVM could not deliver an event: what the guest needs for it caused an exit".into()
        }
        KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON => {
            "the processor left the guest for a reason that KVM does not know".into()
        }
        other => format!("internal error {other} of KVM"),
    };
    let count = error.data.len().min(error.ndata as usize);
    if count > 0 {
        // Writing to a `String` cannot fail.
        let _ = write!(text, " (data {:x?})", &error.data[..count]);
    }
    text
}

fn describe_emulation_failure(run: &kvm_run) -> String {
    // SAFETY: for this error, KVM filled this field; all of it is integers.
    let failure = unsafe { run.__bindgen_anon_1.emulation_failure };
    let mut text = String::from("KVM could not emulate an instruction of the guest");
    let has_bytes = u64::from(KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES);
    // The flags are there where there are words for them and for the bytes.
    if failure.ndata >= 3 && failure.flags & has_bytes != 0 {
        // SAFETY: the flag says that KVM filled this field; all of it is integers.
        let instruction = unsafe { failure.__bindgen_anon_1.__bindgen_anon_1 };
        let bytes = &instruction.insn_bytes;
        let length = bytes.len().min(instruction.insn_size.into());
        // As above.
        let _ = write!(text, " ({:02x?})", &bytes[..length]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn internal_error(suberror: u32, data: &[u64]) -> Box<kvm_run> {
        let mut run = Box::<kvm_run>::default();
        run.exit_reason = KVM_EXIT_INTERNAL_ERROR;
        run.__bindgen_anon_1.internal.suberror = suberror;
        run.__bindgen_anon_1.internal.ndata = data.len() as u32;
        for (index, word) in data.iter().enumerate().take(16) {
            // SAFETY: integers, in the member that is filled here.
            unsafe { run.__bindgen_anon_1.internal.data[index] = *word };
        }
        run
    }

    #[test]
    fn emulation_failures_show_the_instruction() {
        let flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES.into();
        let size_and_bytes = (0x0b0f_u64 << 8) | 2;
        let error = internal_error(KVM_INTERNAL_ERROR_EMULATION, &[flags, size_and_bytes, 0]);
        assert_eq!(
            describe_suberror(&error),
            "KVM could not emulate an instruction of the guest ([0f, 0b])"
        );
        let error = internal_error(KVM_INTERNAL_ERROR_EMULATION, &[]);
        assert_eq!(
            describe_suberror(&error),
            "KVM could not emulate an instruction of the guest"
        );
    }

    #[test]
    fn other_errors_show_their_data_whatever_the_count_says() {
        let error = internal_error(KVM_INTERNAL_ERROR_DELIVERY_EV, &[0x80000b0e, 48]);
        assert!(describe_suberror(&error).ends_with("(data [80000b0e, 30])"));
        let mut error = internal_error(77, &[]);
        assert_eq!(describe_suberror(&error), "internal error 77 of KVM");
        error.__bindgen_anon_1.internal.ndata = u32::MAX;
        assert!(describe_suberror(&error).contains("data [0, 0, "));
    }

    #[test]
    fn exits_are_described() {
        let text = describe(&VcpuExit::FailEntry(0x8000_0021, 1));
        assert!(text.contains("0x80000021"), "{text}");
        let text = describe(&VcpuExit::Unsupported(99));
        assert!(text.contains("exit 99"), "{text}");
        assert_eq!(describe_internal_error(&Box::default()), None);
    }
}
