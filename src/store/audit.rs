//! The audit: whether every sample that was acquired is there once, or listed as dropped with its reason.
//!
//! For each run: every segment's bytes against the CRC32C in its name, its rows against the frames it says it has; the
//! ranges of a lane against each other; the lane's frames, through segments and the journal's tail, one behind the other
//! but for what gaps say was dropped; where journal and store both have a block, its rows; the sums against the run's
//! ledger. The journal is verified as well.
//!
//! **Always holds.** Changes nothing. Memory is bounded by the segments and holes of one run, however much was recorded.
//! While a run goes on, what is found wrong is looked at again before it is said: segments are merged and removed
//! meanwhile.
//!
//! **Must not know.** How anything is shown, or mended.

mod look;
mod part;
mod stream;
mod sums;

use std::fmt;
use std::path::PathBuf;

use super::read::{Archive, Run};
use super::{Error, layout};
use crate::journal;

use look::Place;
use part::Part;

/// How often a run that something is wrong with is looked at while somebody writes.
const LOOKS: u32 = 4;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finding {
    /// Whether a sample may be missing, doubled or changed by it; else it is only worth telling.
    pub is_wrong: bool,
    /// In which run.
    pub run: Option<String>,
    /// In which lane, or which source's sums.
    pub lane: Option<String>,
    /// In which file.
    pub file: Option<PathBuf>,
    /// Which frames of the lane, the first and the last.
    pub frames: Option<(u64, u64)>,
    /// What it is.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(run) = &self.run {
            write!(f, "run {run}: ")?;
        }
        if let Some(lane) = &self.lane {
            write!(f, "{lane}: ")?;
        }
        if let Some((first, last)) = self.frames {
            write!(f, "frames {first} to {last}: ")?;
        }
        f.write_str(&self.what)?;
        match &self.file {
            Some(file) => write!(f, " ({})", file.display()),
            None => Ok(()),
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// With a ledger, which the sums were held against.
    Closed,
    /// Cut off: there is no ledger, and no sums.
    WithoutLedger,
    /// Not yet: what is not committed is not counted.
    Running,
}

impl RunState {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::WithoutLedger => "without_ledger",
            Self::Running => "running",
        }
    }
}

/// A lane of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneAudit {
    /// Its name.
    pub lane: String,
    /// Segments.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows in segments.
    pub stored_rows: u64,
    /// Rows in the journal alone.
    pub journal_rows: u64,
    /// Rows removed by the store's limits.
    pub removed_rows: u64,
    /// Frames dropped between others.
    pub dropped_frames: u64,
    /// The number behind its last frame.
    pub end_frame: u64,
}

impl LaneAudit {
    /// Rows that were there at some time.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.stored_rows + self.journal_rows + self.removed_rows
    }
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAudit {
    /// Its name.
    pub run: String,
    /// When it started.
    pub started: String,
    /// How it ended.
    pub state: RunState,
    /// Its lanes, as in its record.
    pub lanes: Vec<LaneAudit>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// Whether a run goes on.
    pub in_use: bool,
    /// Records of the journal.
    pub journal_records: u64,
    /// What was found in the journal.
    pub journal_findings: Vec<Finding>,
    /// The runs, oldest first.
    pub runs: Vec<RunAudit>,
}

impl Audit {
    /// Whether everything is as it should be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings().all(|finding| !finding.is_wrong)
    }

    /// What was found: in the journal, then in the runs, oldest first.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        let of_runs = self.runs.iter().flat_map(|run| &run.findings);
        self.journal_findings.iter().chain(of_runs)
    }
}

/// Audits the runs that are wanted, and the journal. `progress` is told bytes done and bytes in all.
///
/// # Errors
/// If journal or store cannot be read. What is wrong in them is no error, but what is looked for.
pub fn audit(
    archive: &Archive,
    wants: impl Fn(&str) -> bool,
    mut progress: impl FnMut(u64, u64),
) -> Result<Audit, Error> {
    let mut audit = Audit {
        in_use: archive.in_use(),
        ..Audit::default()
    };
    let all = archive.runs()?;
    let runs: Vec<&Run> = all.iter().filter(|run| wants(&run.record.run)).collect();
    let mut total = stored_bytes(archive, &runs)?;
    let mut done = 0;
    let report = verify(archive, |now| {
        progress(now.bytes, now.bytes_total + total);
        done = now.bytes_total;
    })?;
    total += done;
    audit.journal_records = report.records;
    for run in &runs {
        let place = Place {
            record: &run.record,
            first_seq: run.first_seq,
            end_seq: run.end_seq,
            is_running: audit.in_use && run.first_seq.is_some() && run.end_seq.is_none(),
        };
        let mut run = look_at(archive, &place, &mut |bytes| {
            done += bytes;
            progress(done.min(total), total);
        })?;
        run.findings.dedup();
        audit.runs.push(run);
    }
    let was_closed = |run: &RunAudit| run.state == RunState::Closed;
    let is_last_closed = audit.runs.last().is_some_and(was_closed);
    audit.journal_findings = of_journal(&report, audit.in_use, is_last_closed);
    for name in layout::runs(archive.store())? {
        if layout::read_run(&archive.store().join(&name))?.is_none()
            && all.iter().all(|run| run.record.run != name)
            && !layout::lanes(archive.store(), &name)?.is_empty()
        {
            audit.journal_findings.push(Finding {
                is_wrong: true,
                run: Some(name.clone()),
                file: Some(archive.store().join(&name).join(layout::RUN)),
                what: "its record is missing or damaged: nobody can say what its segments are"
                    .to_owned(),
                ..Finding::default()
            });
        }
    }
    Ok(audit)
}

