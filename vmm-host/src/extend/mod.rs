// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handlers that come from outside of the program that runs the VM.
