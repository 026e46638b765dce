// SPDX-License-Identifier: MIT OR Apache-2.0
//! Encodings of the ABI: what is encoded is decoded to the same, and nothing else is taken.

use crate::input::Input;
use hcall_abi::batch::BatchEntry;
use hcall_abi::carrier::CarrierRegisters;
use hcall_abi::ring::{passed, RingCompletion, RingEntry, RingLayout, RingSetup};
use hcall_abi::{
    decode_result, encode_result, encode_result_32, CallError, Errno, HypercallNumber, Transport,
    TransportSet,
};

/// One value of each kind.
pub fn abi(data: &[u8]) {
    let mut input = Input::new(data);
    match input.u8() % 6 {
        0 => results(input.u64()),
        1 => numbers(input.u32()),
        2 => transports(input.u32()),
        3 => structures(&mut input),
        4 => layouts(&mut input),
        _ => carriers(&mut input),
    }
}

fn results(raw: u64) {
    let payload = encode_result(Ok(raw));
    match decode_result(payload) {
        Ok(decoded) => assert_eq!(decoded, raw),
        Err(error) => assert_eq!((error, raw >> 63), (CallError::Errno(Errno::ERANGE), 1)),
    }
    match decode_result(encode_result_32(Ok(raw)).into()) {
        Ok(decoded) => assert_eq!(decoded, raw),
        Err(CallError::Errno(errno)) => {
            assert!(raw > i32::MAX as u64);
            assert!([Errno::EOVERFLOW, Errno::ERANGE].contains(&errno));
        }
        Err(error) => panic!("{error}"),
    }
    match decode_result(raw as i64) {
        Ok(decoded) => assert_eq!(encode_result(Ok(decoded)), raw as i64),
        Err(CallError::Errno(errno)) => assert_eq!(encode_result(Err(errno)), raw as i64),
        Err(CallError::NotHcall) => assert_eq!(raw as i64, -1000),
        Err(error) => assert!((raw as i64) < -4095, "{error}"),
    }
    if let Some(errno) = Errno::new(raw as u16) {
        assert_eq!(errno.get(), raw as u16);
        let encoded = encode_result(Err(errno));
        assert!((-4095..0).contains(&encoded) && encoded != -1000);
        assert_eq!(i64::from(encode_result_32(Err(errno))), encoded);
    }
}

fn numbers(raw: u32) {
    let kept = raw <= 12 || [15, 17, 24, 29, 32].contains(&raw) || raw >> 31 != 0;
    match HypercallNumber::new(raw) {
        Ok(number) => {
            assert!(!kept && number.get() == raw);
            assert!(number.gpa_index().is_none() || number.takes_gpa());
            if number.name().is_some() {
                assert!(number.to_string().len() > 2);
            }
        }
        Err(error) => assert!(kept, "{error}"),
    }
}

fn transports(bits: u32) {
    let set = TransportSet::from_bits(bits);
    let named = Transport::ALL
        .into_iter()
        .filter(|transport| set.contains(*transport));
    assert!(set.iter().eq(named));
    assert_eq!(set.preferred(), set.iter().next());
    assert_eq!(set.intersection(set), set);
    if let Some(transport) = Transport::from_raw(bits) {
        assert_eq!(transport.raw(), bits);
    }
}

fn structures(input: &mut Input<'_>) {
    let bytes = input.array::<{ size_of::<BatchEntry>() }>();
    assert_eq!(BatchEntry::from_bytes(&bytes).to_bytes(), bytes);
    let words = std::array::from_fn(|_| input.u64());
    let entry = RingEntry::from_words(words);
    assert_eq!(entry.to_words(), words);
    let words = std::array::from_fn(|_| input.u64());
    assert_eq!(RingCompletion::from_words(words).to_words(), words);
    let bytes = input.array::<{ size_of::<RingSetup>() }>();
    assert_eq!(RingSetup::from_bytes(&bytes).to_bytes(), bytes);
}

/// Everything stands in the region, and no two things at the same place.
fn layouts(input: &mut Input<'_>) {
    let (entries, index, other) = (input.u32(), input.u32(), input.u32());
    let entries = if entries % 4 == 0 {
        entries
    } else {
        1 << (entries % 24)
    };
    let Some(layout) = RingLayout::new(entries) else {
        return;
    };
    let (submission, completion) = (layout.submission(index), layout.completion(index));
    let entry_bytes = size_of::<RingEntry>() as u64;
    let completion_bytes = size_of::<RingCompletion>() as u64;
    assert!(submission >= hcall_abi::ring::HEADER_BYTES);
    assert!(submission + entry_bytes <= layout.completions());
    assert!(completion >= layout.completions() && completion + completion_bytes <= layout.bytes());
    assert_eq!(submission, layout.submission(index.wrapping_add(entries)));
    let occupied = layout.occupied(index, other);
    let distance = other.wrapping_sub(index);
    assert_eq!(occupied, (distance <= entries).then_some(distance));
    // The event is among the indices that were passed exactly if it is that near.
    let event = input.u32();
    let expected = event.wrapping_sub(index) < other.wrapping_sub(index);
    assert_eq!(passed(event, index, other), expected);
}

fn carriers(input: &mut Input<'_>) {
    let number = input.u32();
    assert_eq!(CarrierRegisters::carrying(number).number(), Some(number));
    let registers = CarrierRegisters {
        rax: input.u64(),
        rbx: input.u64(),
        rcx: input.u64(),
        rdx: input.u64(),
    };
    if let Some(number) = registers.number() {
        assert_eq!(CarrierRegisters::carrying(number), registers);
    }
}
