// SPDX-License-Identifier: MIT OR Apache-2.0
//! What clients can ask for.

use crate::vm::{TestVm, NUMBER};
use hcall_abi::number::{BATCH, ECHO, RING_SETUP};
use hcall_abi::{Errno, HypercallNumber};
use hcall_vmm::extend::control::client::{Client, ClientError};
use hcall_vmm::extend::control::protocol::Command;
use hcall_vmm::extend::HandlerSource;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const ENOSYS: i64 = -(Errno::ENOSYS.get() as i64);

fn source(text: &str) -> HandlerSource {
    text.parse().expect("a source")
}

fn add(text: &str) -> Command {
    Command::Add {
        number: Some(NUMBER),
        source: source(text),
    }
}

fn replace(text: &str) -> Command {
    Command::Replace {
        number: NUMBER,
        source: source(text),
    }
}

const REMOVE: Command = Command::Remove { number: NUMBER };

#[test]
fn handlers_come_and_go_and_are_listed() {
    let vm = TestVm::new();
    assert_eq!(vm.call(NUMBER), ENOSYS);
    assert_eq!(vm.refusal(&REMOVE), "not-registered");
    assert_eq!(vm.refusal(&replace("value:1")), "not-registered");
    assert_eq!(vm.ask(&add("value:1"))["numbers"][0], NUMBER.get());
    assert_eq!(vm.call(NUMBER), 1);
    assert_eq!(vm.refusal(&add("value:2")), "duplicate");
    assert_eq!(vm.call(NUMBER), 1);
    vm.ask(&replace("errno:EBUSY"));
    assert_eq!(vm.call(NUMBER), -i64::from(Errno::EBUSY.get()));

    let list = vm.ask(&Command::List);
    let handlers = list["handlers"].as_array().expect("a list");
    let of = |number: HypercallNumber| {
        let mut found = handlers.iter();
        found
            .find(|handler| handler["number"] == number.get())
            .unwrap_or_else(|| panic!("{number} is not in {list}"))
    };
    assert_eq!(of(NUMBER)["source"], "errno:EBUSY");
    assert_eq!(of(NUMBER)["owner"], "source");
    assert_eq!(of(ECHO)["owner"], "core");
    assert_eq!(of(ECHO)["name"], "ECHO");

    vm.ask(&REMOVE);
    assert_eq!(vm.call(NUMBER), ENOSYS);
}

#[test]
fn a_handler_of_the_program_can_be_replaced_and_a_core_call_cannot() {
    let vm = TestVm::new();
    vm.host.hypercalls().register(NUMBER, |_| Ok(7)).unwrap();
    assert_eq!(vm.call(NUMBER), 7);
    vm.ask(&replace("value:8"));
    assert_eq!(vm.call(NUMBER), 8);
    // RING_SETUP has no handler here, and gets none.
    for number in [ECHO, BATCH, RING_SETUP] {
        let source = source("value:1");
        let add = Command::Add {
            number: Some(number),
            source: source.clone(),
        };
        assert!(["core-call", "duplicate"].contains(&vm.refusal(&add).as_str()));
        let remove = Command::Remove { number };
        assert_eq!(vm.refusal(&remove), "core-call");
        if number != RING_SETUP {
            let replace = Command::Replace { number, source };
            assert_eq!(vm.refusal(&replace), "core-call");
        }
    }
}

#[test]
fn the_vm_pauses_resumes_and_ends() {
    let vm = TestVm::new();
    assert_eq!(vm.ask(&Command::Pause)["state"], "paused");
    assert_eq!(vm.ask(&Command::Stats)["state"], "paused");
    assert_eq!(vm.ask(&Command::Resume)["state"], "running");
    assert_eq!(vm.ask(&Command::Stop)["state"], "ended");
    assert_eq!(vm.refusal(&Command::Pause), "not-paused");
    assert_eq!(vm.refusal(&Command::Resume), "not-resumed");
}

#[test]
fn statistics_are_those_of_each_number() {
    let vm = TestVm::new();
    for _ in 0..3 {
        assert_eq!(vm.call(ECHO), 0);
    }
    vm.call(NUMBER);
    let stats = vm.ask(&Command::Stats);
    assert_eq!(stats["calls"], 4);
    assert_eq!(stats["instruction"], 4);
    assert_eq!(stats["unknown"], 1);
    let numbers = stats["numbers"].as_array().expect("it watches");
    assert_eq!(numbers.len(), 1, "{stats}");
    assert_eq!(numbers[0]["name"], "ECHO");
    assert_eq!(numbers[0]["calls"], 3);
    assert!(numbers[0]["latency_ns"]["max"].as_u64() > Some(0));
}

#[test]
fn several_requests_in_one_connection_even_at_once() {
    let vm = TestVm::new();
    let mut client = vm.client();
    for _ in 0..100 {
        client.ask(&Command::List).expect("it is done");
    }
    let mut raw = vm.connect();
    let line = Command::Stats.to_line();
    raw.say(line.repeat(50).as_bytes());
    for _ in 0..50 {
        let answer = raw.hear().expect("an answer to each");
        assert_eq!(answer["result"]["state"], "running");
    }
}

/// A line may come a byte at a time.
#[test]
fn requests_come_in_pieces() {
    let vm = TestVm::new();
    let mut raw = vm.connect();
    for byte in Command::Pause.to_line().bytes() {
        raw.say(&[byte]);
    }
    assert_eq!(raw.hear().expect("an answer")["result"]["state"], "paused");
}

#[test]
fn calls_are_answered_by_the_old_or_the_new_handler_while_clients_swap_it() {
    let vm = TestVm::new();
    vm.ask(&add("value:1"));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let calls = scope.spawn(|| {
            let mut counts = [0_u64; 3];
            while !done.load(Ordering::Relaxed) {
                let place = match vm.call(NUMBER) {
                    1 => 0,
                    2 => 1,
                    ENOSYS => 2,
                    other => panic!("{other}"),
                };
                counts[place] += 1;
            }
            counts
        });
        let mut client = vm.client();
        for _ in 0..50 {
            for command in [replace("value:2"), REMOVE, add("value:1")] {
                client.ask(&command).expect("it is done");
                thread::yield_now();
            }
        }
        done.store(true, Ordering::Relaxed);
        let counts = calls.join().expect("no wrong answer");
        let stats = vm.ask(&Command::Stats);
        assert_eq!(stats["calls"], counts.iter().sum::<u64>());
        assert_eq!(stats["unknown"], counts[2]);
        assert_eq!(stats["numbers"][0]["calls"], counts[0] + counts[1]);
    });
}

#[test]
fn nobody_there_is_said() {
    let error = Client::connect(Path::new("/no/such/socket")).unwrap_err();
    assert!(error.to_string().contains("--control"), "{error}");
    let vm = TestVm::new();
    let nobody = vm.client().ask(&add("unix:/no/such/handler"));
    assert!(matches!(nobody, Err(ClientError::Open(_))), "{nobody:?}");
    let no_plugin = vm.client().ask(&add("plugin:/no/such/plugin"));
    assert!(matches!(no_plugin, Err(ClientError::Open(_))));
    // A file that is no plugin is the VM's to refuse.
    assert_eq!(vm.refusal(&add("plugin:/proc/self/exe")), "not-installed");
}
