// SPDX-License-Identifier: MIT OR Apache-2.0
//! `docs/abi.md` against the crate, in both directions: every value in the document's
//! tables and test vectors is the crate's, and everything public in the crate that a
//! peer must know stands in the document.
//!
//! Values come from the crate by the compiler ([`constants`], [`structures`]); what exists
//! is read from its source ([`source`]), so that nothing new can be forgotten.

#[path = "specification/constants.rs"]
mod constants;
#[path = "specification/document.rs"]
mod document;
#[path = "specification/literal.rs"]
mod literal;
#[path = "specification/prose.rs"]
mod prose;
#[path = "specification/reference_host.rs"]
mod reference_host;
#[path = "specification/source.rs"]
mod source;
#[path = "specification/structures.rs"]
mod structures;
#[path = "specification/tables.rs"]
mod tables;
#[path = "specification/vectors.rs"]
mod vectors;
