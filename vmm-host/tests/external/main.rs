// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handlers over a Unix socket, without KVM: calls are put together by hand, and the handler is
//! a thread that says what the test wants, in the protocol's bytes.

mod answering;
mod batches;
mod breaking;
mod document;
#[path = "../host/fake_vcpu.rs"]
#[allow(dead_code, reason = "the other tests of the library need more of it")]
mod fake_vcpu;
mod greeting;
mod peer;
mod timing;
mod vectors;
mod warning;
