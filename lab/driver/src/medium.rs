// SPDX-License-Identifier: MIT OR Apache-2.0
//! The medium of a machine that cannot be given a kernel: a CD from which GRUB boots it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, Context, Result};

use crate::process::{Collect, Job};
use crate::workshop::Workshop;

/// What `grub-mkrescue` is, and what it runs.
pub(crate) const TOOLS: [&str; 3] = ["grub-mkrescue", "xorriso", "mformat"];

const LIMIT: Duration = Duration::from_secs(60);

/// What the machine boots.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content<'a> {
    pub(crate) kernel: &'a Path,
    pub(crate) initramfs: &'a Path,
    pub(crate) cmdline: &'a str,
}

/// Makes `boot.iso` in `directory`.
pub(crate) fn grub_iso(
    workshop: &Workshop,
    directory: &Path,
    content: Content<'_>,
) -> Result<PathBuf> {
    let tree = directory.join("iso");
    let iso = directory.join("boot.iso");
    fill(&tree, content).with_context(|| format!("cannot fill {}", tree.display()))?;
    let finished = Job::new("grub-mkrescue", TOOLS[0])
        .arguments(["-o".as_ref(), iso.as_os_str(), tree.as_os_str()])
        .limit(LIMIT)
        .run(workshop, &mut Collect::default())?;
    if !finished.succeeded() {
        bail!(
            "grub-mkrescue: {}\n{}",
            finished.how(),
            finished.last_lines().join("\n")
        );
    }
    Ok(iso)
}

fn fill(tree: &Path, content: Content<'_>) -> Result<()> {
    let boot = tree.join("boot");
    fs::create_dir_all(boot.join("grub"))?;
    fs::copy(content.kernel, boot.join("vmlinuz"))?;
    fs::copy(content.initramfs, boot.join("initramfs"))?;
    fs::write(boot.join("grub/grub.cfg"), configuration(content.cmdline)?)?;
    Ok(())
}

/// GRUB's script: it boots at once, without a menu.
fn configuration(cmdline: &str) -> Result<String> {
    if cmdline.contains(['\'', '\n']) {
        bail!("GRUB's script cannot hold this kernel command line: {cmdline}");
    }
    // Each word quoted for itself: of words with a space GRUB would make one parameter.
    let words: Vec<String> = cmdline
        .split_whitespace()
        .map(|word| format!("'{word}'"))
        .collect();
    Ok(format!(
        "linux /boot/vmlinuz {}\ninitrd /boot/initramfs\nboot\n",
        words.join(" ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_reaches_the_kernel_word_by_word() {
        let script = configuration("console=ttyS0 lab.exec=@/lab/a;b").expect("a script");
        assert_eq!(
            script,
            "linux /boot/vmlinuz 'console=ttyS0' 'lab.exec=@/lab/a;b'\n\
             initrd /boot/initramfs\nboot\n"
        );
        assert!(configuration("it's").is_err());
    }
}
