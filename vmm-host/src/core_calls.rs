// SPDX-License-Identifier: MIT OR Apache-2.0
//! The core calls PROBE … PANIC; [`batch`](crate::batch) has BATCH.
//!
//! Every buffer is (GPA, length), at most [`BUFFER_LIMIT`] long, checked whole before
//! the first byte of it is touched.

use crate::host::{HypercallHost, BUFFER_LIMIT};
use crate::hypercall::{Hypercall, HypercallResult, Mode};
use crate::stats::Counters;
use crate::table::Handler;
use hcall_abi::cpuid::NO_TRANSPORT;
use hcall_abi::layout::{Clock, GuestInfo, TimeValue};
use hcall_abi::ring::NO_VCPU;
use hcall_abi::version::PROBE_RESULT;
use hcall_abi::{number, Errno, Gpa, HypercallNumber, Transport, ABI_VERSION};
use rustix::rand::{getrandom, GetRandomFlags};
use std::fmt;
use std::io::{ErrorKind, Write};
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

    add(host, number::PROBE, |call| {
        Ok(match call.mode()? {
            Mode::Bits64 => PROBE_RESULT,
            // The magic has no room there.
            Mode::Bits32 => ABI_VERSION.get().into(),
        })
    });
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
    host.hypercalls().register_batch().expect(ONCE);
}

const ONCE: &str = "core calls are registered once, when the host is built";

fn add(host: &HypercallHost, number: HypercallNumber, handler: impl Handler) {
    host.hypercalls()
        .register_core(number, handler)
        .expect(ONCE);
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

/// The buffer's chunks, one after the other: GPA and length.
fn chunks(gpa: Gpa, length: usize) -> impl Iterator<Item = (Gpa, usize)> {
    (0..length).step_by(CHUNK).map(move |offset| {
        (
            Gpa::new(gpa.get() + offset as u64),
            CHUNK.min(length - offset),
        )
    })
}

/// Writes as much of `bytes` as the buffer in arguments 0 and 1 holds.
fn answer_with(call: &Hypercall<'_>, bytes: &[u8]) -> HypercallResult {
    let (gpa, length) = buffer(call)?;
    let bytes = &bytes[..bytes.len().min(length)];
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
    let mut written = 0;
    for (gpa, length) in chunks(gpa, length) {
        let bytes = &mut chunk[..length];
        call.memory().read(gpa, bytes)?;
        let taken = write_some(console.as_mut(), bytes);
        written += taken;
        if taken < length {
            break;
        }
    }
    if written == 0 && length > 0 {
        return Err(Errno::EIO);
    }
    // What a failing flush loses is gone already; the next write says so.
    let _ = console.flush();
    Ok(written as u64)
}

/// Writes `bytes` until the sink fails; returns how many it took.
fn write_some(sink: &mut dyn Write, bytes: &[u8]) -> usize {
    let mut taken = 0;
    while taken < bytes.len() {
        match sink.write(&bytes[taken..]) {
            Ok(0) => break,
            Ok(more) => taken += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    taken
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
        vcpu: call.vcpu_id().unwrap_or(NO_VCPU),
        transport: call.transport().map_or(NO_TRANSPORT, Transport::raw),
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
    for (gpa, length) in chunks(gpa, length) {
        let bytes = &mut chunk[..length];
        fill_randomly(bytes)?;
        call.memory().write(gpa, bytes)?;
    }
    Ok(length as u64)
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
    call.request_panic(visible(&String::from_utf8_lossy(&message)));
    Ok(0)
}

/// The text with its control characters made visible, so that a guest cannot drive the
/// terminal of whoever reads it; lines and tabs stay.
fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && !matches!(character, '\n' | '\t') {
            visible.extend(character.escape_default());
        } else {
            visible.push(character);
        }
    }
    visible
}
