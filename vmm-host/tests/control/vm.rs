// SPDX-License-Identifier: MIT OR Apache-2.0
//! A "VM" with a control socket: a host that watches, and a machine that notes what it is
//! asked.

use crate::fake_vcpu::{self, FakeVcpu};
use hcall_abi::{HypercallNumber, Transport};
use hcall_vmm::core_calls::CoreServices;
use hcall_vmm::extend::control::client::{Client, ClientError};
use hcall_vmm::extend::control::protocol::Command;
use hcall_vmm::extend::control::{
    ControlServer, ControlService, ControlSocket, Machine, MachineState,
};
use hcall_vmm::{Disposition, HypercallHost};
use serde_json::Value;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Nothing that a test waits for takes as long.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Number of the tests' handlers.
pub(crate) const NUMBER: HypercallNumber = HypercallNumber::user(0x42);

#[derive(Clone, Debug)]
pub(crate) struct FakeMachine(Arc<Mutex<MachineState>>);

impl Machine for FakeMachine {
    fn pause(&self, _: Duration) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.go(MachineState::Paused)
    }

    fn resume(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.go(MachineState::Running)
    }

    fn stop(&self) {
        *self.0.lock().unwrap() = MachineState::Ended;
    }

    fn state(&self) -> MachineState {
        *self.0.lock().unwrap()
    }
}

impl FakeMachine {
    fn go(&self, next: MachineState) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut state = self.0.lock().unwrap();
        if *state == MachineState::Ended {
            return Err("it has ended".into());
        }
        *state = next;
        Ok(())
    }
}

pub(crate) struct TestVm {
    pub(crate) host: Arc<HypercallHost>,
    pub(crate) path: PathBuf,
    _server: ControlServer,
}

impl TestVm {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hcall-control-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let (host, _) = fake_vcpu::host();
        let host = host.with_watching().with_core_calls(CoreServices {
            console: Box::new(std::io::sink()),
            tsc_khz: None,
            memory_bytes: 0,
            vcpu_count: 1,
        });
        let host = Arc::new(host);
        let machine = FakeMachine(Arc::new(Mutex::new(MachineState::Running)));
        let service = ControlService::new(Arc::clone(&host), machine);
        let socket = ControlSocket::bind(&path).expect("the name is free");
        let server = ControlServer::start(socket, service, || true).expect("a thread starts");
        Self {
            host,
            path,
            _server: server,
        }
    }

    /// Makes a call by the instruction.
    pub(crate) fn call(&self, number: HypercallNumber) -> i64 {
        let mut vcpu = FakeVcpu::new();
        vcpu.trap(number.get().into(), [0; 4]);
        let disposition = self.host.dispatch(&mut vcpu, 0, Transport::Instruction);
        assert_eq!(disposition, Disposition::Resume);
        vcpu.answer()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.path).expect("the VM listens")
    }

    pub(crate) fn ask(&self, command: &Command) -> Value {
        self.client().ask(command).expect("it is done")
    }

    /// The word for why `command` is refused.
    pub(crate) fn refusal(&self, command: &Command) -> String {
        match self.client().ask(command) {
            Err(ClientError::Refused(refusal)) => refusal.code,
            other => panic!("{other:?}"),
        }
    }

    /// A connection that says what no client of ours would.
    pub(crate) fn connect(&self) -> Raw {
        let stream = UnixStream::connect(&self.path).expect("the VM listens");
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        Raw(BufReader::new(stream))
    }

    /// The VM answers whoever asks now.
    #[track_caller]
    pub(crate) fn assert_alive(&self) {
        let result = self.ask(&Command::Stats);
        assert_eq!(result["state"], "running");
    }
}

/// A connection, byte by byte.
pub(crate) struct Raw(pub(crate) BufReader<UnixStream>);

impl Raw {
    pub(crate) fn stream(&self) -> &UnixStream {
        self.0.get_ref()
    }

    pub(crate) fn say(&self, bytes: &[u8]) {
        self.stream().write_all(bytes).expect("the VM reads");
    }

    /// The next answer; `None` at the end of the connection.
    pub(crate) fn hear(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).expect("an answer is JSON")),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no answer and no end: {error}"),
        }
    }

    /// The word of the next answer, which refuses.
    pub(crate) fn hear_refusal(&mut self) -> String {
        let answer = self.hear().expect("an answer");
        assert_eq!(answer["version"], 1, "{answer}");
        answer["error"]["code"].as_str().expect("a code").to_owned()
    }
}
