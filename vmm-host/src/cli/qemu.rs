// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line as QEMU's users and test scripts write it: `-kernel IMAGE -append TEXT
//! -initrd FILE …` in place of `run IMAGE …`.
//!
//! Options that ask for what this VMM does anyway are accepted; those that ask for
//! something that it does not have are errors, not ignored.

use std::ffi::OsString;

/// The option without which the command line is not QEMU's.
const KERNEL: &str = "-kernel";

/// What becomes of an option.
enum Meaning {
    /// Its value is the image.
    Image,
    /// It is this one here, with the same value.
    Same(&'static str),
    /// It adds a device.
    Device,
    /// It changes nothing, for any of these values; no value if there are none.
    Nothing(&'static [&'static str]),
    /// It has no meaning here.
    Unknown,
}

fn meaning(option: &str) -> Meaning {
    match option {
        KERNEL => Meaning::Image,
        "-append" => Meaning::Same("--append"),
        "-initrd" => Meaning::Same("--initrd"),
        "-m" => Meaning::Same("--memory"),
        "-smp" => Meaning::Same("--vcpus"),
        "-device" => Meaning::Device,
        "-no-reboot" | "-nodefaults" | "-no-user-config" | "-nographic" | "-enable-kvm" => {
            Meaning::Nothing(&[])
        }
        "-display" | "-monitor" | "-vnc" | "-parallel" | "-net" | "-nic" => {
            Meaning::Nothing(&["none"])
        }
        "-serial" => Meaning::Nothing(&["stdio", "mon:stdio"]),
        "-accel" => Meaning::Nothing(&["kvm"]),
        "-machine" | "-M" => Meaning::Nothing(&["accel=kvm", "pc,accel=kvm", "pc"]),
        "-cpu" => Meaning::Nothing(&["host", "max"]),
        _ => Meaning::Unknown,
    }
}

/// The arguments, program first, as this program's own parser wants them: unchanged,
/// unless they are QEMU's.
///
/// # Errors
///
/// What is wrong with an option of QEMU's.
pub(crate) fn translate(arguments: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let is_kernel = |argument: &OsString| option_name(argument).as_deref() == Some(KERNEL);
    // In a command of our own, whatever stands after its name is its business.
    if !arguments.get(1).is_some_and(is_option) || !arguments.iter().any(is_kernel) {
        return Ok(arguments);
    }
    let mut arguments = arguments.into_iter();
    let mut translated: Vec<OsString> = arguments.next().into_iter().collect();
    translated.push("run".into());
    let mut image = None;
    while let Some(argument) = arguments.next() {
        let name = option_name(&argument).ok_or_else(|| unknown(&argument))?;
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{name} needs a value"))
        };
        match meaning(&name) {
            Meaning::Image => image = Some(value()?),
            Meaning::Same(own) => translated.extend([own.into(), value()?]),
            Meaning::Device => translated.push(device(&value()?)?.into()),
            Meaning::Nothing([]) => {}
            Meaning::Nothing(values) => {
                let value = value()?;
                if !values.iter().any(|known| value == *known) {
                    return Err(format!(
                        "{name} {}: of this option of QEMU's, hcall-vmm knows {} only",
                        value.to_string_lossy(),
                        values.join(", ")
                    ));
                }
            }
            Meaning::Unknown => return Err(unknown(&argument)),
        }
    }
    // After `--`, so that it may begin with a hyphen.
    translated.push("--".into());
    translated.extend(image);
    Ok(translated)
}

fn is_option(argument: &OsString) -> bool {
    argument.as_encoded_bytes().starts_with(b"-")
}

/// An option's name with one hyphen: QEMU takes two as well.
fn option_name(argument: &OsString) -> Option<String> {
    let text = argument.to_str()?;
    let name = text.strip_prefix("--").or_else(|| text.strip_prefix('-'))?;
    Some(format!("-{name}"))
}

/// The option of ours for a device of QEMU's.
fn device(description: &OsString) -> Result<&'static str, String> {
    let text = description.to_string_lossy();
    let mut parts = text.split(',');
    let is_debug_exit = parts.next() == Some("isa-debug-exit");
    let rest: Vec<&str> = parts.collect();
    let at_its_port = rest.contains(&"iobase=0xf4")
        && rest
            .iter()
            .all(|part| ["iobase=0xf4", "iosize=0x4", "iosize=0x04", "iosize=4"].contains(part));
    if is_debug_exit && at_its_port {
        return Ok("--debug-exit");
    }
    Err(format!(
        "-device {text}: hcall-vmm has no such device, only isa-debug-exit,iobase=0xf4,iosize=0x4"
    ))
}

fn unknown(argument: &OsString) -> String {
    format!(
        "{}: hcall-vmm does not know this argument of QEMU's (see hcall-vmm run --help)",
        argument.to_string_lossy()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(line: &str) -> Result<String, String> {
        let arguments = line.split(' ').map(OsString::from).collect();
        let words: Vec<String> = translate(arguments)?
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect();
        Ok(words.join(" "))
    }

    #[test]
    fn a_line_of_kvm_unit_tests_is_understood() {
        let line = "hcall-vmm -nodefaults -device isa-debug-exit,iobase=0xf4,iosize=0x4 \
                    -vnc none -serial stdio -machine accel=kvm -kernel x86/msr.flat \
                    -append all -initrd /tmp/env -smp 1 -m 512 --no-reboot";
        assert_eq!(
            translated(line).unwrap(),
            "hcall-vmm run --debug-exit --append all --initrd /tmp/env --vcpus 1 --memory 512 \
             -- x86/msr.flat"
        );
    }

    #[test]
    fn two_hyphens_do_as_well() {
        assert_eq!(
            translated("hcall-vmm --kernel -image").unwrap(),
            "hcall-vmm run -- -image"
        );
    }

    #[test]
    fn our_own_command_line_is_left_alone() {
        for line in [
            "hcall-vmm",
            "hcall-vmm --help",
            "hcall-vmm -v run image --append x",
            "hcall-vmm run image --append -kernel",
        ] {
            assert_eq!(translated(line).unwrap(), line);
        }
    }

    #[test]
    fn what_this_vmm_does_not_have_is_refused_by_name() {
        for (line, name) in [
            ("hcall-vmm -kernel a -hda disk", "-hda"),
            ("hcall-vmm -kernel a -device pci-testdev", "pci-testdev"),
            (
                "hcall-vmm -kernel a -device isa-debug-exit",
                "isa-debug-exit",
            ),
            ("hcall-vmm -kernel a -accel tcg", "tcg"),
            ("hcall-vmm -kernel", "-kernel"),
            ("hcall-vmm -kernel a stray", "stray"),
        ] {
            let error = translated(line).unwrap_err();
            assert!(error.contains(name), "{line}: {error}");
        }
    }
}
