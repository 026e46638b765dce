// SPDX-License-Identifier: MIT OR Apache-2.0
//! The descriptions in `lab/machines/*.toml` and `lab/suites.toml`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use anyhow::{bail, Context, Result};
use hcall_lab_contract::PRINT;
use serde::de::DeserializeOwned;
use serde::Deserialize;

use crate::provision::Flavour;
use crate::template::Words;

/// Everything that is described.
#[derive(Debug)]
pub(crate) struct Descriptions {
    machines: BTreeMap<String, Machine>,
    images: BTreeMap<String, Image>,
    suites: BTreeMap<String, Suite>,
    /// What `make run` shows where this machine cannot do it by itself.
    pub(crate) demonstration: Suite,
}

/// An emulated machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Machine {
    /// The emulator.
    pub(crate) program: String,
    /// The script of `lab/provision` that provides it, and prints the directory where it
    /// is; without one, it must be installed on this machine.
    pub(crate) provision: Option<String>,
    /// Its arguments, in which `{kernel}`, `{initramfs}`, `{cmdline}`, `{iso}`, `{console}`
    /// and the names of `files` are replaced.
    pub(crate) arguments: Vec<String>,
    /// What it boots from.
    #[serde(default)]
    pub(crate) medium: Medium,
    /// Where its console is.
    #[serde(default)]
    pub(crate) console: ConsoleAt,
    /// What it sees of this machine's network.
    #[serde(default)]
    pub(crate) network: Network,
    /// Names and texts of configuration files. In the texts the same is replaced as in the
    /// arguments, but for the names of other files.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
    /// The emulator's exit status after a good run.
    #[serde(default)]
    pub(crate) exit_status: i32,
    /// The start of the kernel command line.
    pub(crate) cmdline: String,
    /// What the machine's images load at boot, with what it depends on.
    pub(crate) kernel_module: Option<String>,
    /// In what form.
    #[serde(default)]
    pub(crate) modules: ModuleForm,
    /// How long the kernel may take to reach init.
    pub(crate) boot_limit_seconds: u64,
}

/// What a machine boots from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Medium {
    /// The emulator loads `{kernel}` and `{initramfs}`, and passes `{cmdline}`.
    #[default]
    Kernel,
    /// `{iso}`, a CD on which GRUB boots the same.
    GrubIso,
}

/// Where a machine's console is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ConsoleAt {
    /// The emulator's standard output.
    #[default]
    Output,
    /// The file `{console}`.
    File,
}

/// In what form the stock kernel's modules are put into an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ModuleForm {
    /// As they were signed.
    #[default]
    Signed,
    /// Without symbols and signature, which an interpreter takes long to read.
    Stripped,
}

/// What an emulator sees of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Network {
    /// What this machine sees.
    #[default]
    Shared,
    /// Nothing: it has a network namespace of its own.
    None,
}

impl Machine {
    /// Finds names that stand for nothing, before anything is built. `machines` is the
    /// directory of descriptions.
    fn check(&self, machines: &Path) -> Result<()> {
        if let Some(script) = &self.provision {
            if !machines.join("../provision").join(script).is_file() {
                bail!("lab/provision has no script {script}");
            }
        }
        let mut words = Words::default();
        for name in ["kernel", "initramfs", "cmdline"] {
            words.set(name, "");
        }
        if self.medium == Medium::GrubIso {
            words.set("iso", "");
        }
        if self.console == ConsoleAt::File {
            words.set("console", "");
        }
        for (name, text) in &self.files {
            words
                .fill(text)
                .with_context(|| format!("the file {name}"))?;
        }
        for name in self.files.keys() {
            words.set(name, "");
        }
        for argument in &self.arguments {
            words.fill(argument).context("the arguments")?;
        }
        Ok(())
    }
}

/// The content of an initramfs: places in it and their sources.
pub(crate) type Image = BTreeMap<String, Source>;

/// What is booted where, and what is run there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Suite {
    pub(crate) machine: String,
    pub(crate) image: String,
    /// Programs with their arguments, run in this order.
    pub(crate) commands: Vec<Vec<String>>,
    pub(crate) limit_seconds: u64,
    /// How many of a hundred lines of the module its programs must have executed, where they
    /// load the one that counts.
    pub(crate) coverage: Option<u32>,
}

impl Suite {
    /// Puts the number of the first example's call in its place.
    fn fill_in(&mut self) {
        let number = PRINT.get().to_string();
        for word in self.commands.iter_mut().flatten() {
            *word = word.replace("{PRINT}", &number);
        }
    }
}

