// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines on the console.

use std::fmt;
use std::io::{self, Write};
use std::sync::OnceLock;

/// What the lines begin with, see `lab.name` in `orders.rs`.
static NAME: OnceLock<String> = OnceLock::new();

/// Has the lines begin with this name from now on.
pub(crate) fn set_name(name: &str) {
    NAME.get_or_init(|| name.to_owned());
}

/// Prints `NAME-INIT what`.
pub(crate) fn say(what: fmt::Arguments<'_>) {
    print("INIT", what);
}

/// Prints `NAME-EXIT status=N`, the last line of all.
pub(crate) fn say_status(status: i32) {
    print("EXIT", format_args!("status={status}"));
}

/// A machine without a console has nobody to tell that this failed.
fn print(kind: &str, what: fmt::Arguments<'_>) {
    let name = NAME.get().map_or("LAB", String::as_str);
    let mut console = io::stdout().lock();
    let _ = writeln!(console, "{name}-{kind} {what}").and_then(|()| console.flush());
}
