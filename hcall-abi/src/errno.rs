// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The Linux errno values (x86) that a result may carry, by name.
//!
//! Listed here rather than taken from `libc`, so that a guest without any operating
//! system speaks the same values as a Linux process.

/// A Linux errno value, 1 to [`Errno::MAX`].
///
/// # Examples
///
/// ```
/// use hcall_abi::Errno;
/// assert_eq!(Errno::EINVAL.get(), 22);
/// assert_eq!(Errno::new(38).unwrap().name(), Some("ENOSYS"));
/// assert_eq!(Errno::new(0), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Errno(u16);

impl Errno {
    /// The largest errno a result can carry (`MAX_ERRNO` in `include/linux/err.h`).
    pub const MAX: u16 = 4095;

    /// The errno `value`, or `None` if it is 0 or above [`Errno::MAX`].
    pub const fn new(value: u16) -> Option<Self> {
        if value == 0 || value > Self::MAX {
            return None;
        }
        Some(Self(value))
    }

    /// The positive value, as in `errno.h`.
    pub const fn get(self) -> u16 {
        self.0
    }
}

macro_rules! errno_values {
    ($($name:ident = $value:literal, $meaning:literal;)+) => {
        impl Errno {
            $(
                #[doc = $meaning]
                pub const $name: Self = Self($value);
            )+

            /// The symbolic name, if the value is one that Linux uses on x86.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)+
                    _ => None,
                }
            }

            /// What the value means, in a few words.
            pub const fn meaning(self) -> &'static str {
                match self.0 {
                    $($value => $meaning,)+
                    _ => "unknown error",
                }
            }
        }
    };
}

errno_values! {
    EPERM = 1, "operation not permitted";
    ENOENT = 2, "no such object";
    ESRCH = 3, "no such process";
    EINTR = 4, "interrupted";
    EIO = 5, "input/output error";
    ENXIO = 6, "no such device or address";
    E2BIG = 7, "argument list too long";
    ENOEXEC = 8, "bad executable format";
    EBADF = 9, "bad file descriptor";
    ECHILD = 10, "no child process";
    EAGAIN = 11, "try again";
    ENOMEM = 12, "out of memory";
    EACCES = 13, "access denied";
    EFAULT = 14, "bad address";
    ENOTBLK = 15, "block device required";
    EBUSY = 16, "busy";
    EEXIST = 17, "already exists";
    EXDEV = 18, "cross-device link";
    ENODEV = 19, "no such device";
    ENOTDIR = 20, "not a directory";
    EISDIR = 21, "is a directory";
    EINVAL = 22, "invalid argument";
    ENFILE = 23, "too many open files in the system";
    EMFILE = 24, "too many open files";
    ENOTTY = 25, "no such request for this device";
    ETXTBSY = 26, "text file busy";
    EFBIG = 27, "file too large";
    ENOSPC = 28, "no space left";
    ESPIPE = 29, "illegal seek";
    EROFS = 30, "read-only file system";
    EMLINK = 31, "too many links";
    EPIPE = 32, "broken pipe";
    EDOM = 33, "argument out of domain";
    ERANGE = 34, "result not representable";
    EDEADLK = 35, "would deadlock";
    ENAMETOOLONG = 36, "name too long";
    ENOLCK = 37, "no locks available";
    ENOSYS = 38, "not implemented";
    ENOTEMPTY = 39, "not empty";
    ELOOP = 40, "too many symbolic links";
    ENOMSG = 42, "no message of the desired type";
    EIDRM = 43, "identifier removed";
    ENODATA = 61, "no data available";
    ETIME = 62, "timer expired";
    EPROTO = 71, "protocol error";
    EBADMSG = 74, "bad message";
    EOVERFLOW = 75, "value too large";
    EILSEQ = 84, "illegal byte sequence";
    EUSERS = 87, "too many users";
    EMSGSIZE = 90, "message too long";
    EPROTONOSUPPORT = 93, "protocol not supported";
    EOPNOTSUPP = 95, "operation not supported";
    EADDRINUSE = 98, "address in use";
    EADDRNOTAVAIL = 99, "address not available";
    ENETDOWN = 100, "network is down";
    ECONNABORTED = 103, "connection aborted";
    ECONNRESET = 104, "connection reset";
    ENOBUFS = 105, "no buffer space available";
    EISCONN = 106, "already connected";
    ENOTCONN = 107, "not connected";
    ETIMEDOUT = 110, "timed out";
    ECONNREFUSED = 111, "connection refused";
    EHOSTDOWN = 112, "host is down";
    EALREADY = 114, "already in progress";
    EINPROGRESS = 115, "in progress";
    ESTALE = 116, "stale handle";
    EDQUOT = 122, "quota exceeded";
    ECANCELED = 125, "cancelled";
    EKEYREJECTED = 129, "key rejected";
    EOWNERDEAD = 130, "owner died";
    ENOTRECOVERABLE = 131, "state not recoverable";
}

impl core::fmt::Debug for Errno {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.name() {
            Some(name) => write!(formatter, "{name}"),
            None => write!(formatter, "Errno({})", self.0),
        }
    }
}

impl core::fmt::Display for Errno {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.name() {
            Some(name) => write!(formatter, "{name}: {}", self.meaning()),
            None => write!(formatter, "errno {}", self.0),
        }
    }
}

impl core::error::Error for Errno {}
