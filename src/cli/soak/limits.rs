//! What a soak may take of the host: memory, descriptors, threads. None of them may grow once everything runs.

use serde::Serialize;

/// What the process has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Resources {
    /// Bytes of memory in use.
    pub(super) rss_bytes: u64,
    /// Open descriptors.
    pub(super) descriptors: u64,
    /// Threads.
    pub(super) threads: u64,
}

/// Memory by which a soak may grow beyond what it had when it was warm: a segment of the store under way, a compaction, and what the
/// comparison remembers of two seconds.
const GROWTH_BYTES: u64 = 128 << 20;

/// Descriptors that come and go: a device that is away holds a second pseudo-terminal; a segment, its successor and a Parquet file are
/// open; a compaction reads eight.
const GROWTH_DESCRIPTORS: u64 = 40;

/// Threads that come and go.
const GROWTH_THREADS: u64 = 4;

impl Resources {
    /// What it has now (proc(5)).
    pub(super) fn now() -> Self {
        let count = |folder| std::fs::read_dir(folder).map_or(0, |entries| entries.count() as u64);
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = statm.split(' ').nth(1).and_then(|field| field.parse().ok());
        Self {
            rss_bytes: pages.unwrap_or(0) * rustix::param::page_size() as u64,
            descriptors: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
        }
    }

    /// The larger of each.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            rss_bytes: self.rss_bytes.max(other.rss_bytes),
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
        }
    }

    /// What has grown since it was warm, if anything has.
    pub(super) fn grown_since(self, warm: Self) -> Option<String> {
        let grown = [
            ("memory", self.rss_bytes, warm.rss_bytes, GROWTH_BYTES),
            (
                "descriptors",
                self.descriptors,
                warm.descriptors,
                GROWTH_DESCRIPTORS,
            ),
            ("threads", self.threads, warm.threads, GROWTH_THREADS),
        ];
        let (what, now, before, _) = grown
            .into_iter()
            .find(|(_, now, before, growth)| *now > before + growth)?;
        Some(format!("{what} grew from {before} to {now}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_without_end_is_found() {
        let warm = Resources::now();
        assert!(warm.rss_bytes > 1 << 20 && warm.descriptors > 2 && warm.threads > 0);
        assert_eq!(warm.grown_since(warm), None);
        let more = |rss_bytes, descriptors, threads| Resources {
            rss_bytes: warm.rss_bytes + rss_bytes,
            descriptors: warm.descriptors + descriptors,
            threads: warm.threads + threads,
        };
        assert_eq!(more(100 << 20, 30, 3).grown_since(warm), None);
        for (grown, what) in [
            (more(200 << 20, 0, 0), "memory grew"),
            (more(0, 50, 0), "descriptors grew"),
            (more(0, 0, 9), "threads grew"),
        ] {
            let said = grown.grown_since(warm).expect("it grew");
            assert!(said.starts_with(what), "{said}");
        }
    }
}
