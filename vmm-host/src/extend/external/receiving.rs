// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread that receives a handler's answers, gives up on those that do not come, and sends
//! what could not be sent at once. Asleep while there is nothing of that to do.
//!
//! It opens nothing: `poll`, `recv`, `send` and `shutdown` on the socket, `read` on an eventfd.

use super::connection::{Breach, Connection, Next};
use super::incoming::{Incoming, Received};
use crate::confinement::{Confinement, ThreadRole};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno as SystemError;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Starts the thread; it ends with the connection.
pub(super) fn start(
    connection: Arc<Connection>,
    incoming: Incoming,
    confinement: Confinement,
) -> std::io::Result<()> {
    let name = format!("call-{:x}", connection.number.get());
    thread::Builder::new().name(name).spawn(move || {
        let ending = Ending(&connection);
        let received = match confinement.enter(ThreadRole::ExternalHandler) {
            Ok(()) => receive(&connection, incoming),
            Err(_) => Err(Breach::Unconfined),
        };
        if let Err(breach) = received {
            connection.break_off(breach);
        }
        std::mem::forget(ending);
    })?;
    Ok(())
}

/// Whatever becomes of the thread, nobody waits for it in vain.
struct Ending<'connection>(&'connection Connection);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.break_off(Breach::Panicked);
    }
}

fn receive(connection: &Connection, mut incoming: Incoming) -> Result<(), Breach> {
    loop {
        read_frames(connection, &mut incoming)?;
        let Next::Sleep { until, sends } = connection.next() else {
            return Ok(());
        };
        let happened = sleep(connection, until, sends)?;
        if happened.room {
            connection.flush()?;
        }
        if happened.bytes && incoming.receive(&connection.socket)? == Received::Closed {
            return Err(Breach::Closed);
        }
    }
}

fn read_frames(connection: &Connection, incoming: &mut Incoming) -> Result<(), Breach> {
    while let Some(frame) = incoming.next()? {
        connection.accept(&frame)?;
    }
    Ok(())
}

/// What ended a sleep.
#[derive(Default)]
struct Happened {
    /// There is something to receive, or the end of it.
    bytes: bool,
    /// There is room to send.
    room: bool,
}

fn sleep(
    connection: &Connection,
    until: Option<Instant>,
    sends: bool,
) -> Result<Happened, SystemError> {
    let wanted = match sends {
        true => PollFlags::IN | PollFlags::OUT,
        false => PollFlags::IN,
    };
    let mut descriptors = [
        PollFd::new(&connection.socket, wanted),
        PollFd::new(&connection.bell, PollFlags::IN),
    ];
    match poll(&mut descriptors, until.map(time_to).as_ref()) {
        Ok(_) => {}
        Err(SystemError::INTR) => return Ok(Happened::default()),
        Err(error) => return Err(error),
    }
    let [socket, bell] = descriptors.map(|descriptor| descriptor.revents());
    if !bell.is_empty() {
        connection.bell.silence();
    }
    // An error or a hang-up is found by receiving.
    let others = PollFlags::all().difference(PollFlags::OUT);
    Ok(Happened {
        bytes: socket.intersects(others),
        room: socket.contains(PollFlags::OUT),
    })
}

/// How long it is until `moment`.
pub(super) fn time_to(moment: Instant) -> Timespec {
    let left: Duration = moment.saturating_duration_since(Instant::now());
    Timespec {
        tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    }
}
