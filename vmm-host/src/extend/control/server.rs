// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread of the control socket: who may connect, and whose turn it is.

use super::connection::{Connection, Ending, Gone, Said};
use super::http;
use super::protocol::{answer_line, Refusal};
use super::service::ControlService;
use super::socket::ControlSocket;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{accept_with, SocketFlags};
use rustix::process::Uid;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use vmm_sys_util::eventfd::{EventFd, EFD_CLOEXEC};

/// Most clients at a time.
const CLIENTS: usize = 16;

/// How long a client is safe from having to make room for another one.
const GRACE: Duration = Duration::from_secs(1);

/// How long nobody is taken in when descriptors have run out.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// Serves a control socket until it is dropped.
#[derive(Debug)]
pub struct ControlServer {
    end: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
    /// Whose file is removed when the server is dropped.
    _socket: Arc<ControlSocket>,
}

impl ControlServer {
    /// Starts the thread that serves `socket`. It calls `prepare` before anything else, to
    /// confine itself, say, and does nothing if that returns false.
    ///
    /// # Errors
    ///
    /// That of the operating system.
    pub fn start(
        socket: ControlSocket,
        service: ControlService,
        prepare: impl FnOnce() -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let end = Arc::new(EventFd::new(EFD_CLOEXEC)?);
        let socket = Arc::new(socket);
        let server = Server {
            end: Arc::clone(&end),
            socket: Arc::clone(&socket),
            service,
            clients: Vec::new(),
            short_until: None,
            user: rustix::process::geteuid(),
        };
        let thread = Builder::new().name("control".into()).spawn(move || {
            if prepare() {
                server.run();
            }
        })?;
        Ok(Self {
            end,
            thread: Some(thread),
            _socket: socket,
        })
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        // It fails only where the counter is full, which ends the thread as well.
        let _ = self.end.write(1);
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            tracing::error!("the thread of the control socket panicked");
        }
    }
}

struct Server {
    end: Arc<EventFd>,
    socket: Arc<ControlSocket>,
    service: ControlService,
    clients: Vec<Connection>,
    /// Until when no client is taken in, for want of descriptors.
    short_until: Option<Instant>,
    /// Who may connect, besides root.
    user: Uid,
}

/// What can be done now.
struct Ready {
    end: bool,
    newcomers: bool,
    /// By the index of the client.
    clients: Vec<bool>,
}

impl Server {
    fn run(mut self) {
        loop {
            let ready = match self.wait() {
                Ok(ready) => ready,
                Err(Errno::INTR) => continue,
                Err(error) => {
                    tracing::error!(%error, "the control socket is out of order");
                    return;
                }
            };
            if ready.end {
                return;
            }
            self.serve(&ready.clients);
            if ready.newcomers {
                self.take_in();
            }
        }
    }

    fn wait(&self) -> Result<Ready, Errno> {
        let mut polled = vec![PollFd::from_borrowed_fd(
            borrow_event(&self.end),
            PollFlags::IN,
        )];
        let admits = self.admits();
        let wanted = match admits {
            true => PollFlags::IN,
            false => PollFlags::empty(),
        };
        polled.push(PollFd::new(&self.socket.listener, wanted));
        for client in &self.clients {
            let (socket, wanted) = client.interest();
            polled.push(PollFd::from_borrowed_fd(socket, wanted));
        }
        poll(&mut polled, self.patience().as_ref())?;
        let ready = |polled: &PollFd<'_>| !polled.revents().is_empty();
        Ok(Ready {
            end: ready(&polled[0]),
            newcomers: admits && ready(&polled[1]),
            clients: polled[2..].iter().map(ready).collect(),
        })
    }

    /// Whether there is room for another client, or one who can be asked to make it.
    fn admits(&self) -> bool {
        if self.short_until.is_some_and(|until| until > Instant::now()) {
            return false;
        }
        self.clients.len() < CLIENTS || self.dispensable().is_some()
    }

