//! A worker's own limits: what the kernel refuses or ends it for.
//!
//! The memory limit counts address space, because that is what the kernel can refuse: code, stacks
//! and the allocator's reserves are mapped before it is set and do not count.

use std::io;

use rlimit::Resource;

/// Limits that hold for the worker's whole life.
pub(super) fn set_for_life(memory_bytes: u64) -> io::Result<()> {
    // Ends this process before any other when the machine itself is out of memory. Where the
    // system does not let us, the limits below still hold.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    lower(Resource::CORE, 0)?;
    // No file may grow: a worker writes to its pipe and nowhere else.
    lower(Resource::FSIZE, 0)?;
    lower(Resource::AS, mapped_bytes()?.saturating_add(memory_bytes))
}

/// Ends the process when it has used this much CPU time from now on: the server's deadline comes
/// first, unless the server is gone.
pub(super) fn set_cpu(secs: u64) -> io::Result<()> {
    let (_, hard) = rlimit::getrlimit(Resource::CPU)?;
    let used_secs = used_cpu_ticks()? / TICKS_PER_SEC + 1;
    rlimit::setrlimit(Resource::CPU, (used_secs + secs).min(hard), hard)
}

fn lower(resource: Resource, to: u64) -> io::Result<()> {
    let (_, hard) = rlimit::getrlimit(resource)?;
    rlimit::setrlimit(resource, to.min(hard), to.min(hard))
}

/// The unit of `/proc/<pid>/stat` on every Linux of today.
const TICKS_PER_SEC: u64 = 100;

fn used_cpu_ticks() -> io::Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The second field is the program's name in parentheses and may hold anything.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<u64> =
        after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse().ok()).collect();
    Ok(fields.iter().sum())
}

fn mapped_bytes() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| io::Error::other("/proc/self/status has no VmSize"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_is_used() {
        assert!(mapped_bytes().unwrap() > 1 << 20);
        assert!(used_cpu_ticks().unwrap() < 1 << 40);
    }
}
