// SPDX-License-Identifier: MIT OR Apache-2.0
//! As whom a hostile process makes its requests.

use crate::failure::{equal, Check};
use rustix::process::{Gid, Uid};
use rustix::thread::{
    capabilities, remove_capability_from_bounding_set, set_capabilities, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid, CapabilitySet,
};

/// nobody, nogroup.
const NOBODY: u32 = 65534;

/// Who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// Root, but for the right to end the machine.
    Root,
    /// Nobody, who has no right at all, and was given its files.
    Nobody,
}

/// Becomes that, for ever; of a process with one thread.
pub(super) fn drop_to(identity: Identity) -> Check {
    let reboot = CapabilitySet::SYS_BOOT;
    remove_capability_from_bounding_set(reboot)?;
    let mut held = capabilities(None)?;
    held.effective.remove(reboot);
    held.permitted.remove(reboot);
    held.inheritable.remove(reboot);
    set_capabilities(None, held)?;
    if identity == Identity::Nobody {
        let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        set_thread_groups(&[])?;
        set_thread_res_gid(group, group, group)?;
        set_thread_res_uid(user, user, user)?;
        equal(
            "what nobody may do",
            capabilities(None)?.permitted,
            CapabilitySet::empty(),
        )?;
    }
    equal(
        "may reboot",
        capabilities(None)?.effective.contains(reboot),
        false,
    )
}
