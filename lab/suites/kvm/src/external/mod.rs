// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handlers that are processes: swapped under a guest's calls, killed in the midst of one, and
//! given to `hcall-vmm`.

mod command;
mod killed;
mod process;
mod swapped;

use hcall_abi::{Transport, TransportSet};
use hcall_ktap::{CaseResult, Suite, Verdict};
use std::path::PathBuf;

/// What the cases need.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// Directory of the handlers' programs.
    pub(crate) handlers: PathBuf,
    /// Directory of the unikernels.
    pub(crate) guests: PathBuf,
    /// The command hcall-vmm.
    pub(crate) vmm: Option<PathBuf>,
}

pub(crate) fn add_cases<'a>(
    suite: Suite<'a>,
    setting: &Setting,
    working: TransportSet,
) -> Suite<'a> {
    let transport = working.iter().next();
    let with_transport = |case: fn(&Setting, Transport) -> CaseResult| {
        let setting = setting.clone();
        move || match transport {
            Some(transport) => case(&setting, transport),
            None => Ok(Verdict::Skip("no transport works on this machine".into())),
        }
    };
    suite
        .case(
            format!(
                "a handler's process is added, replaced and removed during {} calls",
                swapped::CALLS
            ),
            with_transport(swapped::run_case),
        )
        .case(
            "a handler's process does not answer, and is killed: the guest has errors in time",
            with_transport(killed::run_case),
        )
        .case(
            "hcall-vmm --handler: a process answers a guest",
            with_transport(command::answer_a_guest),
        )
        .case(
            "hcall-vmm --handler: what is no handler is refused",
            with_transport(command::refuse_what_is_none),
        )
}
