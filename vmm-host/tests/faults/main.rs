// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall-vmm` with files that are not what they should be, and with limits that leave it no
//! room: one line says why, and nothing hangs. What takes a running guest is in the lab's
//! `kvm-suite`.

mod command;
mod files;
mod resources;
