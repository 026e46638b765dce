// SPDX-License-Identifier: MIT OR Apache-2.0
//! A process in Rust that calls through `hcall_guest::device`: `client CASE` runs one case
//! of the client suite. `client.c` has the same for C.

mod calls;
mod check;
mod many;
mod opening;

use check::Check;
use std::process::ExitCode;

/// A case and the name that the suite has for it.
type Case = (&'static str, fn() -> Check);

const CASES: [Case; hcall_suite_client::CASES.len()] = [
    ("missing-node", opening::missing_node),
    ("another-device", opening::another_device),
    ("info", opening::info),
    ("probe", opening::probe),
    ("every-arity", calls::every_arity),
    ("extreme-arguments", calls::extreme_arguments),
    ("errno-of-the-host", calls::errno_of_the_host),
    ("unknown-number", calls::unknown_number),
    ("forbidden-numbers", calls::forbidden_numbers),
    ("host-reads", calls::host_reads),
    ("host-writes", calls::host_writes),
    ("long-buffer", calls::long_buffer),
    ("console-write", calls::console_write),
    ("batch", many::batch),
    ("batch-stops", many::batch_stops),
    ("batch-refused", many::batch_refused),
    ("restriction", many::restriction),
    ("inherited-restriction", many::inherited_restriction),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), None) = (arguments.next(), arguments.next()) else {
        println!("usage: client CASE, with a case of the client suite");
        return ExitCode::from(2);
    };
    if name == many::CHILD {
        return report(many::child());
    }
    match CASES.iter().find(|(case, _)| *case == name) {
        Some((_, run)) => report(run()),
        None => {
            println!("there is no case {name}");
            ExitCode::from(2)
        }
    }
}

fn report(check: Check) -> ExitCode {
    match check {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_of_the_suite_is_here() {
        let names = super::CASES.map(|(name, _)| name);
        assert_eq!(names, hcall_suite_client::CASES);
    }

    #[test]
    fn the_client_in_c_has_them_too() {
        let names: Vec<&str> = include_str!("../client.c")
            .lines()
            .filter_map(|line| line.strip_prefix("\t{ \"")?.split('"').next())
            .collect();
        let all = [
            &hcall_suite_client::CASES[..],
            &hcall_suite_client::UNCHECKED_CASES,
        ];
        assert_eq!(names, all.concat());
    }
}
