//! A source's part of a capture, as a tape that a link plays.
//!
//! **Always holds.** A tape has what the source's reader saw, with its times; where reads are missing, because the capture has
//! none of them or is damaged, the device is gone, and what comes behind continues nothing. A thread of its own reads ahead, and
//! no further than `BATCHES_MAX` batches. Every tape of a capture begins its passes at the same times.
//!
//! **Must not know.** What the bytes mean; how fast the tape is played.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kymo_drivers::link::recorded::{Happened, Manner, Moment, Tape};

use super::{Capture, Damage, Entries, Entry, LinkChange, Selection, What};

/// Batches read ahead at most: some reads are waiting while the next chunk is decompressed.
const BATCHES_MAX: usize = 4;
/// Moments in a batch at most.
const BATCH_MOMENTS: usize = 256;
/// Bytes in a batch from which on it is handed over.
const BATCH_BYTES: usize = 256 << 10;

/// How a capture is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Playing {
    /// From this time on, UTC ns.
    pub from_ns: i64,
    /// Up to before this time.
    pub to_ns: i64,
    /// How often; 0: for ever.
    pub passes: u64,
    /// Added to every time, ns.
    pub shift_ns: i64,
}

/// From the end of a pass to the beginning of the next.
const PAUSE_NS: i64 = 1_000_000;

impl Playing {
    /// Once, all of it, as it was; none if there is nothing in the capture.
    #[must_use]
    pub fn of(capture: &Capture) -> Option<Self> {
        let (from_ns, last_ns) = capture.range_ns()?;
        Some(Self {
            from_ns,
            to_ns: last_ns.saturating_add(1),
            passes: 1,
            shift_ns: 0,
        })
    }

    /// The pass behind this one; none if the clock is at its end.
    pub(super) fn next(self) -> Option<Self> {
        let shift_ns = self.shift_ns.checked_add(self.period_ns())?;
        Some(Self { shift_ns, ..self })
    }

    /// From the beginning of one pass to that of the next, ns.
    fn period_ns(&self) -> i64 {
        let length_ns = self.to_ns.saturating_sub(self.from_ns).max(0);
        length_ns.saturating_add(PAUSE_NS)
    }
}

/// What the tapes of a capture found damaged in it: each place once, whichever tape was first. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Found(Arc<Mutex<Vec<Damage>>>);

/// Places that are remembered at most.
const FOUND_MAX: usize = 10_000;

impl Found {
    /// Everything that was found so far.
    #[must_use]
    pub fn all(&self) -> Vec<Damage> {
        self.lock().clone()
    }