/// Where a file of an image comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Source {
    /// A statically linked program.
    Program { package: String, name: String },
    /// A program of this workspace that loads shared objects, with what it needs of them.
    DynamicProgram { package: String, name: String },
    /// The shared object of a package of this workspace.
    RustPlugin(String),
    /// A shared object in C, a file of the checkout.
    CPlugin(String),
    /// A program in C, a file of the checkout, linked statically.
    CProgram { source: String, width: Width },
    /// All unikernels of these packages.
    Unikernels(Vec<String>),
    /// A file of the stock kernel.
    Kernel(String),
    /// The module, built for that kernel.
    Module,
    /// Another module that calls it: a directory of the checkout, the module's name, and the
    /// kernel that it is for.
    OtherModule {
        directory: String,
        name: String,
        flavour: Flavour,
    },
    /// What the project's Debian packages installed, and what that needs.
    Packages,
    /// A file of the kernel of our own.
    DebugKernel(String),
    /// A module for that kernel: the project's, or the lab's beside it.
    DebugModule(String),
    /// Another image.
    Image(String),
}

/// What processes a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Bits64,
    Bits32,
}

impl FromStr for Source {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            [kind @ ("program" | "dynamic-program"), program] => {
                let (package, name) = program
                    .split_once('/')
                    .with_context(|| format!("`{text}`: a program is PACKAGE/NAME"))?;
                let (package, name) = (package.to_owned(), name.to_owned());
                Ok(match kind {
                    "program" => Self::Program { package, name },
                    _ => Self::DynamicProgram { package, name },
                })
            }
            ["rust-plugin", package] => Ok(Self::RustPlugin(package.to_owned())),
            ["c-plugin", source] => Ok(Self::CPlugin(source.to_owned())),
            ["c-program", source] => Ok(Self::CProgram {
                source: source.to_owned(),
                width: Width::Bits64,
            }),
            ["c-program-32", source] => Ok(Self::CProgram {
                source: source.to_owned(),
                width: Width::Bits32,
            }),
            ["unikernels", ref packages @ ..] if !packages.is_empty() => Ok(Self::Unikernels(
                packages.iter().map(ToString::to_string).collect(),
            )),
            ["kernel", name] => Ok(Self::Kernel(name.to_owned())),
            ["module"] => Ok(Self::Module),
            [kind @ ("other-module" | "debug-other-module"), module] => {
                let (directory, name) = module
                    .rsplit_once('/')
                    .with_context(|| format!("`{text}`: a module is DIRECTORY/NAME"))?;
                Ok(Self::OtherModule {
                    directory: directory.to_owned(),
                    name: name.to_owned(),
                    flavour: match kind {
                        "other-module" => Flavour::Cloud,
                        _ => Flavour::Debug,
                    },
                })
            }
            ["packages"] => Ok(Self::Packages),
            ["debug-kernel", name] => Ok(Self::DebugKernel(name.to_owned())),
            ["debug-module", name] => Ok(Self::DebugModule(name.to_owned())),
            ["image", name] => Ok(Self::Image(name.to_owned())),
            _ => bail!(
                "`{text}` is no source: program PACKAGE/NAME, dynamic-program PACKAGE/NAME, \
                 rust-plugin PACKAGE, c-plugin FILE, c-program FILE, c-program-32 FILE, \
                 unikernels PACKAGE, kernel NAME, module, other-module DIRECTORY/NAME, packages, \
                 debug-kernel NAME, debug-module NAME, debug-other-module DIRECTORY/NAME or \
                 image NAME is expected"
            ),
        }
    }
}

impl TryFrom<String> for Source {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
            .map_err(|error: anyhow::Error| error.to_string())
    }
}

/// The file `suites.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SuitesFile {
    image: BTreeMap<String, Image>,
    suite: BTreeMap<String, Suite>,
    demonstration: Suite,
}

impl Descriptions {
    /// Reads those in the lab's directory, and checks that they fit together.
    pub(crate) fn read(lab: &Path) -> Result<Self> {
        let file: SuitesFile = read_toml(&lab.join("suites.toml"))?;
        let mut descriptions = Self {
            machines: read_machines(&lab.join("machines"))?,
            images: file.image,
            suites: file.suite,
            demonstration: file.demonstration,
        };
        descriptions.demonstration.fill_in();
        for (name, suite) in &descriptions.suites {
            descriptions
                .check(suite)
                .with_context(|| format!("lab/suites.toml, suite {name}"))?;
        }
        descriptions
            .check(&descriptions.demonstration)
            .context("lab/suites.toml, demonstration")?;
        Ok(descriptions)
    }

