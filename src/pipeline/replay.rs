//! Replaying captures: recordings in the place of devices, and what is told of it.
//!
//! **Always holds.** What comes of a replay depends on capture and configuration alone (`stage/recorded.rs`). A replay acts on
//! nothing outside its data directory, but by sinks and notifiers that were asked for. Sources that are not played
//! are there, and silent.
//!
//! **Must not know.** The terminal.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kymo_drivers::link::Link;
use kymo_drivers::link::recorded::{self, Manner, Pace, Recorded, VirtualTime};
use serde::Serialize;

use crate::acquire::Device;
use crate::capture::tape::{self, Found, Playing};
use crate::capture::{Capture, Damage, Error, LinkChange, Selection, What};
use crate::clock::{Clock, rfc3339};
use crate::config::plan::{Host, Plan};
use crate::latency::{Latency, Summary};

/// Takes from a plan what belongs to the past: what was wanted of the host, simulated devices, the page, the recording of a
/// capture, how long to keep what. Without `with_sinks` also sinks and notifiers: a replay must not write into a
/// database, send a message or stop a pump without being asked to.
pub fn prepare(plan: &mut Plan, with_sinks: bool) {
    plan.host = Host::default();
    plan.simulators.clear();
    plan.serve = None;
    plan.capture = None;
    plan.duration = None;
    if let Some(store) = &mut plan.store {
        // What is old in a capture is not too old for its replay.
        store.limits.clear();
    }
    if !with_sinks {
        plan.sinks.clear();
        plan.notifiers.clear();
    }
}

/// Recordings in the place of a plan's devices.
pub struct Playback {
    /// By source.
    links: Vec<(Box<dyn Link>, VirtualTime)>,
    /// When they begin, UTC ns.
    pub begin_ns: i64,
    /// How fast they are played; none: as fast as it goes.
    pub pace: Option<Pace>,
    timing: Arc<Mutex<Timing>>,
    found: Found,
}

/// What was played, of all sources together.
#[derive(Debug, Clone, Default)]
pub struct Timing {
    /// Recorded reads.
    pub reads: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The time of the last one, UTC ns.
    pub last_ns: Option<i64>,
    /// How much later than due each was played.
    pub late: Latency,
    /// By how much the time since its source's one before differed from the recorded one.
    pub between: Latency,
}

impl Timing {
    /// Counts a read that was played; `late`: how much later than due, if it was due at a time. `before` is how late its
    /// source's last one was.
    pub fn add(
        &mut self,
        time_ns: i64,
        bytes: usize,
        (late, before): (Option<Duration>, &mut Option<Duration>),
    ) {
        self.reads += 1;
        self.bytes += bytes as u64;
        self.last_ns = self.last_ns.max(Some(time_ns));
        let Some(late) = late else { return };
        let ns = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        self.late.record_ns(0, ns(late));
        if let Some(before) = before.replace(late) {
            self.between.record_ns(0, ns(late.abs_diff(before)));
        }
    }
}

impl Playback {
    /// The sources of a plan, out of a capture: those of them that the capture has, and that are among `chosen`, which are
    /// places in the capture. `pace`: as fast as it goes, if there is none.
    ///
    /// # Errors
    /// If the capture cannot be read, or the system gives no thread.
    pub fn new(
        plan: &Plan,
        capture: &Arc<Capture>,
        chosen: Option<&[usize]>,
        (playing, pace): (Playing, Option<Pace>),
    ) -> Result<Self, super::Error> {
        let begin_ns = playing.from_ns.saturating_add(playing.shift_ns);
        let manners = manners(capture, playing.from_ns)?;
        let found = Found::default();
        let mut links: Vec<(Box<dyn Link>, VirtualTime)> = Vec::new();
        let timing = Arc::<Mutex<Timing>>::default();
        for source in &plan.sources {
            let is_chosen = |place: &usize| chosen.is_none_or(|chosen| chosen.contains(place));
            let place = capture.source(&source.name).filter(is_chosen);
            let tape: recorded::Tape = match place {
                Some(place) => tape::tape(Arc::clone(capture), place, playing, &found)?,
                None => Box::new(std::iter::empty()),
            };
            let manner = place.map_or(Manner::default(), |place| manners[place]);
            let time = VirtualTime::new(begin_ns);
            let counted = Arc::clone(&timing);
            let mut before = None;
            let seen = move |played: recorded::Played| {
                let mut timing = counted.lock().unwrap_or_else(PoisonError::into_inner);
                timing.add(played.time_ns, played.bytes, (played.late, &mut before));
            };
            let link = Recorded::new(tape, time.clone(), pace, manner).seen_by(Box::new(seen));
            links.push((Box::new(link), time));
        }
        Ok(Self {
            links,
            begin_ns,
            pace,
            timing,
            found,
        })
    }

