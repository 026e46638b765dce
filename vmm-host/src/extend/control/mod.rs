// SPDX-License-Identifier: MIT OR Apache-2.0
//! The control socket: handlers, statistics, and the VM itself, from another process while
//! the VM runs. `docs/control.md` has the protocol.
//!
//! One thread serves everybody: it never waits for a client, and what a client can make it
//! keep is bounded. What it opens and connects is nothing; a client passes what it has opened
//! itself, so that a VMM that is confined can still be given handlers.
//!
//! | module | is for |
//! |---|---|
//! | `socket` | the socket's file, from its beginning to its end |
//! | `server` | the thread: who may connect, whose turn it is |
//! | `connection` | bytes from and to one client, within limits |
//! | `http` | the same socket for `GET /metrics` |
//! | [`protocol`] | requests and answers |
//! | `service` | what is done for a request |
//! | `received` | descriptors that a client passed, looked at |
//! | `metrics` | the text for Prometheus |
//! | [`client`] | the other end |

pub mod client;
mod connection;
mod http;
mod metrics;
pub mod protocol;
mod received;
mod server;
mod service;
mod socket;

#[cfg(feature = "_fuzzing")]
pub(crate) mod doors {
    //! What a connection gives to the service, for `fuzzing`.

    use super::{http, protocol, ControlService};

    pub(crate) fn answer(service: &ControlService, line: &[u8]) -> String {
        service.answer(line, Vec::new())
    }

    pub(crate) fn answer_http(service: &ControlService, head: &[u8]) -> Vec<u8> {
        http::answer(head, || service.metrics())
    }

    pub(crate) fn is_success(answer: &[u8]) -> Option<bool> {
        protocol::parse_answer(answer).map(|outcome| outcome.is_ok())
    }
}

pub use server::ControlServer;
pub use service::{ControlService, Machine, MachineState};
pub use socket::{BindError, ControlSocket};
