// SPDX-License-Identifier: MIT OR Apache-2.0
//! The socket's file: made for its owner alone, in the place of one that a dead VMM left, and
//! removed at the end.
//!
//! Whether a socket's VMM is dead can only be asked, and another VMM may take the name between
//! the question and what is done upon the answer. So who binds holds a lock on the directory
//! until he listens: whoever asks next is answered. The owner removes the file while he listens
//! still, when nobody else does. The kernel gives the lock back with the process, and nothing is
//! left beside the socket.

use rustix::fs::{chmod, flock, lstat, open, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    bind, connect, listen, socket_with, AddressFamily, SocketAddrUnix, SocketFlags, SocketType,
};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Connections that the kernel keeps until the server takes them.
const BACKLOG: i32 = 16;

/// How long another program may hold the directory's lock: a VMM does for some system calls.
const LOCK_LIMIT: Duration = Duration::from_secs(5);
const LOCK_INTERVAL: Duration = Duration::from_millis(2);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another VMM listens there.
    #[error("{0} is another VM's control socket, in use; give this VM another path")]
    InUse(PathBuf),
    /// Something else has the name.
    #[error("{0} is there and no socket; give another path, or remove it")]
    NoSocket(PathBuf),
    /// Nobody can bind there safely.
    #[error("the directory of {0} is locked by another program; end that, or give another path")]
    Locked(PathBuf),
    /// A name that no socket can have.
    #[error("{0} is no name for a socket: it has at most 108 bytes, none of them zero")]
    Name(PathBuf),
    /// Anything else.
    #[error("cannot make the control socket {path}")]
    System {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A control socket that listens, and has no server yet. Its file is removed when it, or the
/// server that took it, is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    // First: it is removed while the socket listens still.
    file: SocketFile,
    pub(super) listener: OwnedFd,
}

impl ControlSocket {
    /// Makes the socket `path`, readable and writable by its owner only.
    ///
    /// # Errors
    ///
    /// [`BindError`]
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let address = SocketAddrUnix::new(path).map_err(|_| BindError::Name(path.to_path_buf()))?;
        let system = |source: Errno| BindError::System {
            path: path.into(),
            source: source.into(),
        };
        let _lock = DirectoryLock::of(path)?;
        let listener = stream_socket().map_err(system)?;
        match bind(&listener, &address) {
            Err(Errno::ADDRINUSE) => {
                make_way(path, &address)?;
                bind(&listener, &address).map_err(|error| match error {
                    Errno::ADDRINUSE => BindError::InUse(path.into()),
                    error => system(error),
                })?;
            }
            bound => bound.map_err(system)?,
        }
        // The peer's user is looked at besides, so that nobody gets in before this is done.
        chmod(path, Mode::RUSR | Mode::WUSR).map_err(system)?;
        let file = SocketFile::of(path).map_err(system)?;
        listen(&listener, BACKLOG).map_err(system)?;
        Ok(Self { file, listener })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// The directory that it is in: who removes the socket must have that right there.
    pub fn directory(&self) -> &Path {
        directory_of(self.path())
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The lock on the directory of a socket that is being bound.
struct DirectoryLock(OwnedFd);

impl DirectoryLock {
    fn of(path: &Path) -> Result<Self, BindError> {
        let system = |source: Errno| BindError::System {
            path: path.into(),
            source: source.into(),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(directory_of(path), flags, Mode::empty()).map_err(system)?;
        let start = Instant::now();
        loop {
            match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self(directory)),
                Err(Errno::WOULDBLOCK) if start.elapsed() < LOCK_LIMIT => {
                    thread::sleep(LOCK_INTERVAL);
                }
                Err(Errno::WOULDBLOCK) => return Err(BindError::Locked(path.into())),
                Err(Errno::INTR) => {}
                Err(error) => return Err(system(error)),
            }
        }
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Said, not only closed: a process that was started meanwhile may have the descriptor.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Removes what a dead VMM has left at `path`; to be called with the directory locked.
fn make_way(path: &Path, address: &SocketAddrUnix) -> Result<(), BindError> {
    let system = |source: Errno| BindError::System {
        path: path.into(),
        source: source.into(),
    };
    let metadata = match lstat(path) {
        // Its owner has ended just now.
        Err(Errno::NOENT) => return Ok(()),
        metadata => metadata.map_err(system)?,
    };
    if FileType::from_raw_mode(metadata.st_mode) != FileType::Socket {
        return Err(BindError::NoSocket(path.into()));
    }
    let probe = stream_socket().map_err(system)?;
    match connect(&probe, address) {
        // Nobody listens, and nobody can begin to: the name is all that is left, if that.
        Err(Errno::CONNREFUSED | Errno::NOENT) => {}
        Ok(()) | Err(Errno::AGAIN) => return Err(BindError::InUse(path.into())),
        Err(error) => return Err(system(error)),
    }
    match rustix::fs::unlink(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(system(error)),
    }
}

fn stream_socket() -> Result<OwnedFd, Errno> {
    socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
}

/// The name in the file system, as long as it is ours.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn of(path: &Path) -> Result<Self, Errno> {
        let metadata = lstat(path)?;
        Ok(Self {
            path: path.into(),
            device: metadata.st_dev,
            inode: metadata.st_ino,
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = lstat(&self.path)
            .is_ok_and(|metadata| (metadata.st_dev, metadata.st_ino) == (self.device, self.inode));
        if is_ours {
            if let Err(error) = rustix::fs::unlink(&self.path) {
                // The next VMM that wants the name takes it all the same.
                tracing::debug!(path = %self.path.display(), %error, "the control socket stays");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    fn place(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("hcall-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    #[test]
    fn it_is_its_owners_and_goes_with_it() {
        let path = place("own");
        let socket = ControlSocket::bind(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        UnixStream::connect(&path).expect("it listens");
        assert!(matches!(
            ControlSocket::bind(&path),
            Err(BindError::InUse(_))
        ));
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_dead_vmm_left_is_replaced_and_nothing_else() {
        let path = place("stale");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a listener leaves its file");
        let socket = ControlSocket::bind(&path).unwrap();
        // Somebody takes the name away: his file is not removed.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "mine").unwrap();
        drop(socket);
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
        assert!(matches!(
            ControlSocket::bind(&path),
            Err(BindError::NoSocket(_))
        ));
        std::fs::remove_file(&path).unwrap();
        // A link is its owner's, wherever it leads.
        let elsewhere = place("elsewhere");
        drop(UnixListener::bind(&elsewhere).unwrap());
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(matches!(
            ControlSocket::bind(&path),
            Err(BindError::NoSocket(_))
        ));
        assert!(path.is_symlink() && elsewhere.exists());
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(&elsewhere).unwrap();
    }

    #[test]
    fn a_directory_that_stays_locked_is_said() {
        let directory = place("locked");
        std::fs::create_dir(&directory).unwrap();
        let path = directory.join("socket");
        let held = DirectoryLock::of(&path).unwrap();
        let start = Instant::now();
        assert!(matches!(
            ControlSocket::bind(&path),
            Err(BindError::Locked(_))
        ));
        assert!(start.elapsed() >= LOCK_LIMIT);
        drop(held);
        drop(ControlSocket::bind(&path).unwrap());
        std::fs::remove_dir(&directory).unwrap();
    }

    #[test]
    fn names_that_cannot_be() {
        let long = "x".repeat(109);
        assert!(matches!(
            ControlSocket::bind(Path::new(&long)),
            Err(BindError::Name(_))
        ));
        assert!(matches!(
            ControlSocket::bind(Path::new("/no/such/directory/socket")),
            Err(BindError::System { .. })
        ));
    }
}
