// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! Tests of what can be judged without a process and without a call. A kernel that has
//! KUnit runs them whenever the module is loaded, whatever its parameters; stock kernels
//! have none, and nothing of this is compiled for them.

mod buffers;
mod policy;
mod refused_trap;
mod restriction;
mod rings;
mod user;