    /// The client that has been silent longest, if that is long.
    fn dispensable(&self) -> Option<usize> {
        let mut clients = (0..).zip(&self.clients);
        let first = clients.next()?;
        let (index, client) = clients.fold(first, |longest, next| {
            if next.1.last_seen < longest.1.last_seen {
                next
            } else {
                longest
            }
        });
        (client.last_seen.elapsed() >= GRACE).then_some(index)
    }

    /// How long to wait at most: until somebody's time is up, or there is room.
    fn patience(&self) -> Option<Timespec> {
        let full = self.clients.len() >= CLIENTS;
        let deadlines = self.clients.iter().filter_map(Connection::deadline);
        let room = self.clients.iter().map(|client| client.last_seen + GRACE);
        let room = room.min().filter(|_| full);
        let first = deadlines.chain(room).chain(self.short_until).min()?;
        let left = first.saturating_duration_since(Instant::now());
        // Rounded up, so that the time is up when the wait is over.
        let left = left + Duration::from_millis(1);
        Timespec::try_from(left).ok()
    }

    /// Everybody's turn, once.
    fn serve(&mut self, ready: &[bool]) {
        let now = Instant::now();
        let mut kept = Vec::new();
        for (mut client, ready) in self.clients.drain(..).zip(ready) {
            let served = match (ready, client.deadline()) {
                (true, _) => turn(&self.service, &mut client),
                (false, Some(deadline)) if deadline <= now => Err(Gone),
                (false, _) => Ok(()),
            };
            if served.is_ok() {
                kept.push(client);
            }
        }
        self.clients = kept;
    }

    fn take_in(&mut self) {
        self.short_until = None;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = match accept_with(&self.socket.listener, flags) {
            Ok(socket) => socket,
            // He has gone again.
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return,
            Err(error) => {
                tracing::warn!(%error, "cannot take in a client of the control socket");
                self.short_until = Some(Instant::now() + SHORTAGE_PAUSE);
                return;
            }
        };
        if self.clients.len() >= CLIENTS {
            match self.dispensable() {
                Some(silent) => drop(self.clients.swap_remove(silent)),
                None => return,
            }
        }
        self.clients.extend(welcome(socket, self.user));
    }
}

/// A client, if he may be one.
fn welcome(socket: OwnedFd, owner: Uid) -> Option<Connection> {
    let user = socket_peercred(&socket).ok()?.uid;
    let mut client = Connection::new(socket).ok()?;
    if user.is_root() || user == owner {
        return Some(client);
    }
    tracing::warn!(user = user.as_raw(), "refused at the control socket");
    let refusal = Refusal::new("user", "only the user who runs the VM, and root, may ask");
    let line = answer_line(Err(refusal)).into_bytes();
    client.answer(line, Ending::AfterAnswer).ok()?;
    Some(client)
}

/// A client's turn: some bytes, or one request.
fn turn(service: &ControlService, client: &mut Connection) -> Result<(), Gone> {
    let said = if client.is_answering() {
        client.send()?;
        if client.is_answering() {
            return Ok(());
        }
        client.next()
    } else {
        client.receive()?
    };
    reply(service, client, said)
}

fn reply(service: &ControlService, client: &mut Connection, said: Said) -> Result<(), Gone> {
    let mut said = said;
    loop {
        match said {
            Said::Nothing => return Ok(()),
            Said::Line(line, descriptors) => {
                let answer = service.answer(&line, descriptors).into_bytes();
                client.answer(answer, Ending::Open)?;
            }
            Said::Http(head) => {
                let answer = http::answer(&head, || service.metrics());
                client.answer(answer, Ending::AfterAnswer)?;
            }
            Said::TooMuch(message) => {
                let answer = answer_line(Err(Refusal::new("too-much", message)));
                client.answer(answer.into_bytes(), Ending::AfterAnswer)?;
            }
        }
        if client.is_answering() {
            return Ok(());
        }
        // More requests may have come with the first.
        said = client.next();
    }
}

/// The descriptor of an eventfd, for `poll`.
fn borrow_event(event: &EventFd) -> BorrowedFd<'_> {
    // SAFETY: the descriptor is open as long as `event` is borrowed.
    unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) }
}
