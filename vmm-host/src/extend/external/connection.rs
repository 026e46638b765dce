// SPDX-License-Identifier: MIT OR Apache-2.0
//! A connection to a handler's process, as the threads that make calls and the one that
//! receives answers share it.
//!
//! Nobody waits for the handler while he holds the lock, and nobody but the receiving thread
//! waits for the socket: what that does not take at once is sent by the receiving thread.

use super::bell::Bell;
use super::calls::{Answered, Calls, Pending, Places};
use super::outgoing::Queue;
use super::protocol::{
    begin_request, level_field, set_id, Frame, FrameKind, ProtocolError, Ranges, RequestHead,
    RANGES_MAX, UNKNOWN,
};
use super::reply::Reply;
use crate::hypercall::Hypercall;
use hcall_abi::{Errno, Gpa, HypercallNumber};
use rustix::io::Errno as SystemError;
use rustix::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Why a connection was broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Breach {
    #[error("it has closed the connection")]
    Closed,
    #[error("{0}")]
    System(#[from] SystemError),
    #[error("{0}")]
    Protocol(#[from] ProtocolError),
    #[error("it has answered {0}, which it was not asked or had answered already")]
    NotAsked(u64),
    #[error("the thread that receives its answers has panicked")]
    Panicked,
    #[error("the thread that receives its answers cannot be confined")]
    Unconfined,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Working,
    /// No more calls will come; those that have come are answered.
    Leaving,
    Broken,
}

struct State {
    calls: Calls,
    outgoing: Queue,
    condition: Condition,
    /// Until when the receiving thread sleeps if nothing happens; `None`: for ever. A call has
    /// to wake it only then, as any other end of its sleep is before the call's time is up.
    sleeps_until: Option<Instant>,
}

/// What the receiving thread is to do.
pub(super) enum Next {
    /// Sleep until something happens or, if there is one, this moment.
    Sleep {
        until: Option<Instant>,
        /// Whether room in the socket is something that happens.
        sends: bool,
    },
    End,
}

/// See the module.
pub(super) struct Connection {
    pub(super) number: HypercallNumber,
    pub(super) socket: UnixStream,
    pub(super) bell: Bell,
    /// Where the handler listens, as it is said when it is gone: the thread that says it may not
    /// ask any more.
    listens_at: String,
    ranges: Ranges,
    time_limit: Duration,
    state: Mutex<State>,
}

impl Connection {
    pub(super) fn new(
        number: HypercallNumber,
        socket: UnixStream,
        bell: Bell,
        ranges: Ranges,
        time_limit: Duration,
    ) -> Self {
        Self {
            number,
            listens_at: peer_name(&socket),
            socket,
            bell,
            ranges,
            time_limit,
            state: Mutex::new(State {
                calls: Calls::default(),
                outgoing: Queue::default(),
                condition: Condition::Working,
                sleeps_until: None,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request of `call`, its memory copied once, and where the answer is to go.
    pub(super) fn request(&self, call: &Hypercall<'_>) -> Result<(Vec<u8>, Places), Errno> {
        let arguments = call.args();
        let lengths = self.ranges.lengths(&arguments)?;
        let mut addresses = [Gpa::new(0); RANGES_MAX];
        for (index, range) in self.ranges.iter() {
            addresses[index] = Gpa::new(arguments[usize::from(range.address)]);
            if !call
                .memory()
                .contains(addresses[index], lengths[index] as usize)
            {
                return Err(Errno::EFAULT);
            }
        }
        let head = RequestHead {
            number: call.number().get(),
            vcpu: call.vcpu_id().unwrap_or(UNKNOWN),
            // Asking KVM for it would be a system call for each call.
            cpl: level_field(call.cpl),
            reserved: 0,
            arguments,
            lengths,
        };
        let inputs = self.ranges.inputs(&lengths);
        let bytes: u32 = inputs.iter().sum();
        let (mut frame, mut place) = begin_request(&head, bytes as usize);
        for (address, length) in addresses.iter().zip(inputs) {
            let end = place + length as usize;
            call.memory().read(*address, &mut frame[place..end])?;
            place = end;
        }
        let places = Places {
            memory: Arc::clone(&call.dispatcher.memory),
            addresses,
            most: self.ranges.outputs(&lengths),
        };
        Ok((frame, places))
    }

    /// Asks the handler; `reply` gets the answer, or an error when the time is up or the
    /// handler is gone. Does not wait.
    ///
    /// # Errors
    ///
    /// EIO if it is gone already.
    pub(super) fn ask(
        &self,
        mut frame: Vec<u8>,
        places: Places,
        reply: Reply,
    ) -> Result<(), Errno> {
        let mut state = self.lock();
        if state.condition == Condition::Broken {
            return Err(Errno::EIO);
        }
        let deadline = Instant::now() + self.time_limit;
        let id = state.calls.next_id();
        set_id(&mut frame, id);
        let pending = Pending {
            deadline,
            places,
            reply,
        };
        state.calls.add(id, pending);
        state.outgoing.push(id, frame);
        let sent = state.outgoing.flush(&self.socket);
        let must_ring = state.sleeps_until.is_none() || !state.outgoing.is_empty();
        state.sleeps_until.get_or_insert(deadline);
        drop(state);
        match sent {
            Ok(()) if must_ring => self.bell.ring(),
            Ok(()) => {}
            Err(error) => self.break_off(error.into()),
        }
        Ok(())
    }

    /// No more calls will come.
    pub(super) fn leave(&self) {
        let mut state = self.lock();
        if state.condition == Condition::Working {
            state.condition = Condition::Leaving;
            drop(state);
            self.bell.ring();
        }
    }

    /// The handler is gone, or is no handler: whoever waits for it is told, and so is whoever
    /// calls it from now on.
    pub(super) fn break_off(&self, breach: Breach) {
        let mut state = self.lock();
        if state.condition == Condition::Broken {
            return;
        }
        let was = std::mem::replace(&mut state.condition, Condition::Broken);
        state.outgoing.clear();
        let pending = state.calls.take_all();
        drop(state);
        if was == Condition::Working || !pending.is_empty() {
            tracing::warn!(
                number = %self.number,
                socket = self.listens_at,
                %breach,
                "a handler's process is gone: its calls are answered -EIO until `hcall-vmm ctl PATH \
                 replace {}=unix:SOCKET` puts another in its place",
                self.number
            );
        }
        // The process learns of it; the descriptor is closed when nobody has it any more.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
        self.bell.ring();
        for call in pending {
            call.reply.send(Err(Errno::EIO));
        }
    }

    /// Sends what the socket has room for.
    pub(super) fn flush(&self) -> Result<(), SystemError> {
        self.lock().outgoing.flush(&self.socket)
    }

    /// Gives an answer to whom it is for.
    pub(super) fn accept(&self, frame: &Frame<'_>) -> Result<(), Breach> {
        frame.expect(FrameKind::Answer)?;
        let answered = self.lock().calls.take(frame.id);
        match answered {
            Answered::Pending(call) => {
                if let Err((call, error)) = call.answer(frame.body) {
                    // First, so that who is told so finds the handler gone.
                    self.break_off(error.into());
                    call.reply.send(Err(Errno::EIO));
                }
                Ok(())
            }
            Answered::Late => Ok(()),
            Answered::Nothing => Err(Breach::NotAsked(frame.id)),
        }
    }

    /// Gives up the calls whose time is up, and says what to do next.
    pub(super) fn next(&self) -> Next {
        let now = Instant::now();
        while let Some(call) = self.take_expired(now) {
            call.reply.send(Err(Errno::ETIMEDOUT));
        }
        let mut state = self.lock();
        let ends = match state.condition {
            Condition::Working => false,
            Condition::Leaving => state.calls.is_empty(),
            Condition::Broken => true,
        };
        if ends {
            return Next::End;
        }
        let until = state.sleeps_until.filter(|until| *until > now);
        state.sleeps_until = state.calls.deadline().or(until);
        Next::Sleep {
            until: state.sleeps_until,
            sends: !state.outgoing.is_empty(),
        }
    }

    fn take_expired(&self, now: Instant) -> Option<Pending> {
        let mut state = self.lock();
        let State {
            calls, outgoing, ..
        } = &mut *state;
        calls.take_expired(now, |id| outgoing.withdraw(id))
    }
}

/// The name of the socket that the handler listens on, if it has one.
fn peer_name(socket: &UnixStream) -> String {
    let address = socket.peer_addr().ok();
    let path = address.as_ref().and_then(|address| address.as_pathname());
    path.map_or_else(
        || "without a name".to_owned(),
        |path| path.display().to_string(),
    )
}
