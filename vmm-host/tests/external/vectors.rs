// SPDX-License-Identifier: MIT OR Apache-2.0
//! The vectors for implementers, `vectors/handler-protocol.json`: this crate reads each as it
//! says, and writes the same bytes.

use hcall_abi::Errno;
use hcall_vmm::extend::external::protocol::{
    split, Answer, Direction, FrameKind, Hello, Length, ProtocolError, Range, Ranges, Request,
    Welcome, BODY_BYTES_MAX,
};
use hcall_vmm::Cpl;
use serde_json::{json, Value};
use std::collections::BTreeSet;

const VECTORS: &str = include_str!("../../vectors/handler-protocol.json");

fn vectors() -> Vec<Value> {
    let file: Value = serde_json::from_str(VECTORS).expect("JSON");
    assert_eq!(file["version"], 1);
    file["vectors"].as_array().expect("a list").clone()
}

fn from_hex(text: &str) -> Vec<u8> {
    assert!(text.len() % 2 == 0, "{text}");
    (0..text.len() / 2)
        .map(|index| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).expect("hex"))
        .collect()
}

fn to_hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect()
}

/// A number, or one above 2^53 as text.
fn number(value: &Value) -> u64 {
    match value {
        Value::String(text) => {
            u64::from_str_radix(text.strip_prefix("0x").expect("0x"), 16).expect("hex")
        }
        other => other.as_u64().expect("a number"),
    }
}

fn ranges(value: &Value) -> Ranges {
    let ranges: Vec<Range> = value
        .as_array()
        .expect("ranges")
        .iter()
        .map(|range| {
            let bytes = number(&range["bytes"]) as u32;
            Range {
                address: number(&range["address"]) as u8,
                length: match range["length"].as_u64() {
                    Some(index) => Length::Argument {
                        index: index as u8,
                        most: bytes,
                    },
                    None => Length::Fixed(bytes),
                },
                direction: match range["direction"].as_str() {
                    Some("in") => Direction::In,
                    Some("out") => Direction::Out,
                    _ => Direction::InOut,
                },
            }
        })
        .collect();
    Ranges::new(&ranges).expect("they can be had")
}

fn four(value: &Value) -> [u32; 4] {
    std::array::from_fn(|index| number(&value[index]) as u32)
}

/// What the crate makes of a vector's frame, in the words of the file, and the frame that it
/// writes for the same. None where it is not whole.
fn read(vector: &Value, bytes: &[u8]) -> Result<Option<(Value, Vec<u8>)>, ProtocolError> {
    let Some(frame) = split(bytes, BODY_BYTES_MAX)? else {
        return Ok(None);
    };
    assert_eq!(frame.size(), bytes.len(), "one frame a vector");
    frame.expect(frame.kind)?;
    let (mut says, written) = match frame.kind {
        FrameKind::Hello => read_hello(frame.body)?,
        FrameKind::Welcome => read_welcome(frame.body, &vector["says"]["ranges"])?,
        FrameKind::Request => read_request(frame.body, frame.id, &ranges(&vector["ranges"]))?,
        FrameKind::Answer => read_answer(frame.body, frame.id, &four(&vector["most"]))?,
    };
    says["kind"] = frame.kind.to_string().into();
    // Above 2^53 the file has it as text.
    says["id"] = match frame.id {
        u64::MAX => "0xffffffffffffffff".into(),
        id => id.into(),
    };
    Ok(Some((says, written)))
}

fn read_hello(body: &[u8]) -> Result<(Value, Vec<u8>), ProtocolError> {
    let hello = Hello::decode(body)?;
    let says = json!({
        "version": hello.version,
        "number": hello.number,
        "ranges_max": hello.ranges_max,
        "range_bytes_max": hello.range_bytes_max,
    });
    Ok((says, hello.encode()))
}

/// Ranges are compared as what they are, not as their words.
fn read_welcome(body: &[u8], expected: &Value) -> Result<(Value, Vec<u8>), ProtocolError> {
    let welcome = Welcome::decode(body)?;
    assert_eq!(welcome.ranges, ranges(expected));
    let says = json!({ "version": 1, "ranges": expected });
    Ok((says, welcome.encode()))
}

