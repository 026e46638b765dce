// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many want one name for their control sockets at once, where a dead VMM has left its own: one
//! gets it, and keeps it for as long as it lives. In a process of its own, for it makes others.

#[path = "sandbox/child.rs"]
#[allow(dead_code, reason = "the tests of the sandbox need more of it")]
mod child;

use child::status_of;
use hcall_vmm::extend::control::{BindError, ControlSocket};
use rustix::io::Errno;
use rustix::net::{connect, socket_with, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::fs::{symlink_metadata, OpenOptions};
use std::io::Write;
use std::mem::forget;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;

const RACERS: usize = 6;
const ROUNDS: usize = 200;

/// One test at a time: a child has its parent's descriptors, and a socket that somebody has
/// is alive.
static ALONE: Mutex<()> = Mutex::new(());

/// A directory that is empty.
fn place(name: &str) -> PathBuf {
    let name = format!("hcall-{}-{name}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).expect("a directory of our own");
    directory
}

/// Binds `path`; none if another has it.
fn bind(path: &Path) -> Result<Option<ControlSocket>, String> {
    match ControlSocket::bind(path) {
        Ok(socket) => Ok(Some(socket)),
        Err(BindError::InUse(_)) => Ok(None),
        Err(error) => Err(format!("{error}: {error:?}")),
    }
}

/// Fails unless the name `path` leads to whom it belongs, whose inode is `ours`.
fn check(path: &Path, ours: u64) -> Result<(), String> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let client = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    let client = client.map_err(|error| error.to_string())?;
    let address = SocketAddrUnix::new(path).map_err(|error| error.to_string())?;
    match connect(&client, &address) {
        // Nobody takes in the many who have asked whether he is alive.
        Ok(()) | Err(Errno::AGAIN) => {}
        Err(error) => return Err(format!("the owner is not reached: {error}")),
    }
    match inode(path) {
        Some(inode) if inode == ours => Ok(()),
        _ => Err("another has the name".into()),
    }
}

fn inode(path: &Path) -> Option<u64> {
    Some(symlink_metadata(path).ok()?.ino())
}

#[test]
fn one_of_many_gets_the_name_that_a_dead_vmm_has_left() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = place("stale");
    let path = directory.join("socket");
    for round in 0..ROUNDS {
        drop(UnixListener::bind(&path).expect("the name is free"));
        let [start, end] = [Barrier::new(RACERS), Barrier::new(RACERS)];
        let owners = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..RACERS {
                scope.spawn(|| {
                    start.wait();
                    let bound = bind(&path);
                    end.wait();
                    if bound.expect("bound, or in use").is_some() {
                        owners.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(owners.into_inner(), 1, "round {round}");
        assert!(!path.exists(), "it went with its owner");
    }
    std::fs::remove_dir_all(directory).expect("it is ours");
}

/// One VMM after the other, each a process: most remove their sockets, some die.
fn come_and_go(path: &Path, owned: &Path) -> Result<(), String> {
    let mut owned = OpenOptions::new()
        .append(true)
        .create(true)
        .open(owned)
        .map_err(|error| error.to_string())?;
    for _ in 0..ROUNDS {
        let Some(socket) = bind(path)? else {
            thread::yield_now();
            continue;
        };
        let ours = inode(path).ok_or("it is not there")?;
        for _ in 0..3 {
            check(path, ours)?;
            thread::yield_now();
        }
        owned.write_all(b"1").map_err(|error| error.to_string())?;
        drop(socket);
    }
    // The last that this process has, if it gets it, outlives it.
    forget(bind(path)?);
    Ok(())
}

#[test]
fn whoever_has_the_name_keeps_it_until_the_end() {
    const LIVES: usize = 10;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = place("churning");
    let [path, owned] = ["socket", "owned"].map(|name| directory.join(name));
    thread::scope(|scope| {
        for _ in 0..RACERS {
            scope.spawn(|| {
                for _ in 0..LIVES {
                    assert_eq!(status_of(|| come_and_go(&path, &owned)), 0);
                }
            });
        }
    });
    let times = std::fs::metadata(&owned).expect("somebody had it").len();
    assert!(times > ROUNDS as u64, "{times} times only");
    std::fs::remove_dir_all(directory).expect("it is ours");
}
