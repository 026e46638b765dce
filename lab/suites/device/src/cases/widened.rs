// SPDX-License-Identifier: MIT OR Apache-2.0
//! A daemon opens, restricts, and hands the file to a process of nobody's, which tries to get
//! more than that. Each way is tried in a process of its own.

use crate::confined;
use crate::failure::{equal, passes, Check};
use crate::fdinfo;
use crate::widening::{self, WAYS};
use hcall_guest::abi::ioctl::NumberRange;
use hcall_guest::abi::number::{ECHO, TSC_KHZ};
use hcall_guest::device::Device;
use hcall_ktap::Suite;

pub(super) fn add(mut suite: Suite<'_>) -> Suite<'_> {
    for way in WAYS {
        suite = suite.case(
            format!(
                "nobody, given a restricted file, gets no more by {}",
                way.name
            ),
            move || passes(given(way.name)),
        );
    }
    suite.case(
        "what nobody gives up on top, the giver has lost too",
        || passes(given_up()),
    )
}

fn restricted() -> Result<Device, crate::failure::Failure> {
    let device = Device::open()?;
    device.restrict(&[ECHO, TSC_KHZ].map(|number| NumberRange {
        first: number.get(),
        last: number.get(),
    }))?;
    Ok(device)
}

fn given(way: &str) -> Check {
    let device = restricted()?;
    let before = fdinfo::allowed(&device)?;
    confined::run(&device, way)?;
    equal("fdinfo", fdinfo::allowed(&device)?, before)
}

fn given_up() -> Check {
    let device = restricted()?;
    confined::run(&device, widening::GIVING_UP)?;
    equal("TSC_KHZ", device.hcall0(TSC_KHZ).is_ok(), false)?;
    equal("ECHO", device.hcall1(ECHO, 3), Ok(3))
}
