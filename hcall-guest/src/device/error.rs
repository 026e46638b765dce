// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can go wrong between a process and the host, and who said so.

use hcall_abi::allow_list::RangeError;
use hcall_abi::convention::ARGUMENT_COUNT;
use hcall_abi::ioctl::{BATCH_MAX, BUFFER_MAX};
use hcall_abi::ring::RingStatus;
use hcall_abi::{CallError, Errno, HypercallNumber};
use std::path::PathBuf;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The device could not be opened.
    #[error("cannot open {}: {errno}{}", path.display(), open_hint(*errno))]
    Open {
        /// What was to be opened.
        path: PathBuf,
        /// Why it was not.
        errno: Errno,
    },
    /// The file is something else than the device of an hcall module of this version.
    #[error("{} is not an hcall device of this ABI version", path.display())]
    NotHcall {
        /// What was opened.
        path: PathBuf,
    },
    /// More arguments than a call can carry, those of a buffer included.
    #[error("{0} arguments were given, a hypercall carries at most {ARGUMENT_COUNT}")]
    TooManyArguments(usize),
    /// A buffer longer than one call can carry.
    #[error("a buffer of {0} bytes was given, one call carries at most {BUFFER_MAX}")]
    BufferTooLong(usize),
    /// The module's policy refused the call; it was not made.
    #[error(
        "the hcall module refused call {0}: a process may not make it \
         (calls that pass guest memory go by way of a buffer, those that end the VM need \
         CAP_SYS_BOOT)"
    )]
    Refused(HypercallNumber),
    /// The module's policy, or the restriction of the open file, refused a call of a batch;
    /// none was made.
    #[error(
        "the hcall module refused the batch: a process may not make one of its calls, \
         and none was made"
    )]
    BatchRefused,
    /// More calls than one batch of a process can have.
    #[error("a batch of {0} calls was given, one carries at most {BATCH_MAX}")]
    BatchTooLong(usize),
    /// Ranges that are no restriction.
    #[error(transparent)]
    Ranges(#[from] RangeError),
    /// The restriction would allow a number that has been given up before.
    #[error(
        "the hcall module refused the restriction: it names numbers that this open file may \
         not call any more"
    )]
    Widening,
    /// The processor refused the instruction that should have reached the host.
    #[error(
        "the call did not reach the host: the processor refused the trap \
         (has the VM moved to another host?)"
    )]
    Transport,
    /// The request to the module failed otherwise.
    #[error("the hcall module failed the request {request}: {errno}")]
    Request {
        /// Name of the ioctl.
        request: &'static str,
        /// Why it failed.
        errno: Errno,
    },
    /// No ring of this host can have so many entries.
    #[error("a ring of {entries} entries: give it a power of two, at most {limit}{}", no_rings(*limit))]
    RingEntries {
        /// The entries wanted.
        entries: u32,
        /// The most that the host allows.
        limit: u32,
    },
    /// No answer can come through the ring: every call submitted has been answered.
    #[error("no call is outstanding in the ring; submit one before waiting for its answer")]
    NothingOutstanding,
    /// The host serves the ring no more; what was outstanding is not answered.
    #[error("the host serves the ring no more: {0:?}")]
    RingEnded(RingStatus),
    /// The call was made, and the host's answer is no success.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The call was made, and what the host wrote makes no sense.
    #[error("the host answered {call} with {problem}")]
    Nonsense {
        /// The core call.
        call: &'static str,
        /// What is wrong with the answer.
        problem: &'static str,
    },
}

impl DeviceError {
    /// The errno of the host's answer, if it gave one. Failures on this side of the host
    /// have none here, so that the two are never confused.
    pub const fn errno(&self) -> Option<Errno> {
        match self {
            Self::Call(error) => error.errno(),
            _ => None,
        }
    }
}

fn open_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::ENOENT => " (is the module hcall loaded?)",
        Errno::EACCES => " (only root may open it)",
        Errno::ENXIO | Errno::ENODEV => " (the node is there but the module hcall is not)",
        _ => "",
    }
}

fn no_rings(limit: u32) -> &'static str {
    match limit {
        0 => " (this host offers no rings)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_errors_say_what_to_do() {
        let open = |errno| DeviceError::Open {
            path: "/dev/hcall".into(),
            errno,
        };
        assert_eq!(
            open(Errno::ENOENT).to_string(),
            "cannot open /dev/hcall: ENOENT: no such object (is the module hcall loaded?)"
        );
        assert!(open(Errno::EACCES)
            .to_string()
            .ends_with("(only root may open it)"));
    }

    #[test]
    fn ring_errors_say_what_is_possible() {
        let entries = |entries, limit| DeviceError::RingEntries { entries, limit }.to_string();
        assert_eq!(
            entries(48, 1024),
            "a ring of 48 entries: give it a power of two, at most 1024"
        );
        assert!(entries(64, 0).ends_with("(this host offers no rings)"));
        assert_eq!(
            DeviceError::RingEnded(RingStatus::Broken(1)).to_string(),
            "the host serves the ring no more: Broken(1)"
        );
    }

    #[test]
    fn only_the_hosts_errno_is_an_errno() {
        let request = DeviceError::Request {
            request: "CALL",
            errno: Errno::EFAULT,
        };
        assert_eq!(request.errno(), None);
        assert_eq!(DeviceError::Call(CallError::NotHcall).errno(), None);
        assert_eq!(
            DeviceError::from(CallError::Errno(Errno::ENOSYS)).errno(),
            Some(Errno::ENOSYS)
        );
    }
}