    /// What is being played of each source, and what of the capture is found damaged, as they go on.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            timing: Arc::clone(&self.timing),
            found: self.found.clone(),
        }
    }

    /// Has each source played by another link, made of its own.
    #[must_use]
    pub fn through(mut self, mut change: impl FnMut(Box<dyn Link>) -> Box<dyn Link>) -> Self {
        let links = self.links.into_iter();
        self.links = links.map(|(link, time)| (change(link), time)).collect();
        self
    }

    pub(super) fn times(&self) -> Vec<VirtualTime> {
        self.links.iter().map(|(_, time)| time.clone()).collect()
    }

    pub(super) fn devices(self) -> Vec<(Device, Clock)> {
        let links = self.links.into_iter();
        let device = |(link, time)| (Device::Open(link), Clock::recorded(time));
        links.map(device).collect()
    }
}

/// How far a playback has come.
#[derive(Debug, Clone)]
pub struct Progress {
    timing: Arc<Mutex<Timing>>,
    found: Found,
}

impl Progress {
    /// The time up to which something was played, UTC ns.
    #[must_use]
    pub fn last_ns(&self) -> Option<i64> {
        self.lock().last_ns
    }

    /// What was played of all sources together.
    #[must_use]
    pub fn all(&self) -> Timing {
        self.lock().clone()
    }

    /// What was found damaged while it was read.
    #[must_use]
    pub fn damage(&self) -> Vec<Damage> {
        self.found.all()
    }

    fn lock(&self) -> MutexGuard<'_, Timing> {
        self.timing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the bytes of each of a capture's sources come at a time: as when it was opened last.
fn manners(capture: &Capture, at_ns: i64) -> Result<Vec<Manner>, Error> {
    let mut manners = vec![Manner::default(); capture.described().sources.len()];
    if capture
        .range_ns()
        .is_none_or(|(from_ns, _)| from_ns >= at_ns)
    {
        return Ok(manners);
    }
    let before = Selection {
        from_ns: None,
        to_ns: Some(at_ns),
        sources: None,
    };
    for entry in capture.entries(before) {
        let entry = entry?;
        if let What::Link(LinkChange::Opened {
            ns_per_byte,
            keeps_boundaries,
        }) = entry.what
            && let Some(manner) = entry.source.and_then(|source| manners.get_mut(source))
        {
            *manner = Manner {
                ns_per_byte,
                keeps_boundaries,
            };
        }
    }
    Ok(manners)
}

/// What was replayed, and how: part of the report.
#[derive(Debug, Clone, Serialize)]
pub struct Played {
    /// The run that was recorded.
    pub run: String,
    /// `1`, `10`, …, or `max`.
    pub speed: String,
    /// When what was played begins, RFC 3339.
    pub from: String,
    /// When it ends.
    pub to: String,
    /// The sources that were played.
    pub sources: Vec<String>,
    /// Recorded reads that were played.
    pub reads: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How much later than due reads were played, µs; nothing, if it went as fast as it could.
    pub jitter_us: Summary,
    /// By how much the times between reads differed from the recorded ones, µs.
    pub between_us: Summary,
    /// Places at which the capture is damaged.
    pub damaged: usize,
}

impl Played {
    /// Told of a range of time, UTC ns, of which so much was played.
    #[must_use]
    pub fn new(
        capture: &Capture,
        speed: String,
        (from_ns, to_ns): (i64, i64),
        (sources, all): (Vec<String>, &Timing),
    ) -> Self {
        Self {
            run: capture.described().run.clone(),
            speed,
            from: rfc3339(from_ns),
            to: rfc3339(to_ns),
            sources,
            reads: all.reads,
            bytes: all.bytes,
            jitter_us: all.late.summary(),
            between_us: all.between.summary(),
            damaged: 0,
        }
    }

    /// As a person reads it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let pace = match self.speed.as_str() {
            "max" => "as fast as it went".to_owned(),
            speed => format!("at {speed} x"),
        };
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "replay   {} reads, {} bytes of the run {}, {pace}",
            self.reads, self.bytes, self.run
        );
        for (name, us) in [
            ("reads late by", &self.jitter_us),
            ("between them", &self.between_us),
        ] {
            if us.count > 0 {
                let _ = writeln!(
                    text,
                    "{name:<16} mean {:>9.1}  p50 {:>9.1}  p99 {:>9.1}  p99.9 {:>9.1}  max {:>9.1} µs",
                    us.mean, us.p50, us.p99, us.p999, us.max
                );
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_how_late_reads_are_and_how_the_times_between_them_change() {
        let (mut timing, mut before) = (Timing::default(), None);
        for late_us in [100, 300, 250] {
            let late = Some(Duration::from_micros(late_us));
            timing.add(7, 3, (late, &mut before));
        }
        assert_eq!((timing.reads, timing.bytes), (3, 9));
        let (late, between) = (timing.late.summary(), timing.between.summary());
        assert!((late.max - 300.0).abs() < 1.0, "{late:?}");
        assert_eq!(between.count, 2);
        assert!((between.max - 200.0).abs() < 1.0, "{between:?}");
    }
}
