// SPDX-License-Identifier: MIT OR Apache-2.0
//! Images: the initramfs of a machine, put together from what was built.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cpio::NewcBuilder;

use crate::c_program;
use crate::cargo;
use crate::description::{Image, ModuleForm, Source};
use crate::dynamic;
use crate::packages;
use crate::process::Job;
use crate::provision::{self, Flavour};
use crate::workshop::Workshop;

/// The program that strips modules.
pub(crate) const STRIP: &str = "strip";

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;

/// A file of an image.
#[derive(Debug)]
struct Entry {
    /// Its place, without the leading `/`.
    place: String,
    content: Content,
}

#[derive(Debug)]
enum Content {
    File(PathBuf),
    Text(String),
}

/// What a machine adds to an image.
#[derive(Debug, Default)]
pub(crate) struct Additions<'a> {
    /// A module of the stock kernel, to be loaded at boot.
    pub(crate) kernel_module: Option<&'a str>,
    /// The form of that module, and of those it depends on.
    pub(crate) modules: ModuleForm,
    /// Each becomes the file `/lab/command-N` for `lab.exec=@FILE`.
    pub(crate) commands: &'a [Vec<String>],
}

/// The place of the `number`-th command's file.
pub(crate) fn command_place(number: usize) -> String {
    format!("/lab/command-{number}")
}