    fn add(&self, damage: &Damage) {
        let mut all = self.lock();
        if all.len() < FOUND_MAX && !all.contains(damage) {
            all.push(damage.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Damage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tape of a source, by its place in the capture. What it finds damaged it puts into `found`.
///
/// # Errors
/// If the system gives no thread.
pub fn tape(
    capture: Arc<Capture>,
    source: usize,
    playing: Playing,
    found: &Found,
) -> io::Result<Tape> {
    let found = found.clone();
    let (sender, batches) = flume::bounded(BATCHES_MAX);
    let thread = std::thread::Builder::new().name("kymo-tape".to_owned());
    // It ends with the tape, or when nobody has the other end any more.
    thread.spawn(move || {
        let mut feed = Feed {
            sender,
            batch: Vec::new(),
            bytes: 0,
            found,
            path: capture
                .files()
                .next()
                .map_or_else(PathBuf::new, |(path, _)| path.to_owned()),
        };
        feed.play(&capture, source, playing);
        feed.hand_over();
    })?;
    Ok(Box::new(batches.into_iter().flatten()))
}

/// The end of a tape that is written.
struct Feed {
    sender: flume::Sender<Vec<Moment>>,
    batch: Vec<Moment>,
    bytes: usize,
    found: Found,
    /// Of the capture.
    path: PathBuf,
}

impl Feed {
    fn play(&mut self, capture: &Capture, source: usize, playing: Playing) {
        let mut shift_ns = playing.shift_ns;
        let mut pass = 0_u64;
        loop {
            let selection = Selection {
                from_ns: Some(playing.from_ns),
                to_ns: Some(playing.to_ns),
                sources: Some(vec![source]),
            };
            if !self.pass(&mut capture.entries(selection), source, shift_ns) {
                return;
            }
            pass += 1;
            if pass == playing.passes {
                return;
            }
            let what = Happened::Gone("the recording begins again".to_owned());
            let time_ns = playing.to_ns.saturating_add(shift_ns);
            // A clock that is at its end shows nothing new any more.
            let Some(next_ns) = shift_ns.checked_add(playing.period_ns()) else {
                return;
            };
            if !self.put(Moment { time_ns, what }) {
                return;
            }
            shift_ns = next_ns;
        }
    }

    /// One pass; false: nobody listens any more, or it cannot be read any further.
    fn pass(&mut self, entries: &mut Entries<'_>, source: usize, shift_ns: i64) -> bool {
        let mut last_ns = 0;
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let what = Happened::Finished(format!("the capture ends here: {error}"));
                    self.found.add(&Damage {
                        path: self.path.clone(),
                        offset: 0,
                        what: error.to_string(),
                        range_ns: None,
                    });
                    self.put(Moment {
                        time_ns: last_ns,
                        what,
                    });
                    return false;
                }
            };
            let time_ns = entry.time_ns.saturating_add(shift_ns);
            for damage in entries.take_damage() {
                self.found.add(&damage);
                let what = Happened::Gone(format!("the capture is damaged: {}", damage.what));
                if !self.put(Moment { time_ns, what }) {
                    return false;
                }
            }
            last_ns = time_ns;
            if entry.source == Some(source)
                && let Some(what) = happened(entry)
                && !self.put(Moment { time_ns, what })
            {
                return false;
            }
        }
        // Behind the last entry the device is gone, or its tape is at its end.
        for damage in entries.take_damage() {
            self.found.add(&damage);
        }
        true
    }

    fn put(&mut self, moment: Moment) -> bool {
        if let Happened::Read(bytes) = &moment.what {
            self.bytes += bytes.len();
        }
        self.batch.push(moment);
        if self.batch.len() < BATCH_MOMENTS && self.bytes < BATCH_BYTES {
            return true;
        }
        self.hand_over()
    }

    fn hand_over(&mut self) -> bool {
        self.bytes = 0;
        self.sender.send(std::mem::take(&mut self.batch)).is_ok()
    }
}

/// What a reader saw of an entry; none of what it did not.
fn happened(entry: Entry) -> Option<Happened> {
    match entry.what {
        What::Read(bytes) => Some(Happened::Read(bytes.to_vec())),
        What::Link(LinkChange::Opened {
            ns_per_byte,
            keeps_boundaries,
        }) => Some(Happened::Opened(Manner {
            ns_per_byte,
            keeps_boundaries,
        })),
        What::Link(LinkChange::Gone { reason }) => Some(Happened::Gone(reason)),
        What::Link(LinkChange::Finished { reason }) => Some(Happened::Finished(reason)),
        What::Link(LinkChange::NotRecorded { reads, bytes, .. }) => Some(Happened::Gone(format!(
            "{reads} reads of {bytes} bytes were not recorded"
        ))),
        // The run ended there, and not the device.
        What::Link(LinkChange::Left) | What::Sent(_) | What::Event(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Described, Options, SourceInfo, Writer};

    const BEGIN: i64 = 1_795_420_800_000_000_000;

    fn at(after: i64, source: usize, what: What) -> Entry {
        Entry {
            time_ns: BEGIN + after,
            source: Some(source),
            what,
        }
    }

    fn bytes(text: &str) -> What {
        What::Read(text.to_owned().into())
    }

    fn capture(dir: &std::path::Path, entries: &[Entry]) -> Arc<Capture> {
        let source = |name: &str| SourceInfo {
            name: name.to_owned(),
            link: "a test's".to_owned(),
            starts_whole: true,
        };
        let path = dir.join("day.mcap");
        let described = Described {
            run: "20261123T080000.000Z-0001".to_owned(),
            started_ns: BEGIN,
            host: "here".to_owned(),
            kymo: "0.1.0".to_owned(),
            configuration: String::new(),
            calibration: std::collections::BTreeMap::default(),
            sources: vec![source("imu"), source("gps")],
        };
        let mut writer = Writer::create(&path, described, Options::default()).unwrap();
        for entry in entries {
            writer.write(entry).unwrap();
        }
        writer.finish().unwrap();
        Arc::new(Capture::open(&[path]).unwrap())
    }

    fn lab(dir: &std::path::Path) -> Arc<Capture> {
        let opened = || {
            What::Link(LinkChange::Opened {
                ns_per_byte: 86.5,
                keeps_boundaries: false,
            })
        };
        capture(
            dir,
            &[
                at(0, 0, opened()),
                at(0, 1, opened()),
                at(10, 0, bytes("abc")),
                at(11, 1, bytes("xyz")),
                at(12, 0, What::Sent("?".to_owned().into())),
                at(20, 0, bytes("def")),
                at(30, 0, What::Link(LinkChange::Left)),
            ],
        )
    }

    fn reads(tape: Tape) -> Vec<(i64, String)> {
        let read = |moment: Moment| match moment.what {
            Happened::Read(bytes) => {
                Some((moment.time_ns - BEGIN, String::from_utf8(bytes).unwrap()))
            }
            _ => None,
        };
        tape.filter_map(read).collect()
    }

    #[test]
    fn a_tape_has_what_its_source_read_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let capture = lab(dir.path());
        let playing = Playing::of(&capture).unwrap();
        let all: Vec<Moment> = tape(Arc::clone(&capture), 0, playing, &Found::default())
            .unwrap()
            .collect();
        let manner = Manner {
            ns_per_byte: 86.5,
            keeps_boundaries: false,
        };
        assert_eq!(all.len(), 3);
        assert_eq!(all[0].what, Happened::Opened(manner));
        let expected = [(10, "abc".to_owned()), (20, "def".to_owned())];
        assert_eq!(
            reads(tape(capture, 0, playing, &Found::default()).unwrap()),
            expected
        );
    }

    #[test]
    fn a_part_of_a_capture_is_played_twice_with_the_device_gone_in_between() {
        let dir = tempfile::tempdir().unwrap();
        let capture = lab(dir.path());
        let playing = Playing {
            from_ns: BEGIN + 10,
            to_ns: BEGIN + 20,
            passes: 2,
            shift_ns: 1000,
        };
        let all: Vec<Moment> = tape(Arc::clone(&capture), 0, playing, &Found::default())
            .unwrap()
            .collect();
        assert!(matches!(all[1].what, Happened::Gone(_)));
        let second = 1010 + 10 + PAUSE_NS;
        let expected = [(1010, "abc".to_owned()), (second, "abc".to_owned())];
        assert_eq!(
            reads(tape(capture, 0, playing, &Found::default()).unwrap()),
            expected
        );
    }

    #[test]
    fn a_tape_that_is_played_for_ever_ends_when_nobody_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let capture = lab(dir.path());
        let playing = Playing {
            passes: 0,
            ..Playing::of(&capture).unwrap()
        };
        let some: Vec<(i64, String)> = reads(Box::new(
            tape(Arc::clone(&capture), 1, playing, &Found::default())
                .unwrap()
                .take(3000),
        ));
        assert_eq!(some.len(), 1000);
        // The thread lets go of the capture.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while Arc::strong_count(&capture) > 1 && std::time::Instant::now() < end {
            std::thread::yield_now();
        }
        assert_eq!(Arc::strong_count(&capture), 1);
    }

    #[test]
    fn where_reads_are_missing_the_device_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let missing = LinkChange::NotRecorded {
            from_ns: BEGIN + 5,
            to_ns: BEGIN + 9,
            reads: 3,
            bytes: 12,
        };
        let capture = capture(
            dir.path(),
            &[
                at(1, 0, bytes("a")),
                at(5, 0, What::Link(missing)),
                at(10, 0, bytes("b")),
            ],
        );
        let playing = Playing::of(&capture).unwrap();
        let all: Vec<Moment> = tape(capture, 0, playing, &Found::default())
            .unwrap()
            .collect();
        let expected = Happened::Gone("3 reads of 12 bytes were not recorded".to_owned());
        assert_eq!(all[1].what, expected);
    }
}
