//! A memory cage for a server: the kernel ends whatever in it goes past the limit.
//!
//! It is a cgroup of its own, version 1 or 2, which takes root. Without root there is no cage that
//! counts memory as it is used (`RLIMIT_AS` counts addresses, of which an allocator reserves
//! gigabytes), so the story only looks at what the process held at its highest, and says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A cage; dropping it removes it, once its processes have ended.
#[derive(Debug)]
pub(crate) struct Cage {
    folder: Option<PathBuf>,
    is_v2: bool,
    pub(crate) limit_bytes: u64,
}

impl Cage {
    /// Makes a cage, or something that only knows its limit.
    pub(crate) fn new(limit_bytes: u64) -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let tried = [(root.join("memory"), "memory.limit_in_bytes"), (root.into(), "memory.max")];
        for (parent, limit) in tried {
            if let Some(folder) = make(&parent, limit, limit_bytes) {
                return Self { folder: Some(folder), is_v2: limit == "memory.max", limit_bytes };
            }
        }
        Self { folder: None, is_v2: false, limit_bytes }
    }

    /// Returns the shell's words that put the process that runs them into the cage.
    pub(crate) fn entry(&self) -> String {
        match &self.folder {
            Some(folder) => format!("echo $$ > {}/cgroup.procs && ", folder.display()),
            None => String::new(),
        }
    }

    /// Returns true when the kernel holds the cage's processes to it.
    pub(crate) fn is_real(&self) -> bool {
        self.folder.is_some()
    }

    /// Returns what kind of cage it is, in words.
    pub(crate) fn kind(&self) -> &'static str {
        match (&self.folder, self.is_v2) {
            (Some(_), true) => "cgroup v2",
            (Some(_), false) => "cgroup v1",
            (None, _) => "no cgroup, only looked at",
        }
    }

    /// Returns how many processes the kernel has ended for want of memory.
    pub(crate) fn n_killed(&self) -> u64 {
        let Some(folder) = &self.folder else { return 0 };
        let file = if self.is_v2 { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }
}

fn make(parent: &Path, limit: &str, limit_bytes: u64) -> Option<PathBuf> {
    static COUNTER: AtomicUsize = AtomicUsize::new(0);
    let n = COUNTER.fetch_add(1, Ordering::Relaxed);
    let folder = parent.join(format!("commonwatch-test-{}-{n}", std::process::id()));
    fs::create_dir(&folder).ok()?;
    // A folder without this file is no cgroup, or one without the memory controller.
    let is_limited = folder.join(limit).exists()
        && fs::write(folder.join(limit), limit_bytes.to_string()).is_ok();
    if is_limited {
        // Swap would make it a cage with an open door.
        drop(fs::write(folder.join("memory.swap.max"), "0"));
        drop(fs::write(folder.join("memory.swappiness"), "0"));
        return Some(folder);
    }
    drop(fs::remove_dir(&folder));
    None
}

impl Drop for Cage {
    fn drop(&mut self) {
        let Some(folder) = &self.folder else { return };
        for _ in 0..200 {
            if fs::remove_dir(folder).is_ok() {
                return;
            }
            super::wait::pause(std::time::Duration::from_millis(25));
        }
    }
}
