// SPDX-License-Identifier: MIT OR Apache-2.0
//! Confined threads, each in a process of its own: what is refused, and what is not. None of
//! it needs KVM; the lab tries the same from the handlers of a running VM.

mod attempts;
mod child;
mod lacking;
mod living;
mod older;
mod pretend;
mod refusals;
