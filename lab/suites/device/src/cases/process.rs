// SPDX-License-Identifier: MIT OR Apache-2.0
//! The SDK's functions that use one device per process.

use crate::context::Context;
use crate::failure::{equal, passes, Check};
use hcall_guest::abi::ioctl::DEVICE_PATH;
use hcall_guest::device::{self, DeviceError};
use hcall_guest::Errno;
use hcall_ktap::Suite;
use hcall_lab_contract::{mix, MIX};

pub(super) fn add<'a>(suite: Suite<'a>, context: &'a Context) -> Suite<'a> {
    suite
        .case("functions of the process without the module", || {
            passes(without_module())
        })
        .case("functions of the process with the module", || {
            passes(with_module(context))
        })
}

fn without_module() -> Check {
    let due = DeviceError::Open {
        path: DEVICE_PATH.into(),
        errno: Errno::ENOENT,
    };
    equal("hcall0", device::hcall0(MIX[0]), Err(due))
}

fn with_module(context: &Context) -> Check {
    context.module.load("")?;
    let due = |arity, arguments| Ok(mix(arity, arguments));
    equal("hcall0", device::hcall0(MIX[0]), due(0, [0; 4]))?;
    equal("hcall1", device::hcall1(MIX[1], 1), due(1, [1, 0, 0, 0]))?;
    equal("hcall2", device::hcall2(MIX[2], 1, 2), due(2, [1, 2, 0, 0]))?;
    equal(
        "hcall3",
        device::hcall3(MIX[3], 1, 2, 3),
        due(3, [1, 2, 3, 0]),
    )?;
    equal(
        "hcall4",
        device::hcall4(MIX[4], 1, 2, 3, 4),
        due(4, [1, 2, 3, 4]),
    )
}
