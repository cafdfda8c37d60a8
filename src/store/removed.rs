//! What retention has taken: a line of JSON for every segment removed, in the run's directory.
//!
//! **Always holds.** The line is on disk before the segment goes. So a segment that is missing without a line was not
//! removed by the store; a line whose segment is still there is what a crash between the two leaves.
//!
//! **Must not know.** Why something is to go.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Error, layout};

/// The file in a run's directory.
pub const REMOVED: &str = "removed.jsonl";

/// A segment that was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The lane's directory.
    pub lane: String,
    /// The first of the journal's records that were in it.
    pub first_seq: u64,
    /// The last.
    pub last_seq: u64,
    /// Rows in it.
    pub rows: u64,
    /// The number, in the lane's stream, of the frame behind its last.
    pub end_frame: u64,
    /// `age`, `bytes` or `disk`.
    pub why: String,
}

/// Writes down that a segment goes; it is on disk when this returns.
pub(super) fn append(run_dir: &Path, removed: &Removed) -> Result<(), Error> {
    let path = run_dir.join(REMOVED);
    let is_new = !path.exists();
    let write = || {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)?;
        let mut line = serde_json::to_string(removed)?;
        line.push('\n');
        let size = file.metadata()?.len();
        let mut last = [b'\n'];
        if size > 0 {
            file.read_exact_at(&mut last, size - 1)?;
        }
        if last != [b'\n'] {
            // A crash cut the last line off: it stays alone.
            line.insert(0, '\n');
        }
        file.write_all(line.as_bytes())?;
        file.sync_all()
    };
    write().map_err(Error::io("write", &path))?;
    if is_new {
        layout::sync_dir(run_dir)?;
    }
    Ok(())
}

/// What was removed from a run; lines that a crash cut off are passed over.
///
/// # Errors
/// If it cannot be read. No such file is no error: nothing was removed.
pub fn read(run_dir: &Path) -> Result<Vec<Removed>, Error> {
    let path = run_dir.join(REMOVED);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", &path)(error)),
    };
    let lines = text.lines();
    Ok(lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

/// The last record of a lane that was in a removed segment; 0 if none was.
pub(super) fn last_seq(run_dir: &Path, lane: &str) -> Result<u64, Error> {
    let found = read(run_dir)?;
    let of_lane = found.iter().filter(|removed| removed.lane == lane);
    Ok(of_lane.map(|removed| removed.last_seq).max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removed(last_seq: u64) -> Removed {
        Removed {
            lane: "imu".to_owned(),
            first_seq: 1,
            last_seq,
            rows: 10,
            end_frame: 10,
            why: "age".to_owned(),
        }
    }

    #[test]
    fn a_line_that_was_cut_off_takes_no_other_with_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(read(dir.path()).expect("none is no error"), []);
        append(dir.path(), &removed(5)).expect("a line");
        let path = dir.path().join(REMOVED);
        let mut text = std::fs::read_to_string(&path).expect("the file");
        text.push_str("{\"lane\":\"im");
        std::fs::write(&path, text).expect("half a line");
        append(dir.path(), &removed(9)).expect("a line");
        assert_eq!(
            read(dir.path()).expect("the file"),
            [removed(5), removed(9)]
        );
        assert_eq!(last_seq(dir.path(), "imu").expect("the file"), 9);
        assert_eq!(last_seq(dir.path(), "furnace").expect("the file"), 0);
    }
}
