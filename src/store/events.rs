//! The table of a run's events: alerts, gaps, connections, clock steps.
//!
//! One row each, sorted by `time`; columns that an event has no value for are null.

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampNanosecondType, UInt64Type};
use arrow_array::{
    Array, ArrayRef, Float64Array, RecordBatch, StringArray, TimestampNanosecondArray, UInt64Array,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use kymo_drivers::block::Gap;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::Error;
use super::table::TIME;

/// One event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventRow {
    /// When it happened; for a gap, when it began: UTC ns.
    pub time_ns: i64,
    /// `alert`, `gap`, or the name of what happened.
    pub event: String,
    /// The source.
    pub source: Option<String>,
    /// `source.channel` of an alert.
    pub channel: Option<String>,
    /// The rule of an alert.
    pub rule: Option<String>,
    /// `fired` or `cleared`.
    pub change: Option<String>,
    /// Of the rule.
    pub severity: Option<String>,
    /// The value that did it.
    pub value: Option<f64>,
    /// The rule's limit.
    pub limit: Option<f64>,
    /// Of value and limit.
    pub unit: Option<String>,
    /// When a gap ended, UTC ns.
    pub to_ns: Option<i64>,
    /// The lane's priority, or its label if it has one: of a gap.
    pub priority: Option<String>,
    /// Frames missing in a gap, where that is known.
    pub frames: Option<u64>,
    /// Why they are missing.
    pub reason: Option<String>,
    /// In words.
    pub text: Option<String>,
}

impl EventRow {
    /// An event record of the journal.
    pub(super) fn of_json(time_ns: i64, json: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(json).unwrap_or_default();
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        Self {
            time_ns,
            event: text("event").unwrap_or_else(|| "unknown".to_owned()),
            source: text("source")
                .or_else(|| text("channel")?.split('.').next().map(str::to_owned)),
            channel: text("channel"),
            rule: text("rule"),
            change: text("change"),
            severity: text("severity"),
            value: value["value"].as_f64(),
            limit: value["limit"].as_f64(),
            unit: text("unit"),
            text: text("text").or_else(|| text("message")),
            ..Self::default()
        }
    }

    /// A gap of a source's lane.
    pub(super) fn of_gap(source: &str, label: &str, gap: &Gap) -> Self {
        Self {
            time_ns: gap.from_ns,
            event: "gap".to_owned(),
            source: Some(source.to_owned()),
            to_ns: Some(gap.to_ns),
            priority: Some(label.to_owned()),
            frames: gap.frames,
            reason: Some(gap.reason.name().to_owned()),
            ..Self::default()
        }
    }
}

/// The table's columns.
#[must_use]
pub(super) fn schema() -> SchemaRef {
    let time = || DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        Field::new(TIME, time(), false),
        Field::new("event", DataType::Utf8, false),
        text("source"),
        text("channel"),
        text("rule"),
        text("change"),
        text("severity"),
        Field::new("value", DataType::Float64, true),
        Field::new("limit", DataType::Float64, true),
        text("unit"),
        Field::new("to", time(), true),
        text("priority"),
        Field::new("frames", DataType::UInt64, true),
        text("reason"),
        text("text"),
    ]))
}

/// Appends the rows of a segment.
pub(super) fn read(path: &Path, rows: &mut Vec<EventRow>) -> Result<(), Error> {
    let file = std::fs::File::open(path).map_err(Error::io("open", path))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(Error::parquet("read", path))?;
    for batch in reader {
        let batch = batch.map_err(|error| Error::parquet("read", path)(error.into()))?;
        let times = |name: &str| {
            batch
                .column_by_name(name)?
                .as_primitive_opt::<TimestampNanosecondType>()
        };
        let numbers = |name: &str| {
            batch
                .column_by_name(name)?
                .as_primitive_opt::<Float64Type>()
        };
        let frames = || {
            batch
                .column_by_name("frames")?
                .as_primitive_opt::<UInt64Type>()
        };
        for row in 0..batch.num_rows() {
            let text = |name: &str| {
                let column = batch.column_by_name(name)?.as_string_opt::<i32>()?;
                column.is_valid(row).then(|| column.value(row).to_owned())
            };
            let time = |name: &str| {
                times(name)
                    .filter(|c| c.is_valid(row))
                    .map(|c| c.value(row))
            };
            let number = |name: &str| {
                numbers(name)
                    .filter(|c| c.is_valid(row))
                    .map(|c| c.value(row))
            };
            rows.push(EventRow {
                time_ns: time(TIME).unwrap_or(0),
                event: text("event").unwrap_or_default(),
                source: text("source"),
                channel: text("channel"),
                rule: text("rule"),
                change: text("change"),
                severity: text("severity"),
                value: number("value"),
                limit: number("limit"),
                unit: text("unit"),
                to_ns: time("to"),
                priority: text("priority"),
                frames: frames().filter(|c| c.is_valid(row)).map(|c| c.value(row)),
                reason: text("reason"),
                text: text("text"),
            });
        }
    }
    Ok(())
}

/// Rows as a batch, sorted by time.
pub(super) fn batch(mut rows: Vec<EventRow>) -> Result<RecordBatch, arrow_schema::ArrowError> {
    rows.sort_by_key(|row| row.time_ns);
    let texts = |field: fn(&EventRow) -> Option<&str>| -> ArrayRef {
        Arc::new(rows.iter().map(field).collect::<StringArray>())
    };
    let numbers = |field: fn(&EventRow) -> Option<f64>| -> ArrayRef {
        Arc::new(rows.iter().map(field).collect::<Float64Array>())
    };
    let times: TimestampNanosecondArray = rows.iter().map(|row| Some(row.time_ns)).collect();
    let ends: TimestampNanosecondArray = rows.iter().map(|row| row.to_ns).collect();
    let frames: UInt64Array = rows.iter().map(|row| row.frames).collect();
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(times.with_timezone("UTC")),
            texts(|row| Some(&row.event)),
            texts(|row| row.source.as_deref()),
            texts(|row| row.channel.as_deref()),
            texts(|row| row.rule.as_deref()),
            texts(|row| row.change.as_deref()),
            texts(|row| row.severity.as_deref()),
            numbers(|row| row.value),
            numbers(|row| row.limit),
            texts(|row| row.unit.as_deref()),
            Arc::new(ends.with_timezone("UTC")),
            texts(|row| row.priority.as_deref()),
            Arc::new(frames),
            texts(|row| row.reason.as_deref()),
            texts(|row| row.text.as_deref()),
        ],
    )
}
