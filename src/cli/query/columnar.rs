//! Writing rows as Parquet or Arrow IPC, with units in the metadata of the fields.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, TimestampNanosecondArray, UInt64Array};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;

use super::select::Column;
use super::sink::{Batch, Cells, Out, Sink};
use crate::store::table;

pub(in crate::cli) struct Columnar {
    schema: SchemaRef,
    writer: Writer,
}

enum Writer {
    Parquet(Box<ArrowWriter<Out>>),
    Arrow(Box<FileWriter<Out>>),
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Kind {
    Parquet,
    Arrow,
}

fn schema(columns: &[Column], about: HashMap<String, String>) -> Schema {
    let time = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let mut fields = vec![Field::new(table::TIME, time, false)];
    fields.extend(columns.iter().map(|column| {
        let kind = if column.is_count {
            DataType::UInt64
        } else {
            DataType::Float64
        };
        let said = [("unit", &column.unit), ("calibration", &column.calibration)];
        let said = said.into_iter().filter(|(_, text)| !text.is_empty());
        let said = said.map(|(key, text)| (key.to_owned(), text.clone()));
        Field::new(&column.name, kind, true).with_metadata(said.collect::<HashMap<_, _>>())
    }));
    Schema::new_with_metadata(fields, about)
}

impl Columnar {
    pub(in crate::cli) fn begin(
        out: Out,
        kind: Kind,
        columns: &[Column],
        about: HashMap<String, String>,
    ) -> anyhow::Result<Self> {
        let schema = Arc::new(schema(columns, about));
        let writer = match kind {
            Kind::Parquet => {
                let properties = table::properties(&schema);
                let writer = ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties))?;
                Writer::Parquet(Box::new(writer))
            }
            Kind::Arrow => Writer::Arrow(Box::new(FileWriter::try_new(out, &schema)?)),
        };
        Ok(Self { schema, writer })
    }
}

fn array(cells: &Cells<'_>, is_count: bool, rows: usize) -> ArrayRef {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    if is_count {
        // A bin without values counts none.
        let counts = (0..rows).map(|row| cells.get(row).unwrap_or(0.0) as u64);
        return Arc::new(counts.collect::<UInt64Array>());
    }
    match cells {
        Cells::None => Arc::new(Float64Array::new_null(rows)),
        Cells::All(values) => Arc::new(Float64Array::from(values.to_vec())),
        Cells::Some(values) => Arc::new(Float64Array::from(values.to_vec())),
    }
}

impl Sink for Columnar {
    fn write(&mut self, batch: &Batch<'_>) -> anyhow::Result<()> {
        let rows = batch.times_ns.len();
        let times = TimestampNanosecondArray::from(batch.times_ns.to_vec());
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(times.with_timezone("UTC"))];
        let fields = self.schema.fields().iter().skip(1);
        arrays.extend(
            batch
                .cells
                .iter()
                .zip(fields)
                .map(|(cells, field)| array(cells, *field.data_type() == DataType::UInt64, rows)),
        );
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays)?;
        match &mut self.writer {
            Writer::Parquet(writer) => writer.write(&batch)?,
            Writer::Arrow(writer) => writer.write(&batch)?,
        }
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        match &mut self.writer {
            Writer::Parquet(writer) => {
                writer.finish()?;
                writer.inner_mut().flush()?;
            }
            Writer::Arrow(writer) => {
                writer.finish()?;
                writer.get_mut().flush()?;
            }
        }
        Ok(())
    }
}
