// SPDX-License-Identifier: MIT OR Apache-2.0
//! Encoding and decoding of results: round trips, and what cannot be told apart.

use hcall_abi::result::{KVM_ENOSYS_RESULT, MAX_PAYLOAD, MAX_PAYLOAD_32};
use hcall_abi::{
    decode_result, decode_result_unprivileged, encode_result, encode_result_32, CallError, Errno,
};

fn errnos() -> impl Iterator<Item = Errno> {
    (1..=Errno::MAX).filter_map(Errno::new)
}

/// Both sides of each power of two.
fn payloads() -> impl Iterator<Item = u64> {
    (0..u64::BITS).flat_map(|bit| {
        let power = 1 << bit;
        [power - 1, power, power + 1]
    })
}

#[test]
fn payloads_come_back_as_far_as_they_fit() {
    for payload in payloads() {
        let raw = encode_result(Ok(payload));
        if payload <= MAX_PAYLOAD {
            assert_eq!(raw as u64, payload);
            assert_eq!(decode_result(raw), Ok(payload));
            assert_eq!(decode_result_unprivileged(raw), Ok(payload));
        } else {
            assert_eq!(decode_result(raw), Err(CallError::Errno(Errno::ERANGE)));
        }
    }
}

#[test]
fn every_errno_but_one_comes_back() {
    for errno in errnos() {
        let raw = encode_result(Err(errno));
        let expected = match errno.get() {
            1000 => Errno::ENOSYS,
            _ => errno,
        };
        assert_eq!(raw, -i64::from(expected.get()));
        assert_eq!(decode_result(raw), Err(CallError::Errno(expected)));
    }
}

/// What a caller in 32-bit mode makes of eax.
fn decode_32(decision: Result<u64, Errno>) -> Result<u64, CallError> {
    decode_result(encode_result_32(decision).into())
}

#[test]
fn in_32_bits_what_fits_comes_back_and_the_rest_is_an_overflow() {
    for payload in payloads() {
        let expected = if payload <= MAX_PAYLOAD_32 {
            Ok(payload)
        } else if payload <= MAX_PAYLOAD {
            Err(CallError::Errno(Errno::EOVERFLOW))
        } else {
            Err(CallError::Errno(Errno::ERANGE))
        };
        assert_eq!(decode_32(Ok(payload)), expected, "{payload:#x}");
    }
    for errno in errnos() {
        let wide = decode_result(encode_result(Err(errno)));
        assert_eq!(decode_32(Err(errno)), wide, "{errno}");
    }
}

#[test]
fn no_decision_of_a_handler_looks_like_kvm_or_malformed() {
    let decisions = payloads().map(Ok).chain(errnos().map(Err));
    for decision in decisions {
        let raw = encode_result(decision);
        assert_ne!(raw, KVM_ENOSYS_RESULT, "{decision:?}");
        assert!(
            !matches!(decode_result(raw), Err(CallError::Malformed(_))),
            "{decision:?}"
        );
    }
}

#[test]
fn kvm_is_recognised_at_every_privilege_level() {
    assert_eq!(decode_result(KVM_ENOSYS_RESULT), Err(CallError::NotHcall));
    assert_eq!(
        decode_result_unprivileged(KVM_ENOSYS_RESULT),
        Err(CallError::NotHcall)
    );
}

#[test]
fn eperm_is_the_hosts_own_at_cpl_0_only() {
    assert_eq!(decode_result(-1), Err(CallError::Errno(Errno::EPERM)));
    assert_eq!(decode_result_unprivileged(-1), Err(CallError::NotHcall));
}

#[test]
fn values_below_the_errnos_are_malformed() {
    for raw in [
        -4096,
        -4097,
        -1_000_000,
        i64::from(i32::MIN),
        i64::MIN + 1,
        i64::MIN,
    ] {
        assert_eq!(decode_result(raw), Err(CallError::Malformed(raw)));
        assert_eq!(
            decode_result_unprivileged(raw),
            Err(CallError::Malformed(raw))
        );
    }
}

#[test]
fn only_an_errno_has_an_errno() {
    assert_eq!(CallError::from(Errno::EIO).errno(), Some(Errno::EIO));
    assert_eq!(CallError::NotHcall.errno(), None);
    assert_eq!(CallError::Malformed(-4096).errno(), None);
}

#[test]
fn errors_say_what_the_host_did() {
    for (raw, parts) in [
        (-22, ["host answered", "EINVAL"]),
        (-1000, ["does not implement hcall", "KVM"]),
        (-4096, ["0xfffffffffffff000", "no hcall result"]),
    ] {
        let message = decode_result(raw).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }
}
