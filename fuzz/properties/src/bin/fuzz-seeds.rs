// SPDX-License-Identifier: MIT OR Apache-2.0
//! `fuzz-seeds DIRECTORY`: writes what the fuzzer begins with to DIRECTORY/TARGET/NAME.

use hcall_fuzz_properties::seeds::seeds;
use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs, io};

fn main() -> ExitCode {
    let Some(directory) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: fuzz-seeds DIRECTORY");
        return ExitCode::from(2);
    };
    match write(&directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fuzz-seeds: {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

fn write(directory: &std::path::Path) -> io::Result<()> {
    for (target, name, bytes) in seeds() {
        let target = directory.join(target);
        fs::create_dir_all(&target)?;
        fs::write(target.join(name), bytes)?;
    }
    Ok(())
}