/// Builds the image and everything in it; `name` is the file's.
pub(crate) fn build(
    workshop: &mut Workshop,
    name: &str,
    image: &Image,
    additions: &Additions<'_>,
) -> Result<PathBuf> {
    let mut entries = Vec::new();
    for (place, source) in image {
        collect(
            workshop,
            place.trim_start_matches('/'),
            source,
            &mut entries,
        )
        .with_context(|| format!("image {name}, {place}"))?;
    }
    if let Some(module) = additions.kernel_module {
        collect_kernel_module(workshop, module, additions.modules, &mut entries)?;
    }
    for (number, command) in additions.commands.iter().enumerate() {
        entries.push(Entry {
            place: command_place(number).trim_start_matches('/').to_owned(),
            content: Content::Text(command.join("\n")),
        });
    }
    let file = workshop.places.output.join(format!("{name}.cpio"));
    write(&file, &entries).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// The file of this machine that stands at `place` in the image, if one does.
pub(crate) fn locate(workshop: &mut Workshop, image: &str, place: &str) -> Result<Option<PathBuf>> {
    let image = workshop.descriptions.image(image)?.clone();
    let holder = |(holder, _): &(&String, &Source)| {
        place == *holder || holder.ends_with('/') && place.starts_with(*holder)
    };
    let Some((holder, source)) = image.iter().find(holder) else {
        return Ok(None);
    };
    let mut entries = Vec::new();
    collect(workshop, holder, source, &mut entries)?;
    let file = entries.into_iter().find(|entry| entry.place == place);
    Ok(file.and_then(|entry| match entry.content {
        Content::File(file) => Some(file),
        Content::Text(_) => None,
    }))
}

fn collect(
    workshop: &mut Workshop,
    place: &str,
    source: &Source,
    entries: &mut Vec<Entry>,
) -> Result<()> {
    let file = match source {
        Source::Program { package, name } => cargo::program(workshop, package, name)?,
        Source::DynamicProgram { package, name } => {
            let program = dynamic::program(workshop, package, name)?;
            add_all("", dynamic::libraries(workshop, &program)?, entries);
            program
        }
        Source::RustPlugin(package) => dynamic::plugin(workshop, package)?,
        Source::CPlugin(source) => dynamic::c_plugin(workshop, source)?,
        Source::CProgram { source, width } => c_program::build(workshop, source, *width)?,
        Source::Kernel(name) => provision::kernel(workshop)?.join(name),
        Source::Module => provision::module(workshop, Flavour::Cloud)?,
        Source::OtherModule {
            directory,
            name,
            flavour,
        } => {
            let built = provision::other_module(workshop, directory, *flavour)?;
            built.join(format!("{name}.ko"))
        }
        Source::DebugKernel(name) => provision::debug_kernel(workshop)?.join(name),
        Source::DebugModule(name) => {
            provision::module(workshop, Flavour::Debug)?.with_file_name(name)
        }
        Source::Image(name) => {
            let image = workshop.descriptions.image(name)?.clone();
            build(workshop, name, &image, &Additions::default())?
        }
        Source::Unikernels(packages) => {
            add_all(place, cargo::unikernels(workshop, packages)?, entries);
            return Ok(());
        }
        Source::Packages => {
            add_all(place, packages::installed(workshop)?, entries);
            return Ok(());
        }
    };
    entries.push(Entry {
        place: place.to_owned(),
        content: Content::File(file),
    });
    Ok(())
}

/// Files by name, all of them below `place`.
fn add_all(place: &str, files: Vec<(String, PathBuf)>, entries: &mut Vec<Entry>) {
    entries.extend(files.into_iter().map(|(name, file)| Entry {
        place: format!("{place}{name}"),
        content: Content::File(file),
    }));
}

/// `NAME.load` beside the kernel's modules lists what to load for NAME, in order.
fn collect_kernel_module(
    workshop: &Workshop,
    module: &str,
    form: ModuleForm,
    entries: &mut Vec<Entry>,
) -> Result<()> {
    let modules = provision::kernel(workshop)?.join("modules");
    let list = modules.join(format!("{module}.load"));
    let files =
        fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    for file in files.lines() {
        let content = match form {
            ModuleForm::Signed => modules.join(file),
            ModuleForm::Stripped => strip(workshop, &modules.join(file), file)?,
        };
        entries.push(Entry {
            place: format!("modules/{file}"),
            content: Content::File(content),
        });
    }
    entries.push(Entry {
        place: "modules/load".to_owned(),
        content: Content::Text(files),
    });
    Ok(())
}

/// A module without what loading it does not need.
fn strip(workshop: &Workshop, module: &Path, name: &str) -> Result<PathBuf> {
    let directory = workshop.places.output.join("stripped");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let stripped = directory.join(name);
    Job::new("strip", STRIP)
        .arguments(["--strip-unneeded", "-o"])
        .arguments([stripped.as_path(), module])
        .output(workshop)?;
    Ok(stripped)
}

fn write(file: &Path, entries: &[Entry]) -> Result<()> {
    let mut archive = BufWriter::new(File::create(file)?);
    let mut directories = BTreeSet::new();
    let mut inodes = 1..;
    for entry in entries {
        for directory in parents(&entry.place) {
            if directories.insert(directory) {
                let header = NewcBuilder::new(directory)
                    .mode(DIRECTORY)
                    .ino(inodes.next().unwrap_or_default());
                header.write(&mut archive, 0).finish()?;
            }
        }
        let header = NewcBuilder::new(&entry.place)
            .mode(EXECUTABLE)
            .ino(inodes.next().unwrap_or_default());
        write_entry(&mut archive, header, &entry.content)
            .with_context(|| format!("{}: {:?}", entry.place, entry.content))?;
    }
    cpio::newc::trailer(archive)?.flush()?;
    Ok(())
}

fn write_entry(archive: &mut impl Write, header: NewcBuilder, content: &Content) -> Result<()> {
    match content {
        Content::File(path) => {
            let mut file = File::open(path)?;
            let size = u32::try_from(file.metadata()?.len()).context("larger than 4 GiB")?;
            let mut entry = header.write(archive, size);
            io::copy(&mut file, &mut entry)?;
            entry.finish()?;
        }
        Content::Text(text) => {
            let size = u32::try_from(text.len()).context("larger than 4 GiB")?;
            let mut entry = header.write(archive, size);
            entry.write_all(text.as_bytes())?;
            entry.finish()?;
        }
    }
    Ok(())
}

/// The directories above a place, outermost first.
fn parents(place: &str) -> impl Iterator<Item = &str> {
    place.match_indices('/').map(|(end, _)| &place[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_holds_what_was_put_in() {
        let directory = std::env::temp_dir().join(format!("hcall-lab-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a temporary directory");
        let source = directory.join("source");
        fs::write(&source, "program").expect("a temporary file");
        let entries = [
            Entry {
                place: "bin/a".to_owned(),
                content: Content::File(source),
            },
            Entry {
                place: "bin/x/b".to_owned(),
                content: Content::Text("text".to_owned()),
            },
        ];
        let archive = directory.join("archive");
        write(&archive, &entries).expect("an archive");

        let names = names(&archive);
        fs::remove_dir_all(&directory).expect("the directory is there");
        assert_eq!(names, ["bin", "bin/a", "bin/x", "bin/x/b"]);
    }

    fn names(archive: &Path) -> Vec<String> {
        let mut names = Vec::new();
        let mut file = File::open(archive).expect("the archive");
        loop {
            let reader = cpio::NewcReader::new(file).expect("an entry");
            if reader.entry().is_trailer() {
                return names;
            }
            names.push(reader.entry().name().to_owned());
            file = reader.finish().expect("the entry's end");
        }
    }
}
