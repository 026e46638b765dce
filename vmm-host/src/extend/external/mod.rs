// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handlers that are processes of their own, over a Unix socket.
//!
//! The process listens, the VMM connects, and each call is a request on the connection. What
//! the process sees of the guest's memory are the ranges that it has asked for when the
//! connection was made, copied; what it writes are the ranges that it has said it writes. It
//! can be in any language ([`protocol`]), for another user, and crash: a call that it does not
//! answer in time answers −ETIMEDOUT, and all calls of a process that is gone −EIO.
//!
//! | file | what |
//! |---|---|
//! | [`protocol`] | the bytes |
//! | `greeting` | the beginning of a connection |
//! | `connection` | what threads that call and the one that receives share |
//! | `calls` | those that wait, and those that were given up |
//! | `outgoing`, `incoming` | bytes that the socket has not taken, or that are half a frame |
//! | `receiving`, `bell` | the thread that receives, and what wakes it |
//! | `reply` | how an answer gets to whoever called |
//! | [`serve`](fn@serve) | the other end, for handlers in Rust |

mod bell;
mod calls;
mod connection;
mod greeting;
mod incoming;
mod outgoing;
pub mod protocol;
mod receiving;
mod reply;
mod serve;

pub use serve::{serve, Said, ServeError};

use crate::confinement::Confinement;
use crate::hypercall::{Hypercall, HypercallResult};
use crate::table::Handler;
use bell::Bell;
use connection::Connection;
use hcall_abi::HypercallNumber;
use protocol::{Answer, ProtocolError};
use reply::{Reply, Waiter};
use std::fmt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// How long a call may take where nobody says otherwise.
pub const TIME_LIMIT: Duration = Duration::from_secs(1);

/// The longest that a call may take; who says more gets this.
pub const TIME_LIMIT_MAX: Duration = Duration::from_secs(60 * 60);

/// Why a process cannot be a handler.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExternalError {
    /// It has not greeted in time.
    #[error("the handler's process said nothing for {0:?}; is it a handler, and does it run?")]
    Silent(Duration),
    /// It has closed the connection in place of a greeting.
    #[error("the handler's process closed the connection; does it answer hypercall {0}?")]
    Closed(HypercallNumber),
    /// What it said was not a greeting of this version of the protocol.
    #[error("the handler's process does not speak the handler protocol as it should")]
    Protocol(#[from] ProtocolError),
    /// The kernel refused something.
    #[error("cannot {what}")]
    System {
        /// What was asked of it.
        what: &'static str,
        /// Why it was not done.
        source: std::io::Error,
    },
}

/// A handler that is another process.
///
/// Dropped, it closes the connection as soon as the calls that have begun are answered. In a
/// table, it is dropped when it has been removed or replaced and each vCPU has made another
/// call.
pub struct ExternalHandler {
    connection: Arc<Connection>,
}

impl ExternalHandler {
    /// Greets whoever is at the other end of `stream`, which is to answer the calls of
    /// `number`, each within `time_limit`; so must be the greeting.
    ///
    /// # Errors
    ///
    /// [`ExternalError`]
    pub fn new(
        stream: UnixStream,
        number: HypercallNumber,
        time_limit: Duration,
    ) -> Result<Self, ExternalError> {
        Self::start(stream, number, time_limit, Confinement::default())
    }

    /// As [`new`](Self::new), with a thread that is confined.
    pub(super) fn start(
        stream: UnixStream,
        number: HypercallNumber,
        time_limit: Duration,
        confinement: Confinement,
    ) -> Result<Self, ExternalError> {
        let time_limit = time_limit.min(TIME_LIMIT_MAX);
        let (ranges, mut incoming) = greeting::greet(&stream, number, time_limit)?;
        incoming.limit(Answer::body_bytes_max(&ranges));
        let bell = Bell::new().map_err(system("make an eventfd"))?;
        let connection = Connection::new(number, stream, bell, ranges, time_limit);
        let connection = Arc::new(connection);
        let receiving = receiving::start(Arc::clone(&connection), incoming, confinement);
        receiving.map_err(system("start a thread"))?;
        Ok(Self { connection })
    }

    /// Answers a call: of a vCPU by [deferring](Hypercall::defer) the answer, so that its
    /// thread can be stopped meanwhile; of a batch and of a ring by waiting for it.
    ///
    /// # Errors
    ///
    /// The handler's; EMSGSIZE for a range that is longer than the handler takes and EFAULT for
    /// one that is not all guest memory, before it is asked; ETIMEDOUT if it does not answer
    /// in time; EIO if it is gone, or has answered what makes no sense.
    pub fn call(&self, call: &mut Hypercall<'_>) -> HypercallResult {
        let (frame, places) = self.connection.request(call)?;
        if let Ok(deferred) = call.defer() {
            let reply = Reply::Deferred(deferred);
            self.connection.ask(frame, places, reply)?;
            // The guest gets the handler's answer.
            return Ok(0);
        }
        let (waiter, reply) = Waiter::new();
        self.connection.ask(frame, places, reply)?;
        waiter.wait()
    }

    /// As what the table of handlers takes.
    pub fn into_handler(self) -> impl Handler {
        move |call: &mut Hypercall<'_>| self.call(call)
    }
}

impl Drop for ExternalHandler {
    fn drop(&mut self) {
        self.connection.leave();
    }
}

impl fmt::Debug for ExternalHandler {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ExternalHandler")
            .field("number", &self.connection.number)
            .finish_non_exhaustive()
    }
}

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> ExternalError {
    move |source| ExternalError::System { what, source }
}
