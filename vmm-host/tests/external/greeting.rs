// SPDX-License-Identifier: MIT OR Apache-2.0
//! The beginning of a connection, good and bad: each error says what is wrong.

use crate::peer::{connect, fixture, Peer, LONG, NUMBER, SHORT};
use hcall_vmm::extend::external::protocol::{FrameKind, ProtocolError, RANGES_MAX, VERSION};
use hcall_vmm::extend::external::{protocol, ExternalError};
use std::time::Instant;

#[test]
fn the_vmm_says_what_it_is_about_to_ask() {
    let (handler, peer) = connect(&[], LONG, |mut peer| {
        let hello = peer.greet();
        assert_eq!(hello.version, VERSION);
        assert_eq!(hello.number, NUMBER.get());
        assert_eq!(hello.ranges_max, RANGES_MAX as u32);
        assert_eq!(hello.range_bytes_max, 0x1_0000);
        assert!(peer.next().is_none());
    });
    drop(handler.unwrap());
    peer.join().unwrap();
}

/// The handler says these bytes in place of a greeting.
fn greeted_with(bytes: Vec<u8>) -> ExternalError {
    let (handler, peer) = connect(&[], LONG, move |mut peer| {
        peer.receive();
        peer.send(&bytes);
        assert!(peer.receive().is_none(), "the connection was closed");
    });
    let error = handler.expect_err("that was no greeting");
    peer.join().unwrap();
    error
}

fn welcome(words: &[u32]) -> Vec<u8> {
    let body: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    protocol::encode_frame(FrameKind::Welcome, 0, &[&body])
}

#[test]
fn it_says_nothing() {
    let start = Instant::now();
    let (handler, peer) = connect(&[], SHORT, |mut peer| {
        peer.receive();
        assert!(peer.receive().is_none());
    });
    let error = handler.expect_err("nobody greeted");
    assert!(matches!(error, ExternalError::Silent(_)), "{error}");
    assert!(start.elapsed() >= SHORT);
    peer.join().unwrap();
}

#[test]
fn it_says_a_byte_now_and_then() {
    let (handler, peer) = connect(&[], SHORT, |mut peer: Peer| {
        use std::io::Write;
        let welcome = welcome(&[1, 0]);
        for byte in welcome.iter().cycle() {
            std::thread::sleep(SHORT / 8);
            if peer.stream.write_all(&[*byte]).is_err() {
                return;
            }
        }
    });
    // Four bytes are not the protocol's beginning in so short a time, nor any greeting.
    let error = handler.expect_err("that is no greeting");
    assert!(matches!(error, ExternalError::Silent(_)), "{error}");
    peer.join().unwrap();
}

#[test]
fn it_closes() {
    for reads in [0, 1] {
        let (handler, peer) = connect(&[], LONG, move |mut peer| {
            for _ in 0..reads {
                peer.receive();
            }
        });
        let error = handler.expect_err("nobody greeted");
        assert!(matches!(error, ExternalError::Closed(NUMBER)), "{error}");
        peer.join().unwrap();
    }
}

#[test]
fn it_speaks_another_version() {
    let error = greeted_with(welcome(&[7, 0, 1, 2, 3, 4, 5]));
    assert!(
        matches!(error, ExternalError::Protocol(ProtocolError::Version(7))),
        "{error}"
    );
    let causes = std::error::Error::source(&error).unwrap().to_string();
    assert!(causes.contains("version 7") && causes.contains("version 1"));
}

#[test]
fn it_does_not_speak_the_protocol() {
    for bytes in [
        b"220 mail.example ESMTP ready, how do you do\r\n".to_vec(),
        // An id; another kind; too long; too short; ranges that are not there.
        protocol::encode_frame(FrameKind::Welcome, 1, &[&[1, 0, 0, 0, 0, 0, 0, 0]]),
        protocol::encode_frame(FrameKind::Answer, 0, &[&[1, 0, 0, 0, 0, 0, 0, 0]]),
        welcome(&[0; 11]),
        welcome(&[1]),
        welcome(&[1, 1]),
        welcome(&[1, 0, 0]),
        // Five ranges.
        welcome(&[1, 5]),
        // Argument 4; length in argument 4; no direction; reserved; no bytes; too many.
        welcome(&[1, 1, 0x0001_ff04, 1]),
        welcome(&[1, 1, 0x0001_0400, 1]),
        welcome(&[1, 1, 0x0000_ff00, 1]),
        welcome(&[1, 1, 0x0104_ff00, 1]),
        welcome(&[1, 1, 0x0101_ff00, 1]),
        welcome(&[1, 1, 0x0001_ff00, 0]),
        welcome(&[1, 1, 0x0001_ff00, 0x1_0001]),
    ] {
        let error = greeted_with(bytes.clone());
        assert!(
            matches!(error, ExternalError::Protocol(_)),
            "{bytes:x?}: {error}"
        );
    }
}

#[test]
fn it_answers_before_it_is_asked() {
    let fixture = fixture(&[], LONG, |mut peer| {
        peer.answer(99, Ok(0));
        // The call is there or not, and then the connection is closed.
        while peer.receive().is_some() {}
    });
    assert_eq!(fixture.call([0; 4]), -5);
    fixture.end();
}
