// SPDX-License-Identifier: MIT OR Apache-2.0
//! The SDK's typed core calls.

use crate::failure::{equal, passes, Check, Failure};
use hcall_guest::abi::layout::Clock;
use hcall_guest::abi::{Transport, ABI_VERSION};
use hcall_guest::device::Device;
use hcall_guest::Errno;
use hcall_ktap::Suite;
use hcall_lab_contract::COUNT;
use std::io::{self, Write};
use std::time::Duration;

/// 2024-01-01T00:00:00Z: every machine's clock that works at all is past it.
const RECENT: Duration = Duration::from_secs(1_704_067_200);

pub(super) fn add(suite: Suite<'_>, transport: Transport) -> Suite<'_> {
    suite
        .case("probe", || passes(probe()))
        .case("echo", || passes(echo()))
        .case("random", || passes(random()))
        .case("time", || passes(time()))
        .case("tsc_khz", || passes(tsc_khz()))
        .case("guest_info", move || passes(guest_info(transport)))
        .case("stats", move || passes(stats(transport)))
        .case("console_write of more than a page", || {
            passes(console_write())
        })
}

fn probe() -> Check {
    equal("version", Device::open()?.probe()?, ABI_VERSION)
}

fn echo() -> Check {
    let device = Device::open()?;
    for value in [0, 1, 1 << 32, i64::MAX as u64] {
        equal("echo", device.echo(value)?, value)?;
    }
    for value in [1 << 63, u64::MAX] {
        let errno = device.echo(value).err().and_then(|error| error.errno());
        equal(format_args!("echo({value:#x})"), errno, Some(Errno::ERANGE))?;
    }
    Ok(())
}

fn random() -> Check {
    let device = Device::open()?;
    let mut bytes = [0; 3 * 4096 + 17];
    device.random(&mut bytes)?;
    // 16 zero bytes in a row have a probability of 2^-128.
    match bytes.windows(16).position(|window| window == [0; 16]) {
        Some(index) => Err(Failure::new(format!("16 zero bytes at {index}"))),
        None => Ok(()),
    }
}

fn time() -> Check {
    let device = Device::open()?;
    let realtime = device.time(Clock::Realtime)?;
    equal(
        format_args!("{realtime:?} is recent"),
        realtime > RECENT,
        true,
    )?;
    let mut last = device.time(Clock::Monotonic)?;
    let first = last;
    for _ in 0..100 {
        let now = device.time(Clock::Monotonic)?;
        equal("the monotonic clock goes back", now < last, false)?;
        last = now;
    }
    equal("the monotonic clock stands still", last == first, false)
}

fn tsc_khz() -> Check {
    let device = Device::open()?;
    match device.tsc_khz() {
        // 100 MHz to 10 GHz.
        Ok(khz) => equal(
            format_args!("{khz} kHz is plausible"),
            (100_000..10_000_000).contains(&khz),
            true,
        ),
        Err(error) => equal("errno", error.errno(), Some(Errno::ENODATA)),
    }
}

fn guest_info(transport: Transport) -> Check {
    let device = Device::open()?;
    let info = device.guest_info()?;
    equal("ABI version", info.abi_version, ABI_VERSION.get())?;
    equal("features", info.features, device.info().features)?;
    equal("transport", info.transport, transport.raw())?;
    let cpus = std::thread::available_parallelism()?.get();
    equal("vCPUs", info.vcpu_count as usize, cpus)?;
    equal(
        "the caller's vCPU is one of them",
        info.vcpu < info.vcpu_count,
        true,
    )?;
    let total = memory_total()?;
    equal(
        format_args!("memory {} holds Linux' {total}", info.memory_bytes),
        info.memory_bytes >= total,
        true,
    )
}

/// `MemTotal` of /proc/meminfo in bytes: what Linux manages, less than what there is.
fn memory_total() -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let kilobytes = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.strip_suffix("kB"))
        .ok_or_else(|| Failure::new("/proc/meminfo has no MemTotal"))?;
    Ok(kilobytes.trim().parse::<u64>()? * 1024)
}

fn stats(transport: Transport) -> Check {
    let device = Device::open()?;
    let count = device.hcall1(COUNT, transport.raw().into())?;
    let stats = device.stats()?;
    let by_transport = match transport {
        Transport::Instruction => stats.instruction,
        Transport::Carrier => stats.carrier,
        _ => stats.port,
    };
    equal("calls by the transport", by_transport, count + 1)?;
    equal("calls", stats.calls, count + 1)?;
    equal("handlers that panicked", stats.panicked, 0)?;
    equal("calls refused for their privilege", stats.refused, 0)?;
    equal(
        "unknown and failed calls were counted",
        stats.unknown > 0 && stats.failed > 0,
        true,
    )
}

fn console_write() -> Check {
    // The report's lines must have left the serial port before the host writes its own.
    io::stdout().flush()?;
    if rustix::termios::isatty(io::stdout()) {
        rustix::termios::tcdrain(io::stdout())?;
    }
    let line = format!("# written by hypercall {}\n", ".".repeat(54));
    let text = line.repeat(4096 / line.len() + 2);
    Device::open()?.console_write(text.as_bytes())?;
    Device::open()?.console_write(b"")?;
    Ok(())
}
