//! What a segment looks like inside: columns, metadata, encodings.
//!
//! Key-value metadata of a segment: `kymo.run`, `kymo.started`, `kymo.source`, `kymo.lane`, `kymo.priority`, `kymo.host`,
//! `kymo.version`, `kymo.first_seq`, `kymo.last_seq`, and `kymo.frames`: JSON, a list of `[first, count]`, the numbers
//! of its frames in the lane's stream. A hole between two of them was dropped, and stands in the events with its reason.
//!
//! **Encoding.** Dictionary, for what falls out of it byte stream split, then LZ4; times as deltas. Measured by
//! `cargo bench --bench store`; the table is in ARCHITECTURE.md. LZ4 because it needs no C compiler.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::run_record::{ChannelRecord, RunRecord};

/// The column of times.
pub const TIME: &str = "time";

/// Rows of a row group at most: enough that a dictionary of 65 536 values pays, few enough that a range read
/// decodes little more than the range.
pub const GROUP_ROWS: usize = 1 << 19;

/// A dictionary of all values of 16 bits fits.
const DICTIONARY_BYTES: usize = 1 << 20;

/// The columns of a lane.
#[must_use]
pub fn schema(record: &RunRecord, source: usize, lane: usize) -> Option<SchemaRef> {
    let channels = &record.sources.get(source)?.lanes.get(lane)?.channels;
    let time = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let mut fields = vec![Field::new(TIME, time, false)];
    fields.extend(channels.iter().map(field));
    Some(Arc::new(Schema::new(fields)))
}

fn field(channel: &ChannelRecord) -> Field {
    let metadata = HashMap::from([
        ("unit".to_owned(), channel.unit.clone()),
        ("calibration".to_owned(), channel.calibration.clone()),
        (
            "calibration_version".to_owned(),
            calibration_version(&channel.calibration),
        ),
    ]);
    Field::new(&channel.name, DataType::Float64, false).with_metadata(metadata)
}

/// A calibration's version: the same calibration has the same, in every run and on every host.
#[must_use]
pub fn calibration_version(calibration: &str) -> String {
    format!("{:08x}", crc32c::crc32c(calibration.as_bytes()))
}

/// How segments with these columns are written.
#[must_use]
pub fn properties(schema: &Schema) -> WriterProperties {
    let time = ColumnPath::from(TIME);
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("kymo {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::LZ4_RAW)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_column_dictionary_enabled(time.clone(), false)
        .set_column_encoding(time, Encoding::DELTA_BINARY_PACKED)
        // Of a chunk: what a range read needs. Pages would cost more to write than they save.
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(GROUP_ROWS));
    for field in schema
        .fields()
        .iter()
        .filter(|field| *field.data_type() == DataType::Float64)
    {
        let column = ColumnPath::from(field.name().as_str());
        properties = properties.set_column_encoding(column, Encoding::BYTE_STREAM_SPLIT);
    }
    properties.build()
}
