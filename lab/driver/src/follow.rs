// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lines of a file that another program is still writing: the console of an emulator
//! that has none on its standard output.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// How often the file is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Calls `line` with each line, and at last with the rest, once all senders of `writer`
/// are gone. `line` returns whether it wants more.
pub(crate) fn follow(
    mut file: File,
    writer: &Receiver<Infallible>,
    mut line: impl FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    let mut unfinished = Vec::new();
    loop {
        // Asked before the reading, so that nothing written before the end is missed.
        let ended = matches!(
            writer.recv_timeout(POLL),
            Err(RecvTimeoutError::Disconnected)
        );
        file.read_to_end(&mut unfinished)?;
        while let Some(end) = unfinished.iter().position(|byte| *byte == b'\n') {
            let rest = unfinished.split_off(end + 1);
            if !line(&unfinished) {
                return Ok(());
            }
            unfinished = rest;
        }
        if ended {
            if !unfinished.is_empty() {
                line(&unfinished);
            }
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::sync::mpsc::channel;
    use std::thread;

    #[test]
    fn lines_arrive_while_the_file_grows_and_none_is_split_or_lost() {
        let path = std::env::temp_dir().join(format!("hcall-follow-{}", std::process::id()));
        let reader = File::create(&path).and_then(|_| File::open(&path));
        let reader = reader.expect("a temporary file");
        let mut writer = OpenOptions::new().append(true).open(&path).expect("it");
        fs::remove_file(&path).expect("the file is there");
        let (alive, ended) = channel();
        let (sender, lines) = channel();
        let following = thread::spawn(move || {
            follow(reader, &ended, |line| {
                sender
                    .send(String::from_utf8_lossy(line).into_owned())
                    .is_ok()
            })
        });

        writer.write_all(b"first\r\nsec").expect("written");
        assert_eq!(lines.recv().as_deref(), Ok("first\r\n"));
        writer.write_all(b"ond\nlast").expect("written");
        drop(alive);
        assert_eq!(lines.recv().as_deref(), Ok("second\n"));
        assert_eq!(lines.recv().as_deref(), Ok("last"));
        assert!(lines.recv().is_err());
        following.join().expect("no panic").expect("no error");
    }
}
