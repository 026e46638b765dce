// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is different in a 32-bit unikernel: how it begins, and its exceptions.

pub(super) mod boot;
mod exception;
