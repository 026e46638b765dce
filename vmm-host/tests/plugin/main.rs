// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handlers in shared objects, which the machine's C compiler and cargo make here.

mod behaviour;
mod building;
mod context;
mod deferred;
mod documentation;
#[path = "../host/fake_vcpu.rs"]
#[allow(dead_code)]
mod fake_vcpu;
mod older;
mod refused;
mod rust;
mod unloading;
