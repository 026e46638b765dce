// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hcall-documents DIRECTORY DATE`: writes the man pages, of that date, and the completions.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, date] = &arguments[..] else {
        eprintln!("usage: hcall-documents DIRECTORY YYYY-MM-DD");
        return ExitCode::from(2);
    };
    match hcall_documents::write_to(Path::new(directory), date) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hcall-documents: {directory}: {error}");
            ExitCode::FAILURE
        }
    }
}
