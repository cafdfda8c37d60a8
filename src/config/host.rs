//! `[host]`: what the host shall do for punctuality.

use super::section::Section;
use super::values::{Wrong, flag, integers};
use crate::config::plan::Host;
use crate::tuning::CORES_MAX;

/// What is wanted of the host; by default nothing.
pub(super) fn read(root: &Section<'_>) -> Host {
    let mut host = Host::default();
    let Some(section) = root.table("host") else {
        return host;
    };
    let is_wanted = |key| section.get(key, flag).is_some_and(|wanted| wanted.value);
    host.realtime = is_wanted("realtime");
    host.lock_memory = is_wanted("lock_memory");
    for (key, cores) in [
        ("reader_cores", &mut host.reader_cores),
        ("stage_cores", &mut host.stage_cores),
    ] {
        // Which of them this host has is found out when it runs.
        let highest = i64::try_from(CORES_MAX - 1).unwrap_or(i64::MAX);
        let Some(found) = section.get(key, integers(0..=highest)) else {
            continue;
        };
        if found.value.is_empty() {
            let wrong = Wrong::new("is an empty list", "no processor to run on");
            section.wrong(key, found.span.clone(), &wrong);
        }
        let numbers = found.value.into_iter();
        *cores = numbers
            .filter_map(|core| usize::try_from(core).ok())
            .collect();
    }
    section.finish();
    host
}
