// SPDX-License-Identifier: MIT OR Apache-2.0
//! The handler protocol, from both ends: any bytes are taken apart or refused, and what was
//! taken says the same when it is put together again.

use crate::input::Input;
use hcall_abi::convention::Arguments;
use hcall_abi::{Errno, HypercallNumber};
use hcall_vmm::extend::external::protocol::{
    encode_frame, split, Answer, Direction, Frame, FrameKind, Hello, Length, Range, Ranges,
    Request, Welcome, BODY_BYTES_MAX, HEADER_BYTES, RANGES_MAX,
};
use hcall_vmm::hypercall::Cpl;

/// A stream of bytes, or a body of each kind, or a conversation.
pub fn handler_protocol(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.u8();
    let ranges = ranges(&mut input);
    match kind % 3 {
        0 => stream(input.rest(), &ranges),
        1 => bodies(
            FrameKind::ALL[usize::from(kind / 3 % 4)],
            &mut input,
            &ranges,
        ),
        _ => conversation(&mut input, &ranges),
    }
}

fn stream(mut bytes: &[u8], ranges: &Ranges) {
    let most = BODY_BYTES_MAX.min(Answer::body_bytes_max(ranges) + 64);
    while let Ok(Some(frame)) = split(bytes, most) {
        assert!(frame.body.len() <= most && frame.size() <= bytes.len());
        let again = encode_frame(frame.kind, frame.id, &[frame.body]);
        assert_eq!(again, bytes[..frame.size()]);
        for kind in FrameKind::ALL {
            let expected = frame.expect(kind).is_ok();
            let greets = matches!(kind, FrameKind::Hello | FrameKind::Welcome);
            assert_eq!(expected, frame.kind == kind && (!greets || frame.id == 0));
        }
        decode(&frame, ranges);
        bytes = &bytes[frame.size()..];
    }
}

fn bodies(kind: FrameKind, input: &mut Input<'_>, ranges: &Ranges) {
    let frame = Frame {
        kind,
        id: 0,
        body: input.rest(),
    };
    decode(&frame, ranges);
}

/// A body is refused, or says what it says again when it is encoded.
fn decode(frame: &Frame<'_>, ranges: &Ranges) {
    let again = match frame.kind {
        FrameKind::Hello => Hello::decode(frame.body).map(|hello| hello.encode()),
        FrameKind::Welcome => Welcome::decode(frame.body).map(|welcome| welcome.encode()),
        FrameKind::Request => {
            Request::decode(frame.body, ranges).map(|request| request.encode(frame.id))
        }
        FrameKind::Answer => {
            let most = std::array::from_fn(|index| index as u32 * 5);
            Answer::decode(frame.body, &most).map(|answer| {
                let within = |(output, most): (&[u8], u32)| output.len() <= most as usize;
                assert!(answer.outputs.into_iter().zip(most).all(within));
                answer.encode(frame.id)
            })
        }
    };
    match again {
        Ok(again) => assert_eq!(&again[HEADER_BYTES..], frame.body),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A greeting, a call and its answer, as they would be.
fn conversation(input: &mut Input<'_>, ranges: &Ranges) {
    let welcome = Welcome { ranges: *ranges };
    let bytes = welcome.encode();
    let frame = whole(&bytes);
    assert_eq!(Welcome::decode(frame.body), Ok(welcome));

    let number = HypercallNumber::user(input.u16() & 0xfff);
    let bytes = Hello::new(number).encode();
    assert_eq!(Hello::decode(whole(&bytes).body), Ok(Hello::new(number)));

    let arguments: Arguments = std::array::from_fn(|_| input.number(&[64, 4096]));
    let Ok(lengths) = ranges.lengths(&arguments) else {
        return;
    };
    let memory = vec![0x33; ranges.inputs(&lengths).into_iter().max().unwrap_or(0) as usize];
    let request = Request {
        number: number.get(),
        vcpu: (input.u8() & 1 != 0).then_some(3),
        cpl: (input.u8() & 1 != 0).then_some(Cpl::KERNEL),
        arguments,
        lengths,
        inputs: ranges
            .inputs(&lengths)
            .map(|length| &memory[..length as usize]),
    };
    let bytes = request.encode(input.u64());
    assert_eq!(Request::decode(whole(&bytes).body, ranges), Ok(request));

    let most = ranges.outputs(&lengths);
    let output = input.rest();
    let answer = Answer {
        result: if output.len() % 2 == 0 {
            Ok(1)
        } else {
            Err(Errno::EBUSY)
        },
        outputs: most.map(|most| &output[..output.len().min(most as usize)]),
    };
    let bytes = answer.encode(7);
    assert!(bytes.len() - HEADER_BYTES <= Answer::body_bytes_max(ranges));
    assert_eq!(Answer::decode(whole(&bytes).body, &most), Ok(answer));
}

fn whole(bytes: &[u8]) -> Frame<'_> {
    let frame = split(bytes, BODY_BYTES_MAX);
    frame
        .expect("an encoded frame is one")
        .expect("all of it is there")
}

/// Ranges that a handler may want; none where the input has bad ones.
fn ranges(input: &mut Input<'_>) -> Ranges {
    let count = usize::from(input.u8()) % (RANGES_MAX + 2);
    let given: Vec<Range> = (0..count).map(|_| range(input)).collect();
    match Ranges::new(&given) {
        Ok(ranges) => {
            assert_eq!(ranges.count(), count);
            assert!(ranges.iter().map(|(_, range)| range).eq(given));
            ranges
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            Ranges::NONE
        }
    }
}

fn range(input: &mut Input<'_>) -> Range {
    let shape = input.u8();
    let most = match shape >> 5 {
        0 => input.u32(),
        _ => u32::from(input.u8()) + 1,
    };
    Range {
        address: if shape & 1 == 0 {
            (shape >> 1) & 3
        } else {
            input.u8()
        },
        length: if shape & 8 == 0 {
            Length::Fixed(most)
        } else {
            let index = input.u8() & 7;
            Length::Argument { index, most }
        },
        direction: [Direction::In, Direction::Out, Direction::InOut]
            [usize::from((shape >> 4) & 1) + usize::from((shape >> 2) & 1)],
    }
}
