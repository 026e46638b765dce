// SPDX-License-Identifier: MIT OR Apache-2.0
//! The library without KVM: what a guest could do is put together by hand.

mod batch;
mod carrier;
mod core_calls;
mod cpuid;
mod deferred;
mod dispatch;
mod fake_vcpu;
mod interrupts;
mod page_tables;
mod paging;
mod panics;
mod spans;
mod subscriber;
mod table;
mod virtual_memory;
#[cfg(feature = "watch")]
mod watching;
