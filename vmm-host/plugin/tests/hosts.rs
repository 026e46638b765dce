// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a plugin in Rust asks of its host, also of one that is older than itself: then what the
//! host does not have is EOPNOTSUPP, and nothing beyond its table is read.

use hcall_plugin::abi::{
    HostFunctions, RawCall, RawDeferred, Registers, HOST_FUNCTIONS_FIRST_SIZE, PLUGIN_ABI_VERSION,
};
use hcall_plugin::{
    export, Call, Deferred, Errno, HypercallResult, InterruptVector, Segment, SpecialRegisters,
};
use std::cell::RefCell;
use std::ffi::{c_char, c_void};
use std::mem::size_of;
use std::ptr;
use std::sync::Mutex;
use std::thread;

thread_local! {
    /// What the host of this test's thread was asked, and its vCPU's registers.
    static INJECTED: RefCell<Vec<(u32, u8)>> = const { RefCell::new(Vec::new()) };
    static SPECIAL: RefCell<SpecialRegisters> = RefCell::default();
}

/// What plugins have answered, by what they were given: threads of all tests do.
static ANSWERS: Mutex<Vec<(usize, i64)>> = Mutex::new(Vec::new());

fn answers_to(deferred: usize) -> Vec<i64> {
    let answers = ANSWERS.lock().unwrap();
    let answers = answers.iter().filter(|(to, _)| *to == deferred);
    answers.map(|(_, answer)| *answer).collect()
}

unsafe extern "C" fn log(_: *const HostFunctions, _: u32, _: *const c_char, _: u64) {}
unsafe extern "C" fn number(_: *const RawCall) -> u32 {
    0x4843_8000
}
unsafe extern "C" fn arguments(call: *const RawCall, arguments: *mut u64) {
    // A call is a number here, and its first argument.
    // SAFETY: room for four.
    unsafe { arguments.write(call.addr() as u64) };
}
unsafe extern "C" fn vcpu(_: *const RawCall) -> i64 {
    5
}
unsafe extern "C" fn no_number(_: *const RawCall) -> i32 {
    -5
}
unsafe extern "C" fn no_read(_: *const RawCall, _: u64, _: *mut c_void, _: u64) -> i32 {
    -14
}
unsafe extern "C" fn no_write(_: *const RawCall, _: u64, _: *const c_void, _: u64) -> i32 {
    -14
}
unsafe extern "C" fn no_address(_: *const RawCall, _: u64, _: *mut u64) -> i32 {
    -14
}
unsafe extern "C" fn no_registers(_: *mut RawCall, _: *mut Registers) -> i32 {
    -95
}
unsafe extern "C" fn set_no_registers(_: *mut RawCall, _: *const Registers) -> i32 {
    -95
}
unsafe extern "C" fn request_exit(_: *mut RawCall, _: u8) {}
unsafe extern "C" fn request_panic(_: *mut RawCall, _: *const c_char, _: u64) {}
unsafe extern "C" fn special(_: *const RawCall, registers: *mut SpecialRegisters) -> i32 {
    // SAFETY: a place for them.
    SPECIAL.with_borrow(|special| unsafe { registers.write(*special) });
    0
}
unsafe extern "C" fn set_special(_: *mut RawCall, registers: *const SpecialRegisters) -> i32 {
    // SAFETY: they are there.
    SPECIAL.set(unsafe { *registers });
    0
}
unsafe extern "C" fn inject(_: *const RawCall, vcpu: u32, vector: u8) -> i32 {
    INJECTED.with_borrow_mut(|injected| injected.push((vcpu, vector)));
    0
}
unsafe extern "C" fn defer(call: *mut RawCall, deferred: *mut *mut RawDeferred) -> i32 {
    // SAFETY: a place for it.
    unsafe { deferred.write(ptr::without_provenance_mut(call.addr())) };
    0
}
unsafe extern "C" fn answer(
    _: *const HostFunctions,
    deferred: *mut RawDeferred,
    result: i64,
) -> i32 {
    ANSWERS.lock().unwrap().push((deferred.addr(), result));
    0
}
unsafe extern "C" fn is_awaited(_: *const HostFunctions, deferred: *const RawDeferred) -> i32 {
    i32::from(deferred.addr() % 2 == 0)
}

const HOST: HostFunctions = HostFunctions {
    abi_version: PLUGIN_ABI_VERSION,
    size: size_of::<HostFunctions>() as u32,
    host_data: ptr::null(),
    log,
    number,
    arguments,
    vcpu,
    cpl: no_number,
    mode: no_number,
    read: no_read,
    write: no_write,
    translate: no_address,
    read_virtual: no_read,
    write_virtual: no_write,
    registers: no_registers,
    set_registers: set_no_registers,
    request_exit,
    request_panic,
    special_registers: special,
    set_special_registers: set_special,
    inject_interrupt: inject,
    defer,
    answer,
    is_awaited,
};