/// The journal. While somebody writes, segments may be removed under it: then again.
fn verify(
    archive: &Archive,
    mut progress: impl FnMut(journal::Progress),
) -> Result<journal::Report, Error> {
    let mut looks = 1;
    loop {
        match journal::verify(archive.journal(), &mut progress) {
            Err(_) if archive.in_use() && looks < LOOKS => looks += 1,
            other => return Ok(other?),
        }
    }
}

/// Looks at a run, and sums up its segments' bytes.
fn look_at(
    archive: &Archive,
    place: &Place<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<RunAudit, Error> {
    let mut looks = 1;
    loop {
        let looked = look::look(archive, place);
        let again = archive.in_use() && looks < LOOKS;
        looks += 1;
        let (mut run, parts) = match looked {
            Err(_) if again => continue,
            looked => looked?,
        };
        if again && run.findings.iter().any(|finding| finding.is_wrong) {
            continue;
        }
        let mut is_gone = false;
        for part in &parts {
            match sum_up(&run.run, part, progress)? {
                Ok(None) => {}
                Ok(Some(finding)) => run.findings.push(finding),
                Err(Gone) => is_gone = true,
            }
        }
        // Merged or removed meanwhile: the new segments are to be summed up as well.
        if !(is_gone && again) {
            return Ok(run);
        }
    }
}

/// A file that is not there any more.
struct Gone;

/// Compares a segment's bytes with the checksum in its name.
fn sum_up(
    run: &str,
    part: &Part,
    progress: &mut dyn FnMut(u64),
) -> Result<Result<Option<Finding>, Gone>, Error> {
    let Some(crc) = part::checksum(&part.path, progress)? else {
        return Ok(Err(Gone));
    };
    if crc == part.crc {
        return Ok(Ok(None));
    }
    let lane = part.path.parent().and_then(|dir| dir.file_name());
    let frames = part.frames.first().zip(part.frames.last());
    Ok(Ok(Some(Finding {
        is_wrong: true,
        run: Some(run.to_owned()),
        lane: lane.map(|name| name.to_string_lossy().into_owned()),
        file: Some(part.path.clone()),
        frames: frames.map(|((first, _), (last, count))| (*first, last + count - 1)),
        what: format!(
            "damaged: its CRC32C is {crc:08x}, its name says {:08x}",
            part.crc
        ),
    })))
}

/// What is wrong in the journal.
fn of_journal(report: &journal::Report, in_use: bool, is_last_closed: bool) -> Vec<Finding> {
    let last = report.segments.len();
    let mut findings = Vec::new();
    for (index, segment) in report.segments.iter().enumerate() {
        if segment.is_sound() {
            continue;
        }
        let is_tail = index + 1 == last
            && !segment.is_header_damaged
            && segment.missing_records == 0
            && segment.doubled_records == 0
            && segment.bad_count == 1
            && segment.bad.iter().all(|bad| bad.to == segment.bytes);
        // What was torn off a run's end was never committed; of a run that was closed nothing was.
        let (is_wrong, what) = if is_tail && in_use {
            (false, "its end is being written".to_owned())
        } else if is_tail && !is_last_closed {
            (false, "its end is torn: the next run cuts it".to_owned())
        } else {
            let what = format!(
                "the journal is damaged: {} bad places, {} records missing, {} doubled; `kymo journal verify` says where",
                segment.bad_count + u64::from(segment.is_header_damaged),
                segment.missing_records,
                segment.doubled_records
            );
            (true, what)
        };
        findings.push(Finding {
            is_wrong,
            file: Some(segment.path.clone()),
            what,
            ..Finding::default()
        });
    }
    findings
}

fn stored_bytes(archive: &Archive, runs: &[&Run]) -> Result<u64, Error> {
    let mut bytes = 0;
    for run in runs {
        for lane in layout::lanes(archive.store(), &run.record.run)? {
            let listing = layout::list(&archive.store().join(&run.record.run).join(&lane))?;
            bytes += listing.segments.iter().map(|s| s.bytes).sum::<u64>();
        }
    }
    Ok(bytes)
}
