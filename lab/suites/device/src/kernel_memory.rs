// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel has given out, as far as it says so: the objects of its general caches,
//! exact after a cache has been shrunk, and the pages that are free, those that processors keep
//! for themselves included.

use crate::failure::{Check, Failure};
use crate::module::references;
use std::path::Path;

/// The directory of slab caches.
const CACHES: &str = "/sys/kernel/slab";
/// Caches of `kmalloc`.
const GENERAL: &str = "kmalloc-";

/// Objects that the rest of the kernel may come to hold or give back meanwhile.
const OBJECTS: u64 = 32;
/// Pages likewise.
const PAGES: u64 = 256;
/// How often it is looked at before something is called leaked: what the rest of the kernel
/// holds for a moment is free by then.
const LOOKS: usize = 10;

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
            free_pages: free_pages()?,
            references: references()?,
            files: std::fs::read_dir("/proc/self/fd")?.count(),
        })
    }

    /// Fails if more is in use now than this.
    pub(crate) fn ensure_not_more(self) -> Check {
        let mut now = Self::now()?;
        for _ in 1..LOOKS {
            if now.is_within(self) {
                break;
            }
            now = Self::now()?;
        }
        let (pages, objects) = now.beyond(self);
        println!(
            "# {pages} pages and {objects} objects more in use, of {:?}",
            now.objects
        );
        if now.is_within(self) {
            return Ok(());
        }
        Err(Failure::new(format!("leaked: {self:?}, then {now:?}")))
    }

    /// Pages and objects that are in use beyond those of `before`.
    fn beyond(self, before: Self) -> (u64, u64) {
        let objects = match (before.objects, self.objects) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => 0,
        };
        (before.free_pages.saturating_sub(self.free_pages), objects)
    }

    fn is_within(self, before: Self) -> bool {
        let (pages, objects) = self.beyond(before);
        pages <= PAGES
            && objects <= OBJECTS
            && (self.references, self.files) == (before.references, before.files)
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

/// Free pages of all zones, and those in the lists of processors.
fn free_pages() -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/zoneinfo")?;
    let mut sum = None;
    for line in text.lines().map(str::trim) {
        let count = line
            .strip_prefix("nr_free_pages ")
            .or(line.strip_prefix("count:"));
        if let Some(count) = count {
            *sum.get_or_insert(0) += count.trim().parse::<u64>()?;
        }
    }
    sum.ok_or_else(|| Failure::new("/proc/zoneinfo has no nr_free_pages"))
}
