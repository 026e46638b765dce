// SPDX-License-Identifier: MIT OR Apache-2.0
//! The control socket's requests: lines of anything, and what they do to the handlers.

use crate::input::Input;
use crate::machine;
use crate::vcpu::FuzzVcpu;
use hcall_abi::number::{CORE_CALLS, CORE_FIRST, CORE_LAST, RING_SETUP, RING_TEARDOWN};
use hcall_abi::{encode_result, Errno, HypercallNumber, Transport, TransportSet};
use hcall_vmm::extend::control::protocol::Command;
use hcall_vmm::extend::control::{ControlService, Machine, MachineState};
use hcall_vmm::extend::HandlerSource;
use hcall_vmm::fuzzing::{answer_control_http, answer_control_line, is_control_success};
use hcall_vmm::HypercallHost;
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;
use vm_memory::{GuestAddress, GuestMemoryMmap};

/// Most requests of an input.
const REQUESTS: usize = 16;

static CONTROLLED: LazyLock<Mutex<Controlled>> = LazyLock::new(|| Mutex::new(Controlled::new()));

/// Lines, or a request by HTTP.
pub fn control(data: &[u8]) {
    let mut input = Input::new(data);
    let controlled = CONTROLLED.lock().unwrap_or_else(PoisonError::into_inner);
    if input.u8() % 2 == 0 {
        controlled.obey(input.rest());
    } else {
        controlled.answer_http(input.rest());
    }
}

struct Controlled {
    host: Arc<HypercallHost>,
    service: ControlService,
}

/// Handlers that were added, by what they answer.
type Added = BTreeMap<HypercallNumber, i64>;

impl Controlled {
    fn new() -> Self {
        let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 4096)])
            .expect("a page can be mapped");
        let offered = TransportSet::EMPTY.with(Transport::Instruction);
        let host = HypercallHost::without_kvm(memory, offered).with_core_calls(machine::services());
        machine::register(&host);
        let host = Arc::new(host);
        Self {
            service: ControlService::new(Arc::clone(&host), Switch::default()),
            host,
        }
    }

    fn obey(&self, text: &[u8]) {
        let mut added = Added::new();
        for line in text.split(|byte| *byte == b'\n').take(REQUESTS) {
            let answer = answer_control_line(&self.service, line);
            assert!(answer.ends_with('\n') && answer.matches('\n').count() == 1);
            let done = is_control_success(answer.as_bytes()).expect("every line is answered");
            match Command::from_line(line) {
                Ok(command) => {
                    assert_eq!(
                        Command::from_line(command.to_line().as_bytes()),
                        Ok(command.clone())
                    );
                    self.check(&command, done, &mut added);
                }
                Err(error) => assert!(!done && !error.to_string().is_empty()),
            }
        }
        for number in added.keys() {
            assert_eq!(self.host.hypercalls().remove(*number), Ok(()));
        }
    }

    /// What was said to be done is done, and what was refused is not.
    fn check(&self, command: &Command, done: bool, added: &mut Added) {
        match command {
            Command::Add {
                number: Some(number),
                source,
            } => {
                let expected = answer_of(source).filter(|_| !is_core(*number) && !is_own(*number));
                let is_new = !added.contains_key(number);
                assert_eq!(done, expected.is_some() && is_new);
                if let (true, Some(answer)) = (is_new, expected) {
                    added.insert(*number, answer);
                }
                self.check_call(*number, added);
            }
            Command::Replace { number, source } => {
                if done {
                    let answer = answer_of(source).expect("without a descriptor");
                    // One of the program's own may be replaced; it is put back.
                    if added.insert(*number, answer).is_none() {
                        self.check_call(*number, added);
                        added.remove(number);
                        self.restore(*number);
                    }
                }
                self.check_call(*number, added);
            }
            Command::Remove { number } => {
                if done && added.remove(number).is_none() {
                    self.restore(*number);
                }
                self.check_call(*number, added);
            }
            _ => {}
        }
    }

    /// Puts a handler of the program's back.
    fn restore(&self, number: HypercallNumber) {
        assert!(is_own(number), "a core call was taken: {number}");
        let table = self.host.hypercalls();
        // Perhaps replaced, perhaps removed.
        let _ = table.remove(number);
        let done = table.register(number, |call| Ok(call.arg::<0>()));
        assert_eq!(done, Ok(()));
    }

    fn check_call(&self, number: HypercallNumber, added: &Added) {
        if is_core(number) || is_own(number) && !added.contains_key(&number) {
            let is_there = self.host.hypercalls().contains(number);
            let is_named = CORE_CALLS.iter().any(|(core, _)| *core == number);
            return assert!(is_there || is_core(number) && !is_named || is_ring_call(number));
        }
        let mut vcpu = FuzzVcpu::new();
        vcpu.trap(number.get().into(), [0; 4]);
        let _ = self.host.dispatch(&mut vcpu, 0, Transport::Instruction);
        let unknown = encode_result(Err(Errno::ENOSYS));
        assert_eq!(
            vcpu.answer(),
            added.get(&number).copied().unwrap_or(unknown)
        );
    }

    fn answer_http(&self, head: &[u8]) {
        let answer = answer_control_http(&self.service, head);
        let answer = String::from_utf8(answer).expect("answers are text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 "));
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
    }
}

/// The numbers that `machine::register` has handlers for.
const OWN: [u32; 5] = [
    machine::SUM.get(),
    machine::COPY.get(),
    machine::ASK.get(),
    machine::OPEN.get(),
    machine::FOREIGN,
];

/// Whether the program has a handler for it from the beginning, of its own.
fn is_own(number: HypercallNumber) -> bool {
    OWN.contains(&number.get())
}

/// Whether nobody from outside has a say in it.
fn is_core(number: HypercallNumber) -> bool {
    (CORE_FIRST..=CORE_LAST).contains(&number.get())
}

/// Of those the host has none.
fn is_ring_call(number: HypercallNumber) -> bool {
    [RING_SETUP, RING_TEARDOWN].contains(&number)
}

/// What a handler from there answers; the others need a descriptor, and none comes.
fn answer_of(source: &HandlerSource) -> Option<i64> {
    match source {
        HandlerSource::Value(value) => Some(encode_result(Ok(*value))),
        HandlerSource::Error(errno) => Some(encode_result(Err(*errno))),
        _ => None,
    }
}

/// A machine that is nothing but its state.
#[derive(Default)]
struct Switch(Mutex<Option<MachineState>>);

impl Switch {
    fn set(&self, state: MachineState) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
    }
}

impl Machine for Switch {
    fn pause(&self, _: Duration) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.set(MachineState::Paused);
        Ok(())
    }

    fn resume(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.set(MachineState::Running);
        Ok(())
    }

    fn stop(&self) {
        self.set(MachineState::Ended);
    }

    fn state(&self) -> MachineState {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.unwrap_or(MachineState::Running)
    }
}
