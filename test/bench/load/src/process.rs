use std::fs;
use std::time::Duration;

/// Time on a CPU of all threads of these processes. Threads that ended are not counted.
pub fn cpu(pids: &[u32]) -> Duration {
    let of_thread = |path: std::path::PathBuf| -> Option<u64> {
        let text = fs::read_to_string(path.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    let of_process = |pid: &u32| -> u64 {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
            return 0;
        };
        threads.flatten().filter_map(|thread| of_thread(thread.path())).sum()
    };
    Duration::from_nanos(pids.iter().map(of_process).sum())
}

/// Resident memory of these processes together, KiB.
pub fn resident(pids: &[u32]) -> u64 {
    let of_process = |pid: &u32| -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    };
    pids.iter().filter_map(of_process).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_cpu_and_memory_and_one_that_is_not_there_uses_none() {
        let pid = std::process::id();
        let before = cpu(&[pid]);
        let end = std::time::Instant::now() + Duration::from_millis(20);
        while std::time::Instant::now() < end {}
        assert!(cpu(&[pid]) > before);
        assert!(resident(&[pid]) > 100);
        assert_eq!((cpu(&[u32::MAX]), resident(&[u32::MAX])), (Duration::ZERO, 0));
    }
}
