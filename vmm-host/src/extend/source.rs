// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a handler comes from: named as text, then opened, then installed.
//!
//! Three steps, because different programs take them: whoever starts the VM or speaks to
//! its control socket names and opens the source with his own rights; the VM's process,
//! which may be confined, installs what it was handed.

use hcall_abi::result::MAX_PAYLOAD;
use hcall_abi::Errno;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a handler comes from.
///
/// # Examples
///
/// ```
/// use hcall_vmm::extend::HandlerSource;
/// use hcall_vmm::Errno;
/// assert_eq!("value:0x2a".parse(), Ok(HandlerSource::Value(42)));
/// assert_eq!("errno:EBUSY".parse(), Ok(HandlerSource::Error(Errno::EBUSY)));
/// let process: HandlerSource = "unix:/run/greeter".parse().unwrap();
/// assert_eq!(process.to_string(), "unix:/run/greeter");
/// assert!("greeter".parse::<HandlerSource>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HandlerSource {
    /// `unix:PATH`: a process that listens on a Unix socket.
    Unix(PathBuf),
    /// `plugin:PATH`: a shared object.
    Plugin(PathBuf),
    /// `value:N`: this answer to every call.
    Value(u64),
    /// `errno:N`, `errno:NAME`: this failure of every call.
    Error(Errno),
}

/// Why a text names no source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceSyntaxError {
    /// It begins with none of the kinds.
    #[error("'{0}' names no handler: give unix:PATH, plugin:PATH, value:N or errno:N")]
    Kind(String),
    /// A path is missing.
    #[error("'{0}' has no path after the colon")]
    NoPath(String),
    /// Not a payload.
    #[error("'{0}' is no answer: give a number below 2^63, decimal or with 0x")]
    Value(String),
    /// Not an errno.
    #[error("'{0}' is no errno: give a name such as EBUSY, or a number from 1 to 4095")]
    Errno(String),
}

/// Why a source cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Nobody answers at a socket.
    #[error("cannot connect to {path}; is the handler's process running?")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A plugin's file.
    #[error("cannot open the plugin {path}")]
    Plugin {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl HandlerSource {
    /// Connects or opens, with the rights of whoever calls.
    ///
    /// # Errors
    ///
    /// [`OpenError`]
    pub fn open(&self) -> Result<OpenedSource, OpenError> {
        match self {
            Self::Unix(path) => match UnixStream::connect(path) {
                Ok(stream) => Ok(OpenedSource::Socket(stream)),
                Err(source) => Err(OpenError::Connect {
                    path: path.clone(),
                    source,
                }),
            },
            Self::Plugin(path) => match open_at_once(path) {
                Ok(file) => Ok(OpenedSource::Plugin {
                    file,
                    name: file_name(path),
                }),
                Err(source) => Err(OpenError::Plugin {
                    path: path.clone(),
                    source,
                }),
            },
            Self::Value(value) => Ok(OpenedSource::Value(*value)),
            Self::Error(errno) => Ok(OpenedSource::Error(*errno)),
        }
    }
}

/// Opens a file to read, without waiting for anybody if it is a FIFO.
fn open_at_once(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
}

/// What messages call a file.
fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// A source that has been opened, and needs no right any more to be installed.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenedSource {
    /// Connected to a handler's process.
    Socket(UnixStream),
    /// A shared object.
    Plugin {
        /// It.
        file: File,
        /// What messages call it.
        name: String,
    },
    /// The answer to every call.
    Value(u64),
    /// The failure of every call.
    Error(Errno),
}

impl FromStr for HandlerSource {
    type Err = SourceSyntaxError;

    fn from_str(text: &str) -> Result<Self, SourceSyntaxError> {
        let (kind, rest) = text
            .split_once(':')
            .ok_or_else(|| SourceSyntaxError::Kind(text.into()))?;
        let path = || match rest {
            "" => Err(SourceSyntaxError::NoPath(text.into())),
            path => Ok(PathBuf::from(path)),
        };
        match kind {
            "unix" => path().map(Self::Unix),
            "plugin" => path().map(Self::Plugin),
            "value" => match parse_number(rest) {
                Some(value) if value <= MAX_PAYLOAD => Ok(Self::Value(value)),
                _ => Err(SourceSyntaxError::Value(rest.into())),
            },
            "errno" => parse_errno(rest)
                .map(Self::Error)
                .ok_or_else(|| SourceSyntaxError::Errno(rest.into())),
            _ => Err(SourceSyntaxError::Kind(text.into())),
        }
    }
}

impl fmt::Display for HandlerSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Self::Plugin(path) => write!(formatter, "plugin:{}", path.display()),
            Self::Value(value) => write!(formatter, "value:{value}"),
            Self::Error(errno) => match errno.name() {
                Some(name) => write!(formatter, "errno:{name}"),
                None => write!(formatter, "errno:{}", errno.get()),
            },
        }
    }
}

/// A number as people write them: decimal, or hexadecimal with `0x`.
pub(crate) fn parse_number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    // `from_str_radix` would take a sign.
    if !digits.starts_with(|first: char| first.is_digit(radix)) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

/// An errno by its number or by its name.
fn parse_errno(text: &str) -> Option<Errno> {
    let named = || {
        (1..=Errno::MAX)
            .filter_map(Errno::new)
            .find(|errno| errno.name() == Some(text))
    };
    match parse_number(text) {
        Some(number) => Errno::new(u16::try_from(number).ok()?),
        None => named(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_go_there_and_back() {
        for text in [
            "unix:/run/greeter",
            "unix:relative:with:colons",
            "plugin:./greet.so",
            "value:0",
            "value:9223372036854775807",
            "errno:EBUSY",
            "errno:4095",
        ] {
            let source: HandlerSource = text.parse().unwrap();
            assert_eq!(source.to_string(), text);
        }
        assert_eq!("value:0x10".parse(), Ok(HandlerSource::Value(16)));
        assert_eq!("errno:38".parse(), Ok(HandlerSource::Error(Errno::ENOSYS)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("", "unix:PATH"),
            ("greeter", "unix:PATH"),
            ("pigeon:home", "pigeon:home"),
            ("unix:", "no path"),
            ("plugin:", "no path"),
            ("value:", "2^63"),
            ("value:+1", "2^63"),
            ("value:-1", "2^63"),
            ("value:0x", "2^63"),
            ("value:0x+1", "2^63"),
            ("value:9223372036854775808", "2^63"),
            ("errno:0", "1 to 4095"),
            ("errno:4096", "1 to 4095"),
            ("errno:EPIGEON", "'EPIGEON'"),
        ] {
            let error = text.parse::<HandlerSource>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_not_there_cannot_be_opened() {
        for (text, part) in [
            ("unix:/no/such/socket", "/no/such/socket"),
            ("plugin:/no/such/file", "/no/such/file"),
        ] {
            let source: HandlerSource = text.parse().unwrap();
            let error = source.open().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
