// SPDX-License-Identifier: MIT OR Apache-2.0
//! The control socket of a host without KVM: what it does, and what hostile clients cannot.

#[allow(dead_code)] // Shared with tests that use other parts of it.
#[path = "../host/fake_vcpu.rs"]
mod fake_vcpu;

mod document;
mod hostile;
mod http;
mod requests;
mod vm;
