// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rings without KVM: the guest's half on one thread, the library's own service on another,
//! over real guest memory; doorbell and interrupt are eventfds.

mod allocations;
mod control;
mod entries;
#[cfg(feature = "extend")]
mod external;
#[path = "../host/fake_vcpu.rs"]
#[allow(dead_code, reason = "the other tests of the library need more of it")]
mod fake_vcpu;
mod hostile;
mod lifecycle;
mod machine;
#[cfg(feature = "extend")]
#[path = "../external/peer.rs"]
#[allow(dead_code, reason = "the other tests of handlers need more of it")]
mod peer;
mod stress;
