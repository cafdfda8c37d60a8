//! What this process's threads have cost so far, by their names: the devices that a benchmark simulates in
//! the same process are not Kymo.

use std::collections::{BTreeSet, HashMap};

/// What threads have used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Used {
    /// Time on a processor, ns.
    pub(super) cpu_ns: u64,
    /// Times it went to sleep by itself, which is how often it was woken.
    pub(super) wakes: u64,
}

/// A look at all threads: what each has used, by its number.
#[derive(Debug, Clone, Default)]
pub(super) struct Look(HashMap<u64, (String, Used)>);

impl Look {
    /// Looks at every thread of the process (proc(5): `schedstat`, first field; `status`).
    pub(super) fn now() -> Self {
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
        Self(
            tasks
                .flatten()
                .filter_map(|task| look(&task.path()))
                .collect(),
        )
    }

    /// What the threads whose name passes have used since an earlier look. A thread that has ended meanwhile
    /// is left out.
    pub(super) fn since(&self, earlier: &Self, passes: impl Fn(&str) -> bool) -> Used {
        let mut sum = Used::default();
        for (thread, (name, used)) in &self.0 {
            if !passes(name) {
                continue;
            }
            let before = earlier
                .0
                .get(thread)
                .map_or(Used::default(), |(_, used)| *used);
            sum.cpu_ns += used.cpu_ns.saturating_sub(before.cpu_ns);
            sum.wakes += used.wakes.saturating_sub(before.wakes);
        }
        sum
    }

    /// What each thread has used since an earlier look, those of one name together, the most first; in shares of a
    /// core over so long. A thread that has ended meanwhile is left out.
    pub(super) fn shares(&self, earlier: &Self, seconds: f64) -> Vec<(String, f64)> {
        let names: BTreeSet<&str> = self.0.values().map(|(name, _)| name.as_str()).collect();
        let share = |name: &str| {
            let used = self.since(earlier, |other| other == name);
            (name.to_owned(), used.cpu_ns as f64 / 1e9 / seconds)
        };
        let mut shares: Vec<(String, f64)> = names.into_iter().map(share).collect();
        shares.sort_by(|a, b| b.1.total_cmp(&a.1));
        shares
    }
}

/// Makes threads less urgent by their names: simulated devices stand for hardware, which takes no processor time.
pub(super) fn make_nice(passes: impl Fn(&str) -> bool) {
    const STEPS: i32 = 19;
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    for task in tasks.flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let number = task.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(thread) = number.and_then(rustix::process::Pid::from_raw)
            && passes(name.trim_end())
        {
            // A thread that has just ended needs nothing any more.
            let _ = rustix::process::setpriority_process(Some(thread), STEPS);
        }
    }
}

fn look(task: &std::path::Path) -> Option<(u64, (String, Used))> {
    let read = |file: &str| std::fs::read_to_string(task.join(file)).ok();
    let thread = task.file_name()?.to_str()?.parse().ok()?;
    let name = read("comm")?.trim_end().to_owned();
    let cpu_ns = read("schedstat")?.split(' ').next()?.parse().ok()?;
    let status = read("status")?;
    let wakes = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
    let wakes = wakes.trim().parse().ok()?;
    Some((thread, (name, Used { cpu_ns, wakes })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_counted_for_the_thread_that_did_it() {
        let before = Look::now();
        let worker = std::thread::Builder::new()
            .name("bench-worker".to_owned())
            .spawn(|| {
                let sum = (0..20_000_000_u64).fold(0, |sum: u64, i| sum.wrapping_mul(31) ^ i);
                std::hint::black_box(sum);
                Look::now()
            })
            .expect("a thread");
        let after = worker.join().expect("it ends");
        let mine = after.since(&before, |name| name == "bench-worker");
        assert!(mine.cpu_ns > 1_000_000, "{mine:?}");
        let none = after.since(&before, |name| name == "somebody else");
        assert_eq!(none, Used::default());
    }
}
