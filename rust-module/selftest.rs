// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//! The kernel as the caller: one call at load time, if the module parameter `selftest`
//! names a number.

use crate::abi::number::HypercallNumber;
use crate::abi::result::decode_result;
use crate::sdk::detect::Host;
use crate::{host, parameters};
use kernel::prelude::*;

const ARGUMENTS: [u64; 4] = [1, 2, 3, 0];

/// Calls the number and logs the answer; what the host answers does not decide whether
/// the module loads, a number that cannot be called does.
pub(crate) fn run(host: &Host) -> Result {
    let raw = parameters::selftest();
    if raw == 0 {
        return Ok(());
    }
    let number = HypercallNumber::new(raw).map_err(|error| {
        pr_err!("selftest: {}\n", format_args!("{error}"));
        EINVAL
    })?;
    let answer = host::call(host, number, &ARGUMENTS)?;
    match decode_result(answer) {
        Ok(payload) => pr_info!("selftest: hcall3({raw:#x}, 1, 2, 3) = {payload}\n"),
        Err(error) => pr_info!(
            "selftest: hcall3({raw:#x}, 1, 2, 3): {}\n",
            format_args!("{error}")
        ),
    }
    Ok(())
}
