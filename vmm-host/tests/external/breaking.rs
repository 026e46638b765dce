// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handlers that are gone, or do not keep to the protocol: whoever waits and whoever calls
//! later is told at once, and nobody panics.

use crate::fake_vcpu::call;
use crate::peer::{fixture, range, Asked, Peer, LONG, NUMBER};
use hcall_vmm::extend::external::protocol::{
    encode_frame, Answer, Direction, FrameKind, Hello, HEADER_BYTES,
};
use std::net::Shutdown;
use std::thread;
use std::time::Instant;

const EIO: i64 = -5;

/// The call under way and the next ones answer −EIO, well within the limit.
#[track_caller]
fn expect_gone(play: impl FnOnce(&mut Peer, Asked) + Send + 'static) {
    let fixture = fixture(&[range(Direction::InOut, 64)], LONG, |mut peer| {
        let asked = peer.next().unwrap();
        play(&mut peer, asked);
        assert!(peer.receive().is_none(), "the connection was closed");
    });
    let start = Instant::now();
    assert_eq!(fixture.call([0x100, 16, 0, 0]), EIO);
    for _ in 0..3 {
        assert_eq!(fixture.call([0x100, 16, 0, 0]), EIO);
    }
    assert!(start.elapsed() < LONG / 4, "it took {:?}", start.elapsed());
    fixture.end();
}

/// A good answer to `asked`, with 16 bytes.
fn good(asked: &Asked) -> Vec<u8> {
    let answer = Answer {
        result: Ok(1),
        outputs: [&[0; 16][..], b"", b"", b""],
    };
    answer.encode(asked.id)
}

#[test]
fn it_ends() {
    expect_gone(|peer, _| peer.stream.shutdown(Shutdown::Both).unwrap());
}

#[test]
fn it_ends_within_a_frame() {
    expect_gone(|peer, asked| {
        peer.send(&good(&asked)[..40]);
        peer.stream.shutdown(Shutdown::Both).unwrap();
    });
}

#[test]
fn it_closes_its_writing_end_only() {
    expect_gone(|peer, _| peer.stream.shutdown(Shutdown::Write).unwrap());
}

#[test]
fn every_caller_is_told() {
    let fixture = fixture(&[], LONG, |mut peer| {
        for _ in 0..6 {
            peer.next().unwrap();
        }
    });
    thread::scope(|scope| {
        for _ in 0..6 {
            let host = &fixture.host;
            scope.spawn(move || assert_eq!(call(host, NUMBER.get(), [0; 4]), EIO));
        }
    });
    fixture.end();
}

#[test]
fn what_it_says_is_no_frame() {
    expect_gone(|peer, _| peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    expect_gone(|peer, _| peer.send(&[0; HEADER_BYTES]));
}

#[test]
fn a_field_of_its_frame_is_wrong() {
    // Offset and value: magic, type, length (short, long, huge), reserved.
    for (offset, value) in [
        (0, 0),
        (4, 0),
        (4, 9),
        (16, 39),
        (16, 41),
        (16, u32::MAX),
        (20, 1),
    ] {
        expect_gone(move |peer, asked| {
            let mut frame = good(&asked);
            frame[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
            // A second frame, for a length that takes from it.
            frame.extend_from_slice(&good(&asked));
            peer.send(&frame);
        });
    }
}

#[test]
fn its_frame_is_of_another_kind() {
    expect_gone(|peer, asked| peer.send(&encode_frame(FrameKind::Request, asked.id, &[])));
    expect_gone(|peer, _| peer.send(&Hello::new(NUMBER).encode()));
}

#[test]
fn its_result_is_none() {
    for result in [-1000_i64, -4096, i64::MIN] {
        expect_gone(move |peer, asked| {
            let mut frame = good(&asked);
            frame[HEADER_BYTES..HEADER_BYTES + 8].copy_from_slice(&result.to_le_bytes());
            peer.send(&frame);
        });
    }
}

#[test]
fn it_writes_more_than_it_was_asked_for() {
    expect_gone(|peer, asked| {
        let outputs = [&[0; 17][..], b"", b"", b""];
        let answer = Answer {
            result: Ok(0),
            outputs,
        };
        peer.send(&answer.encode(asked.id));
    });
    expect_gone(|peer, asked| {
        let outputs = [&[0; 1][..], b"", b"", &[0; 1]];
        let answer = Answer {
            result: Ok(0),
            outputs,
        };
        peer.send(&answer.encode(asked.id));
    });
}

#[test]
fn it_answers_what_it_was_not_asked() {
    expect_gone(|peer, asked| peer.answer(asked.id + 1, Ok(0)));
    expect_gone(|peer, _| peer.answer(0, Ok(0)));
    expect_gone(|peer, _| peer.answer(u64::MAX, Ok(0)));
}

#[test]
fn it_answers_twice() {
    let fixture = fixture(&[], LONG, |mut peer| {
        let asked = peer.next().unwrap();
        peer.answer(asked.id, Ok(1));
        peer.answer(asked.id, Ok(1));
        assert!(peer.receive().is_none(), "the connection was closed");
    });
    assert_eq!(fixture.call([0; 4]), 1);
    let start = Instant::now();
    assert_eq!(fixture.call([0; 4]), EIO);
    assert!(start.elapsed() < LONG / 4);
    fixture.end();
}

#[test]
fn it_floods_with_bytes_that_nobody_asked_for() {
    expect_gone(|peer, _| {
        use std::io::Write;
        // Fails as soon as the connection is closed, which must come.
        while peer.stream.write_all(&[0x68; 0x1_0000]).is_ok() {}
    });
}