    fn check(&self, suite: &Suite) -> Result<()> {
        self.machine(&suite.machine)?;
        self.check_image(&suite.image, 0)?;
        if suite.commands.iter().any(Vec::is_empty) || suite.commands.is_empty() {
            bail!("it has no command, or an empty one");
        }
        Ok(())
    }

    fn check_image(&self, name: &str, depth: usize) -> Result<()> {
        if depth > self.images.len() {
            bail!("the image {name} contains itself");
        }
        for source in self.image(name)?.values() {
            if let Source::Image(inner) = source {
                self.check_image(inner, depth + 1)?;
            }
        }
        Ok(())
    }

    pub(crate) fn machine(&self, name: &str) -> Result<&Machine> {
        find(&self.machines, "machine", name)
    }

    pub(crate) fn image(&self, name: &str) -> Result<&Image> {
        find(&self.images, "image", name)
    }

    pub(crate) fn suite(&self, name: &str) -> Result<&Suite> {
        find(&self.suites, "suite", name)
    }

    /// The sources of all images.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.images.values().flat_map(BTreeMap::values)
    }
}

fn find<'a, T>(all: &'a BTreeMap<String, T>, kind: &str, name: &str) -> Result<&'a T> {
    all.get(name).with_context(|| {
        let known: Vec<&str> = all.keys().map(String::as_str).collect();
        format!(
            "there is no {kind} `{name}`; there are: {}",
            known.join(", ")
        )
    })
}

fn read_machines(directory: &Path) -> Result<BTreeMap<String, Machine>> {
    let context = || format!("cannot read the directory {}", directory.display());
    let mut machines = BTreeMap::new();
    for entry in fs::read_dir(directory).with_context(context)? {
        let path = entry.with_context(context)?.path();
        let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else {
            continue;
        };
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let machine: Machine = read_toml(&path)?;
            machine
                .check(directory)
                .with_context(|| path.display().to_string())?;
            machines.insert(name.to_owned(), machine);
        }
    }
    Ok(machines)
}

fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptions_of_this_lab_fit_together() {
        let lab = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let descriptions = Descriptions::read(&lab).expect("the lab's descriptions");
        for suite in ["svm", "vmx", "plain"] {
            descriptions.suite(suite).expect(suite);
        }
        let error = descriptions
            .suite("absent")
            .expect_err("no such suite")
            .to_string();
        assert!(error.contains("svm"), "{error}");
    }

    #[test]
    fn a_machine_names_only_what_it_has() {
        let machines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../machines");
        let machine = |more: &str| {
            let text = format!(
                "program = 'x'\ncmdline = ''\nboot_limit_seconds = 1\n\
                 arguments = ['{{kernel}}', '{{settings}}']\n{more}"
            );
            toml::from_str::<Machine>(&text).expect("a machine")
        };
        let plain = machine("[files]\nsettings = ''");
        plain.check(&machines).expect("it names its file");
        assert_eq!(
            (
                plain.medium,
                plain.console,
                plain.network,
                plain.exit_status
            ),
            (Medium::Kernel, ConsoleAt::Output, Network::Shared, 0)
        );
        let from_iso = "medium = 'grub-iso'\nnetwork = 'none'\nconsole = 'file'\n\
                        [files]\nsettings = '{iso} {console}'";
        machine(from_iso).check(&machines).expect("it has both");
        for wrong in [
            "",
            "[files]\nsettings = '{iso}'",
            "[files]\nsettings = '{console}'",
            "[files]\nsettings = '{settings}'",
            "provision = 'absent.sh'\n[files]\nsettings = ''",
        ] {
            assert!(machine(wrong).check(&machines).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sources() {
        let program = Source::Program {
            package: "a".to_owned(),
            name: "b".to_owned(),
        };
        assert_eq!("program a/b".parse::<Source>().expect("a program"), program);
        let program = Source::DynamicProgram {
            package: "a".to_owned(),
            name: "b".to_owned(),
        };
        assert_eq!(
            "dynamic-program a/b".parse::<Source>().expect("a program"),
            program
        );
        let unikernels = Source::Unikernels(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(
            "unikernels a b".parse::<Source>().expect("two packages"),
            unikernels
        );
        let module = Source::OtherModule {
            directory: "examples/a".to_owned(),
            name: "b".to_owned(),
            flavour: Flavour::Cloud,
        };
        assert_eq!(
            "other-module examples/a/b"
                .parse::<Source>()
                .expect("a module"),
            module
        );
        for wrong in [
            "",
            "program b",
            "dynamic-program b",
            "rust-plugin",
            "unikernels",
            "c-program",
            "kernel",
            "module x",
            "other-module x",
            "packages x",
            "floppy a",
        ] {
            assert!(wrong.parse::<Source>().is_err(), "{wrong}");
        }
    }
}