fn read_request(body: &[u8], id: u64, ranges: &Ranges) -> Result<(Value, Vec<u8>), ProtocolError> {
    let request = Request::decode(body, ranges)?;
    let says = json!({
        "number": request.number,
        "vcpu": request.vcpu,
        "cpl": request.cpl.map(Cpl::get),
        "arguments": request.arguments.map(|argument| format!("{argument:#x}")),
        "lengths": request.lengths,
        "inputs": request.inputs.map(to_hex),
    });
    Ok((says, request.encode(id)))
}

fn read_answer(body: &[u8], id: u64, most: &[u32; 4]) -> Result<(Value, Vec<u8>), ProtocolError> {
    let answer = Answer::decode(body, most)?;
    let outputs = answer.outputs.map(to_hex);
    let says = match answer.result {
        Ok(payload) => json!({ "payload": format!("{payload:#x}"), "outputs": outputs }),
        Err(errno) => json!({ "errno": Errno::get(errno), "outputs": outputs }),
    };
    Ok((says, answer.encode(id)))
}

/// The name of an error, without what it holds.
fn name(error: &ProtocolError) -> String {
    let text = format!("{error:?}");
    let end = text.find(|character: char| !character.is_alphanumeric());
    text[..end.unwrap_or(text.len())].to_owned()
}

#[test]
fn every_vector_is_read_as_it_says_and_written_as_it_stands() {
    let vectors = vectors();
    assert!(vectors.len() > 50);
    for vector in &vectors {
        let bytes = from_hex(vector["frame"].as_str().expect("a frame"));
        let title = &vector["name"];
        let expected = ["says", "incomplete", "error"]
            .into_iter()
            .filter(|kind| !vector[kind].is_null());
        assert_eq!(expected.count(), 1, "{title}: one thing is expected");
        match read(vector, &bytes) {
            Ok(Some((says, written))) => {
                assert_eq!(says, vector["says"], "{title}");
                assert_eq!(to_hex(&written), to_hex(&bytes), "{title}");
            }
            Ok(None) => assert_eq!(vector["incomplete"], true, "{title}"),
            Err(error) => assert_eq!(name(&error), vector["error"], "{title}: {error}"),
        }
    }
}

#[test]
fn there_is_a_vector_for_each_error() {
    let shown: BTreeSet<String> = vectors()
        .iter()
        .filter_map(|vector| vector["error"].as_str().map(str::to_owned))
        .collect();
    // A frame that is right, but not in this place, is no matter of its bytes.
    let mut known = crate::document::errors();
    assert!(known.remove("Misplaced"));
    assert_eq!(shown, known);
}

/// Whatever a frame's bytes become, reading it ends, with a value or an error.
#[test]
fn a_bit_that_is_flipped_and_an_end_that_is_cut_do_no_harm() {
    for vector in vectors().iter().filter(|vector| !vector["says"].is_null()) {
        let bytes = from_hex(vector["frame"].as_str().expect("a frame"));
        let ranges = match vector["ranges"].is_null() {
            true => Ranges::NONE,
            false => ranges(&vector["ranges"]),
        };
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            read_anyhow(&flipped, &ranges);
        }
        for length in 0..bytes.len() {
            assert_eq!(split(&bytes[..length], BODY_BYTES_MAX), Ok(None));
            read_anyhow(&bytes[..length], &ranges);
        }
    }
}

fn read_anyhow(bytes: &[u8], ranges: &Ranges) {
    let Ok(Some(frame)) = split(bytes, BODY_BYTES_MAX) else {
        return;
    };
    let most = ranges.outputs(&[4096; 4]);
    let _ = Hello::decode(frame.body);
    let _ = Welcome::decode(frame.body);
    let _ = Request::decode(frame.body, ranges);
    if let Ok(answer) = Answer::decode(frame.body, &most) {
        for (output, most) in answer.outputs.iter().zip(most) {
            assert!(output.len() <= most as usize);
        }
    }
}