const POINTERS: usize = HOST_FUNCTIONS_FIRST_SIZE / size_of::<*const ()>();

/// A host's table as it was in the beginning: no byte longer.
fn first_host() -> Box<[*const (); POINTERS]> {
    let full = HostFunctions {
        size: HOST_FUNCTIONS_FIRST_SIZE as u32,
        ..HOST
    };
    let mut first = Box::new([ptr::null::<()>(); POINTERS]);
    let bytes = first.as_mut_ptr().cast::<u8>();
    // SAFETY: both have as many bytes, of which the second begins with the two numbers.
    unsafe { ptr::copy_nonoverlapping((&raw const full).cast(), bytes, HOST_FUNCTIONS_FIRST_SIZE) };
    first
}

/// Has `handler` answer call `call` of `host`.
fn run(
    host: *const HostFunctions,
    call: usize,
    handler: impl FnOnce(&mut Call<'_>) -> HypercallResult,
) -> i64 {
    let mut state = ptr::null_mut();
    // SAFETY: a host's table, and a place for the state, which is then given back once.
    unsafe {
        assert_eq!(export::create(host, &mut state, |_| Ok(())), 0);
        let call = ptr::without_provenance_mut(call);
        let answer = export::answer(state, host, call, |(): &(), call| handler(call));
        export::destroy::<()>(state);
        answer
    }
}

#[test]
fn an_older_host_is_asked_for_what_it_has() {
    let table = first_host();
    let host = table.as_ptr().cast();
    let answer = run(host, 2, |call| {
        let refused = Errno::EOPNOTSUPP;
        let vector = InterruptVector::LOWEST;
        assert_eq!(call.special_registers(), Err(refused));
        let registers = SpecialRegisters::default();
        assert_eq!(call.set_special_registers(&registers), Err(refused));
        assert_eq!(call.inject_interrupt(0, vector), Err(refused));
        assert_eq!(call.defer().map(drop), Err(refused));
        assert_eq!((call.vcpu_id(), call.arg::<0>()), (Some(5), 2));
        Ok(7)
    });
    assert_eq!(answer, 7);
}

#[test]
fn a_host_that_is_shorter_than_any_is_refused() {
    for (version, size, due) in [
        (1, HOST_FUNCTIONS_FIRST_SIZE as u32 - 1, -71),
        (2, HOST.size, -71),
        (1, HOST.size + 8, 0),
    ] {
        let host = HostFunctions {
            abi_version: version,
            size,
            ..HOST
        };
        let mut state = ptr::null_mut();
        // SAFETY: a table, and a place for the state, which is then given back.
        unsafe {
            assert_eq!(export::create(&host, &mut state, |_| Ok(())), due);
            if due == 0 {
                export::destroy::<()>(state);
            }
        }
    }
}

#[test]
fn what_is_deferred_is_answered_once() {
    let mut kept = None;
    assert_eq!(run(&HOST, 100, |call| defer_to(call, &mut kept)), 0);
    let later = kept.take().expect("it deferred");
    assert!(later.is_awaited() && answers_to(100).is_empty());
    thread::spawn(move || later.answer(Ok(3))).join().unwrap();
    assert_eq!(answers_to(100), [3]);

    run(&HOST, 101, |call| defer_to(call, &mut kept));
    let later = kept.take().expect("it deferred");
    assert!(!later.is_awaited());
    later.answer(Err(Errno::EPERM));
    assert_eq!(answers_to(101), [-1]);

    // Dropped, by a panic as well.
    run(&HOST, 102, |call| defer_to(call, &mut kept));
    drop(kept.take());
    assert_eq!(answers_to(102), [-5]);
    run(&HOST, 103, |call| {
        let _later = call.defer()?;
        panic!("after it has deferred")
    });
    assert_eq!(answers_to(103), [-5]);
}

fn defer_to(call: &mut Call<'_>, kept: &mut Option<Deferred>) -> HypercallResult {
    *kept = Some(call.defer()?);
    Ok(0)
}

#[test]
fn special_registers_and_interrupts_are_passed_on() {
    let mut registers = SpecialRegisters {
        cr3: 0x1000,
        ..Default::default()
    };
    registers.cs = Segment {
        selector: 0x10,
        l: 1,
        ..Default::default()
    };
    let answer = run(&HOST, 200, |call| {
        call.set_special_registers(&registers)?;
        assert_eq!(call.special_registers(), Ok(registers));
        let vector = InterruptVector::new(0x51).ok_or(Errno::EINVAL)?;
        call.inject_interrupt(3, vector)?;
        Ok(1)
    });
    assert_eq!(answer, 1);
    assert_eq!(SPECIAL.take(), registers);
    assert_eq!(INJECTED.take(), [(3, 0x51)]);
}
