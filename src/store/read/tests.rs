//! Reading while segments are merged.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, TimestampNanosecondArray};

use super::{Archive, Range, find};
use crate::data_dir::DataDir;
use crate::run_record::{ChannelRecord, LaneRecord, RunRecord, SourceRecord};
use crate::store::compact::{Pace, compact};
use crate::store::segment::SegmentWriter;
use crate::store::{DIR, layout, table};

fn record() -> RunRecord {
    let channel = ChannelRecord {
        place: 0,
        name: "a".to_owned(),
        unit: "V".to_owned(),
        calibration: "None".to_owned(),
    };
    RunRecord {
        run: "20261123T080000.000Z-0001".to_owned(),
        started: "2026-11-23T08:00:00.000000000Z".to_owned(),
        started_ns: 0,
        kymo: "test".to_owned(),
        host: "test".to_owned(),
        sources: vec![SourceRecord {
            name: "s".to_owned(),
            rate_hz: None,
            lanes: vec![LaneRecord {
                kind: "raw".to_owned(),
                priority: "normal".to_owned(),
                label: None,
                channels: vec![channel],
            }],
        }],
        configuration: String::new(),
    }
}

const ROWS: i64 = 100;

/// An archive with a lane of `segments` segments, each of [`ROWS`] rows in two row groups; row `n` has the time and the
/// value `n`.
fn archive(dir: &std::path::Path, segments: i64) -> Archive {
    drop(DataDir::take(dir).expect("a new directory"));
    let record = record();
    let run_dir = dir.join(DIR).join(&record.run);
    let json = serde_json::to_vec(&record).expect("JSON");
    layout::write_json(&run_dir, layout::RUN, &json).expect("a file");
    let schema = table::schema(&record, 0, 0).expect("a lane");
    for segment in 0..segments {
        let mut writer = SegmentWriter::begin(&run_dir.join("s"), "next", Arc::clone(&schema))
            .expect("a segment");
        for (from, to) in [(0, 30), (30, ROWS)] {
            let rows = segment * ROWS + from..segment * ROWS + to;
            let times: TimestampNanosecondArray = rows.clone().map(Some).collect();
            #[allow(clippy::cast_precision_loss)]
            let values: Float64Array = rows.map(|row| Some(row as f64)).collect();
            let columns: Vec<ArrayRef> =
                vec![Arc::new(times.with_timezone("UTC")), Arc::new(values)];
            let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("a batch");
            writer.write_group(&batch).expect("a group");
        }
        let seq = u64::try_from(segment).expect("not negative") + 1;
        writer.finish(seq, seq, Vec::new()).expect("a segment");
    }
    Archive::open(dir).expect("a data directory")
}

#[test]
fn a_merge_in_the_middle_of_reading_neither_loses_nor_doubles_rows() {
    for range in [
        Range::all(),
        Range {
            from_ns: 50,
            to_ns: 777,
        },
    ] {
        for read_before in 0..12 {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let archive = archive(dir.path(), 12);
            let run = archive.runs().expect("a store").remove(0);
            let lane = find(&run, |_| true).remove(0);
            let mut rows = archive.read(&run, &lane, range).expect("a lane");
            let mut times: Vec<i64> = Vec::new();
            let mut values: Vec<f64> = Vec::new();
            for read in 0.. {
                if read == read_before {
                    // Eight become one, then those and the rest.
                    let dir = archive.lane_dir(&run, 0, 0);
                    let mut pace = Pace::new(1.0, Box::new(|_: Duration| false));
                    while compact(&dir, true, &mut pace).expect("a merge") {}
                    assert!(layout::list(&dir).expect("a lane").segments.len() < 12);
                }
                let Some(mut found) = rows.next().expect("rows") else {
                    break;
                };
                times.append(&mut found.times_ns);
                values.append(&mut found.columns[0]);
            }
            let wanted: Vec<i64> = (0..12 * ROWS)
                .filter(|time| range.contains(*time))
                .collect();
            assert_eq!(times, wanted, "merged after {read_before}");
            #[allow(clippy::cast_precision_loss)]
            let wanted: Vec<f64> = wanted.into_iter().map(|row| row as f64).collect();
            assert_eq!(values, wanted);
            let overview = archive.overview(&run).expect("an overview");
            assert_eq!(overview.lanes[0].rows, 12 * 100);
            assert_eq!(overview.lanes[0].times_ns, Some((0, 12 * ROWS - 1)));
        }
    }
}
