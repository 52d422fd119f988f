//! Memory that cannot be had is an error that says how much is needed, not an end of the program.
//!
//! What follows the size of an input is asked for here before it is allocated. What is small, or follows from what was asked for, is not.

use crate::words::counted;
use memmap2::MmapOptions;
use std::sync::OnceLock;

/// Less than so many bytes are not asked for: they can be had wherever the program runs.
const SMALL: u64 = 1 << 20;

/// Memory that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{what} would need {bytes} bytes of memory, which cannot be had: free some, or use a machine that has more")]
pub struct OutOfMemory {
    /// What needs it, as a sentence begins.
    pub what: String,
    /// Bytes that are needed at once.
    pub bytes: u64,
}

/// Sees whether so many bytes can be had at once, for `what`: whether the machine (or the control group that the program runs in) has as many at all, and
/// whether the operating system would give them now.
///
/// # Errors
/// Where they cannot.
pub(crate) fn check(bytes: u64, what: impl FnOnce() -> String) -> Result<(), OutOfMemory> {
    if can_have(bytes) { Ok(()) } else { Err(OutOfMemory { what: what(), bytes }) }
}

/// Whether so many bytes can be had at once.
pub(crate) fn can_have(bytes: u64) -> bool {
    if bytes < SMALL {
        return true;
    }
    // An address space that is limited (`ulimit -v`), and a system that gives no more than it has, refuse the map; it is given back at once, untouched.
    has(bytes) && can_map(bytes)
}

/// Whether the address space has room for so many bytes.
fn can_map(bytes: u64) -> bool {
    usize::try_from(bytes).is_ok_and(|len| MmapOptions::new().len(len).map_anon().is_ok())
}

/// What a thread takes of the address space: its stack, which is 2 MiB unless RUST_MIN_STACK says otherwise, the one for
/// signals, pages that guard both, and what it asks for as it begins. The standard library ends the program where a
/// thread that was started cannot have the last of these.
const THREAD: u64 = 3 << 20;

/// Sees whether so many threads can be started now.
///
/// # Errors
/// Where the address space has no room for them.
pub fn check_threads(count: usize) -> Result<(), OutOfMemory> {
    // Stacks are touched as far as they are used: the machine may have less.
    let bytes = THREAD * count as u64;
    if can_map(bytes) { Ok(()) } else { Err(OutOfMemory { what: counted(count, "thread"), bytes }) }
}

/// Whether the machine has so many bytes at all.
pub(crate) fn has(bytes: u64) -> bool {
    static MOST: OnceLock<u64> = OnceLock::new();
    bytes <= *MOST.get_or_init(|| most().unwrap_or(u64::MAX))
}

/// Memory and swap of the machine, or the limit of the control group where it is less: a system that promises more than it has would end the program later.
#[cfg(target_os = "linux")]
fn most() -> Option<u64> {
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let groups = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"].into_iter().filter_map(number);
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let entry = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kb| kb * 1024)
    };
    let machine = entry("MemTotal:")? + entry("SwapTotal:").unwrap_or(0);
    groups.chain([machine]).min()
}

#[cfg(not(target_os = "linux"))]
fn most() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_can_be_had_and_what_there_is_not_is_named_with_its_bytes() {
        assert!(check(0, || "nothing".into()).is_ok());
        assert!(check(4 << 20, || "a scan".into()).is_ok());
        for bytes in [1 << 60, u64::MAX] {
            let said = check(bytes, || "the scan of 9 x 9 x 9 voxels".into()).unwrap_err().to_string();
            assert!(said.contains("the scan of 9 x 9 x 9 voxels") && said.contains(&bytes.to_string()), "{said}");
        }
    }
}
