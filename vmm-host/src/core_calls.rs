// SPDX-License-Identifier: MIT OR Apache-2.0
//! The core calls PROBE … PANIC.
//!
//! Every buffer is (GPA, length), at most [`BUFFER_LIMIT`] long, checked whole before
//! the first byte of it is touched.

use crate::host::{HypercallHost, BUFFER_LIMIT};
use crate::hypercall::{Hypercall, HypercallResult};
use crate::stats::Counters;
use crate::table::Handler;
use hcall_abi::layout::{Clock, GuestInfo, TimeValue};
use hcall_abi::version::PROBE_RESULT;
use hcall_abi::{number, Errno, Gpa, HypercallNumber, ABI_VERSION};
use rustix::rand::{getrandom, GetRandomFlags};
use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Bytes of guest memory that are copied at a time.
const CHUNK: usize = 4096;

/// What the core calls need of the VMM.
pub struct CoreServices {
    /// Where `CONSOLE_WRITE` goes.
    pub console: Box<dyn Write + Send>,
    /// Frequency of the guest's time-stamp counter in kHz, if KVM says it.
    pub tsc_khz: Option<u32>,
    /// Bytes of guest memory.
    pub memory_bytes: u64,
    /// Number of vCPUs.
    pub vcpu_count: u32,
}

impl fmt::Debug for CoreServices {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CoreServices")
            .field("tsc_khz", &self.tsc_khz)
            .field("memory_bytes", &self.memory_bytes)
            .field("vcpu_count", &self.vcpu_count)
            .finish_non_exhaustive()
    }
}

/// Registers every core call in the empty core range of `host`.
pub(crate) fn register(host: &HypercallHost, services: CoreServices) {
    let features = host.advertisement().features.bits();
    let tsc_khz = services.tsc_khz;
    let info = GuestInfo {
        abi_version: ABI_VERSION.get(),
        features,
        vcpu: 0,
        vcpu_count: services.vcpu_count,
        memory_bytes: services.memory_bytes,
        tsc_khz: tsc_khz.unwrap_or(0),
        transport: 0,
    };
    let console = Mutex::new(services.console);
    let start = Instant::now();
    let counters = Arc::clone(host.counters());

    add(host, number::PROBE, |_| Ok(PROBE_RESULT));
    add(host, number::FEATURES, move |call| {
        feature_word(call, features)
    });
    add(host, number::ECHO, |call| Ok(call.arg::<0>()));
    add(host, number::CONSOLE_WRITE, move |call| {
        console_write(call, &console)
    });
    add(host, number::TIME, move |call| time(call, start));
    add(host, number::TSC_KHZ, move |_| {
        tsc_khz.map(u64::from).ok_or(Errno::ENODATA)
    });
    add(host, number::GUEST_INFO, move |call| {
        guest_info(call, &info)
    });
    add(host, number::STATS, move |call| stats(call, &counters));
    add(host, number::RANDOM, random);
    add(host, number::EXIT, exit);
    add(host, number::PANIC, panic);
}

fn add(host: &HypercallHost, number: HypercallNumber, handler: impl Handler) {
    host.hypercalls()
        .register(number, handler)
        .expect("core calls are registered once, when the host is built");
}

/// The (GPA, length) of arguments 0 and 1, within the limit and all guest memory.
fn buffer(call: &Hypercall<'_>) -> Result<(Gpa, usize), Errno> {
    let (gpa, length) = (Gpa::new(call.arg::<0>()), call.arg::<1>());
    if length > u64::from(BUFFER_LIMIT) {
        return Err(Errno::EMSGSIZE);
    }
    let length = length as usize;
    if !call.memory().contains(gpa, length) {
        return Err(Errno::EFAULT);
    }
    Ok((gpa, length))
}

/// Calls `each` with GPA and length of one chunk of the buffer after the other.
fn for_each_chunk(
    gpa: Gpa,
    length: usize,
    mut each: impl FnMut(Gpa, usize) -> Result<(), Errno>,
) -> HypercallResult {
    for offset in (0..length).step_by(CHUNK) {
        each(
            Gpa::new(gpa.get() + offset as u64),
            CHUNK.min(length - offset),
        )?;
    }
    Ok(length as u64)
}

