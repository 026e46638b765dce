// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel has given out, as far as it says so: the objects of its general caches,
//! exact after a cache has been shrunk, and the pages that are not free, which processors keep
//! some of for themselves.

use crate::failure::{Check, Failure};
use crate::module::references;
use std::path::Path;

/// The directory of slab caches.
const CACHES: &str = "/sys/kernel/slab";
/// Caches of `kmalloc`.
const GENERAL: &str = "kmalloc-";

/// Objects that the rest of the kernel may come to hold or give back meanwhile.
const OBJECTS: u64 = 32;
/// Pages likewise, and in processors' lists.
const PAGES: u64 = 512;

/// What is in use at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InUse {
    /// Objects of the caches of `kmalloc`, if the kernel shows them.
    objects: Option<u64>,
    /// Pages that are free.
    free_pages: u64,
    /// Who holds the module.
    references: u64,
    /// Open files of this process.
    files: usize,
}

impl InUse {
    /// Looks.
    pub(crate) fn now() -> Result<Self, Failure> {
        std::fs::write("/proc/sys/vm/drop_caches", "3")?;
        // What is freed after a grace period: the time of a few.
        std::thread::sleep(std::time::Duration::from_millis(60));
        Ok(Self {
            objects: objects()?,
            free_pages: statistic("/proc/vmstat", "nr_free_pages")?,
            references: references()?,
            files: std::fs::read_dir("/proc/self/fd")?.count(),
        })
    }

    /// Fails if more is in use than there was `before`.
    pub(crate) fn ensure_not_more(self, before: Self) -> Check {
        let lost = before.free_pages.saturating_sub(self.free_pages);
        let more = match (before.objects, self.objects) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => 0,
        };
        println!(
            "# {lost} pages and {more} objects more in use, of {:?}",
            self.objects
        );
        if lost > PAGES || more > OBJECTS {
            return Err(Failure::new(format!("leaked: {before:?}, then {self:?}")));
        }
        if self.references != before.references || self.files != before.files {
            return Err(Failure::new(format!("held: {before:?}, then {self:?}")));
        }
        Ok(())
    }
}

/// The objects in use of all caches of `kmalloc`; `None` where the kernel does not say.
fn objects() -> Result<Option<u64>, Failure> {
    if !Path::new(CACHES).join("kmalloc-4k/objects").exists() {
        return Ok(None);
    }
    let mut sum = 0;
    for cache in std::fs::read_dir(CACHES)? {
        let cache = cache?;
        if !cache.file_name().to_string_lossy().starts_with(GENERAL) {
            continue;
        }
        std::fs::write(cache.path().join("shrink"), "1")?;
        let text = std::fs::read_to_string(cache.path().join("objects"))?;
        let count = text.split_whitespace().next().unwrap_or_default();
        sum += count.parse::<u64>()?;
    }
    Ok(Some(sum))
}

fn statistic(file: &str, name: &str) -> Result<u64, Failure> {
    let text = std::fs::read_to_string(file)?;
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        .ok_or_else(|| Failure::new(format!("{file} has no {name}")))
}
