// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! `hcall`: hypercalls for the processes of a guest, through `/dev/hcall`.
//!
//! Loads only where CPUID shows a host that speaks the ABI compiled in here; elsewhere
//! it fails with `ENODEV` and one line in the kernel log, and has executed nothing.

#[allow(dead_code, unreachable_pub)] // Shared with consumers that use other parts of it.
mod abi;
mod batch;
mod buffer;
mod calls;
mod device;
mod doorbell;
mod host;
mod in_kernel;
#[cfg(CONFIG_KUNIT = "y")]
mod kunit;
mod parameters;
mod policy;
mod port;
mod registration;
mod restriction;
mod ring;
mod ring_interrupt;
mod ring_memory;
mod ring_requests;
#[allow(dead_code, unreachable_pub)] // As `abi`.
mod sdk;
mod selftest;
mod statistics;
mod trace;
mod user;

use kernel::prelude::*;
use port::PortRegion;
use registration::Registration;
use ring_interrupt::RingInterrupt;
use statistics::Statistics;

module! {
    type: Hcall,
    name: "hcall",
    authors: ["The hcall developers"],
    description: "Hypercalls to the VMM through /dev/hcall",
    license: "GPL",
    params: {
        selftest: u32 {
            default: 0,
            description: "Hypercall to make at load time with arguments 1, 2, 3 (0: none)",
        },
        // 7.2 has no parameters of type `bool`.
        allow_raw_gpa: u8 {
            default: 0,
            description: "Let processes pass guest-physical addresses to core calls (1: yes)",
        },
        ring_irq: u32 {
            default: 5,
            description: "Global system interrupt by which hosts tell of answers in rings (0: none)",
        },
        statistics: u8 {
            default: 0,
            description: "Count calls from the start (1: yes)",
        },
    },
}

/// What lives as long as the module; the device goes first, then what it uses.
#[pin_data]
struct Hcall {
    #[pin]
    _device: Registration,
    _statistics: Statistics,
    _resources: Resources,
}

/// What the module has of the machine.
struct Resources {
    _ring_interrupt: Option<RingInterrupt>,
    _port: Option<PortRegion>,
}

impl kernel::InPlaceModule for Hcall {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _resources: start()?,
            _device <- Registration::register(module),
            _statistics: Statistics::begin(),
        })
    }
}

/// Everything before the device: find the host, make sure of it, say so.
fn start() -> Result<Resources> {
    policy::start()?;
    let found = host::detect()?;
    let port = PortRegion::request_for(&found)?;
    let host = host::attach(found)?;
    host::announce(host);
    selftest::run(host)?;
    Ok(Resources {
        _ring_interrupt: RingInterrupt::request_for(host),
        _port: port,
    })
}