/// Writes as much of `bytes` as the buffer in arguments 0 and 1 holds.
fn answer_with(call: &Hypercall<'_>, bytes: &[u8]) -> HypercallResult {
    let gpa = Gpa::new(call.arg::<0>());
    let room = usize::try_from(call.arg::<1>()).unwrap_or(usize::MAX);
    let bytes = &bytes[..bytes.len().min(room)];
    call.memory().write(gpa, bytes)?;
    Ok(bytes.len() as u64)
}

fn feature_word(call: &mut Hypercall<'_>, features: u32) -> HypercallResult {
    Ok(match call.arg::<0>() {
        0 => features.into(),
        _ => 0,
    })
}

fn console_write(
    call: &mut Hypercall<'_>,
    console: &Mutex<Box<dyn Write + Send>>,
) -> HypercallResult {
    let (gpa, length) = buffer(call)?;
    let mut console = console.lock().unwrap_or_else(PoisonError::into_inner);
    let mut chunk = [0; CHUNK];
    let written = for_each_chunk(gpa, length, |gpa, length| {
        let bytes = &mut chunk[..length];
        call.memory().read(gpa, bytes)?;
        console.write_all(bytes).map_err(|_| Errno::EIO)
    })?;
    console.flush().map_err(|_| Errno::EIO)?;
    Ok(written)
}

fn time(call: &mut Hypercall<'_>, start: Instant) -> HypercallResult {
    let since_epoch: Duration = match Clock::from_raw(call.arg::<0>()) {
        Some(Clock::Realtime) => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_err(|_| Errno::ERANGE)?,
        Some(Clock::Monotonic) => start.elapsed(),
        _ => return Err(Errno::EINVAL),
    };
    let value = TimeValue {
        seconds: since_epoch.as_secs(),
        nanoseconds: since_epoch.subsec_nanos(),
        reserved: 0,
    };
    call.memory()
        .write(Gpa::new(call.arg::<1>()), &value.to_bytes())?;
    Ok(0)
}

fn guest_info(call: &mut Hypercall<'_>, info: &GuestInfo) -> HypercallResult {
    let info = GuestInfo {
        vcpu: call.vcpu_id(),
        transport: call.transport().raw(),
        ..*info
    };
    answer_with(call, &info.to_bytes())
}

fn stats(call: &mut Hypercall<'_>, counters: &Counters) -> HypercallResult {
    answer_with(call, &counters.read().to_bytes())
}

fn random(call: &mut Hypercall<'_>) -> HypercallResult {
    let (gpa, length) = buffer(call)?;
    let mut chunk = [0; CHUNK];
    for_each_chunk(gpa, length, |gpa, length| {
        let bytes = &mut chunk[..length];
        fill_randomly(bytes)?;
        Ok(call.memory().write(gpa, bytes)?)
    })
}

/// Fills `bytes` from the host kernel's generator, without waiting for it to be seeded: a
/// vCPU that waited in a handler could not be stopped.
fn fill_randomly(mut bytes: &mut [u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match getrandom(&mut *bytes, GetRandomFlags::NONBLOCK) {
            Ok(filled) => bytes = &mut bytes[filled..],
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return Err(Errno::EAGAIN),
            Err(_) => return Err(Errno::EIO),
        }
    }
    Ok(())
}

fn exit(call: &mut Hypercall<'_>) -> HypercallResult {
    let code = u8::try_from(call.arg::<0>()).map_err(|_| Errno::EINVAL)?;
    call.request_exit(code);
    Ok(0)
}

fn panic(call: &mut Hypercall<'_>) -> HypercallResult {
    let (gpa, length) = buffer(call)?;
    let mut message = vec![0; length];
    call.memory().read(gpa, &mut message)?;
    call.request_panic(String::from_utf8_lossy(&message).into_owned());
    Ok(0)
}
