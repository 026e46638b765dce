// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernel modules.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::say::say;

/// The modules that every command of this image needs: files in the same directory, in
/// the order to load them, each with its parameters behind it.
const LIST: &str = "/modules/load";

/// Loads what [`LIST`] names, if it is there.
pub(crate) fn load_listed() -> Result<(), String> {
    let list = match fs::read_to_string(LIST) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        list => list.map_err(|error| format!("cannot read {LIST}: {error}"))?,
    };
    for line in list.lines() {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        if !words.is_empty() {
            load(&words)?;
        }
    }
    Ok(())
}

/// Loads one: its file, relative to `/modules`, and its parameters.
pub(crate) fn load(module: &[String]) -> Result<(), String> {
    let [file, parameters @ ..] = module else {
        return Err("a module without a file".to_owned());
    };
    let path = Path::new("/modules").join(file);
    insert(&path, parameters)
        .map_err(|error| format!("cannot load the module {}: {error}", path.display()))?;
    say(format_args!("module {}", module.join(" ")));
    Ok(())
}

fn insert(path: &Path, parameters: &[String]) -> io::Result<()> {
    let parameters = CString::new(parameters.join(" "))?;
    rustix::system::finit_module(File::open(path)?, &parameters, 0)?;
    Ok(())
}
