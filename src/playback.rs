//! Columns of files that simulated devices play back: CSV and Parquet.
//!
//! **Always holds.** A column is read whole before its device starts, and its memory is bounded. What is no number in it is told with
//! its line or row; an empty cell is NaN.
//!
//! **Must not know.** What a device does with it, and the configuration's text.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrowPrimitiveType};
use arrow_schema::DataType;
use kymo_simulators::{Options, Signal};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::config::plan::Plan;

/// Values of a column at most: 128 MiB of them.
const VALUES_MAX: usize = 16 << 20;

/// The longest line of a CSV file, bytes.
const LINE_MAX: u64 = 1 << 20;

/// A column that cannot be played back.
#[derive(Debug, thiserror::Error)]
#[error("cannot play back `{column}` of {}: {what}", file.display())]
pub struct Error {
    file: PathBuf,
    column: String,
    what: String,
}

/// The simulated devices of a plan, with what they play back.
///
/// # Errors
/// The first column that cannot be read.
pub fn devices(plan: &Plan) -> Result<Vec<Options>, Error> {
    let mut devices = plan.simulators.clone();
    for playback in &plan.playbacks {
        let part = devices
            .get_mut(playback.simulator)
            .and_then(|device| device.generic.as_mut())
            .and_then(|generic| generic.channels.get_mut(playback.channel))
            .and_then(|channel| channel.signal.get_mut(playback.part));
        if let Some(Signal::Playback { values, .. }) = part {
            *values = column(&playback.file, &playback.column)?;
        }
    }
    Ok(devices)
}

/// A column of a file: at least one value.
///
/// # Errors
/// There is none of this name, it is empty, too long, or holds something else than numbers; or the file cannot be read.
pub fn column(file: &Path, column: &str) -> Result<Arc<[f64]>, Error> {
    let is_parquet = file
        .extension()
        .is_some_and(|end| end.eq_ignore_ascii_case("parquet"));
    let read = if is_parquet { of_parquet } else { of_csv };
    let values = read(file, column).and_then(|values| {
        if values.is_empty() {
            return Err("it has no values".to_owned());
        }
        Ok(values)
    });
    values.map(Arc::from).map_err(|what| Error {
        file: file.to_owned(),
        column: column.to_owned(),
        what,
    })
}

fn too_many() -> String {
    format!("it has more than {VALUES_MAX} values")
}

fn no_column<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.take(24).collect();
    format!("there is no such column; there are {}", names.join(", "))
}

fn of_csv(file: &Path, column: &str) -> Result<Vec<f64>, String> {
    let mut input = BufReader::new(File::open(file).map_err(|error| error.to_string())?);
    let mut next = || -> Result<Option<String>, String> {
        let mut line = Vec::new();
        let mut limited = std::io::Read::take(&mut input, LINE_MAX);
        let read = limited.read_until(b'\n', &mut line);
        if read.map_err(|error| error.to_string())? == 0 {
            return Ok(None);
        }
        if line.len() as u64 == LINE_MAX {
            return Err(format!("a line is longer than {LINE_MAX} bytes"));
        }
        let line = String::from_utf8(line).map_err(|_| "it is not UTF-8 text".to_owned())?;
        Ok(Some(line.trim_end_matches(['\n', '\r']).to_owned()))
    };
    let header = next()?.ok_or("it is empty")?;
    let header = header.trim_start_matches('\u{feff}');
    let names = || header.split(',').map(|name| name.trim().trim_matches('"'));
    let place = names()
        .position(|name| name == column)
        .ok_or_else(|| no_column(names()))?;
    let mut values = Vec::new();
    let mut number = 1_u64;
    while let Some(line) = next()? {
        number += 1;
        if line.trim().is_empty() {
            continue;
        }
        let cell = line.split(',').nth(place);
        let cell = cell.ok_or_else(|| format!("line {number} is too short"))?;
        let cell = cell.trim().trim_matches('"');
        values.push(match cell {
            "" => f64::NAN,
            cell => cell
                .parse()
                .map_err(|_| format!("\"{cell}\" in line {number} is no number"))?,
        });
        if values.len() > VALUES_MAX {
            return Err(too_many());
        }
    }
    Ok(values)
}

fn of_parquet(file: &Path, column: &str) -> Result<Vec<f64>, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let file = File::open(file).map_err(|error| said(&error))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| said(&error))?;
    let fields = Arc::clone(builder.schema());
    let names = || fields.fields().iter().map(|field| field.name().as_str());
    let place = names()
        .position(|name| name == column)
        .ok_or_else(|| no_column(names()))?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), [place]);
    let batches = builder
        .with_projection(mask)
        .build()
        .map_err(|error| said(&error))?;
    let mut values = Vec::new();
    for batch in batches {
        let batch = batch.map_err(|error| said(&error))?;
        append(batch.column(0), &mut values)?;
        if values.len() > VALUES_MAX {
            return Err(too_many());
        }
    }
    Ok(values)
}

fn append(array: &dyn Array, values: &mut Vec<f64>) -> Result<(), String> {
    // Whole numbers beyond 2^53 become their nearest.
    #[allow(clippy::cast_precision_loss)]
    match array.data_type() {
        DataType::Float64 => numbers::<Float64Type>(array, values, |v| v),
        DataType::Float32 => numbers::<Float32Type>(array, values, f64::from),
        DataType::Int8 => numbers::<Int8Type>(array, values, f64::from),
        DataType::Int16 => numbers::<Int16Type>(array, values, f64::from),
        DataType::Int32 => numbers::<Int32Type>(array, values, f64::from),
        DataType::Int64 => numbers::<Int64Type>(array, values, |v| v as f64),
        DataType::UInt8 => numbers::<UInt8Type>(array, values, f64::from),
        DataType::UInt16 => numbers::<UInt16Type>(array, values, f64::from),
        DataType::UInt32 => numbers::<UInt32Type>(array, values, f64::from),
        DataType::UInt64 => numbers::<UInt64Type>(array, values, |v| v as f64),
        other => return Err(format!("it holds {other}, and no numbers")),
    }
    Ok(())
}

fn numbers<T: ArrowPrimitiveType>(
    array: &dyn Array,
    values: &mut Vec<f64>,
    convert: impl Fn(T::Native) -> f64,
) {
    let array = array.as_primitive::<T>();
    values.extend(array.iter().map(|value| value.map_or(f64::NAN, &convert)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray};

    fn said(file: &Path, name: &str) -> String {
        column(file, name).expect_err("it is wrong").to_string()
    }

    #[test]
    fn a_column_of_csv_is_read_by_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.csv");
        std::fs::write(&file, "time, \"oven\"\r\n0,1.5\r\n\r\n1,\r\n2, -3e2\r\n").expect("a file");
        let values = column(&file, "oven").expect("it is there");
        assert_eq!((values[0], values[2], values.len()), (1.5, -300.0, 3));
        assert!(values[1].is_nan());
        assert!(said(&file, "ofen").ends_with("there are time, oven"));
        std::fs::write(&file, "a,b\n1,2\n3\n").expect("a file");
        assert!(said(&file, "b").ends_with("line 3 is too short"));
        std::fs::write(&file, "a\n1\nx\n").expect("a file");
        assert!(said(&file, "a").ends_with("\"x\" in line 3 is no number"));
        std::fs::write(&file, "a\n").expect("a file");
        assert!(said(&file, "a").ends_with("it has no values"));
        std::fs::write(&file, "").expect("a file");
        assert!(said(&file, "a").ends_with("it is empty"));
        assert!(said(&folder.path().join("none.csv"), "a").contains("No such file"));
    }

    #[test]
    fn a_column_of_parquet_is_read_by_its_name_and_type() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.parquet");
        let columns: [(&str, ArrayRef); 3] = [
            ("f", Arc::new(Float64Array::from(vec![Some(0.5), None]))),
            ("i", Arc::new(Int32Array::from(vec![-7, 8]))),
            ("s", Arc::new(StringArray::from(vec!["x", "y"]))),
        ];
        let batch = RecordBatch::try_from_iter(columns);
        let batch = batch.expect("a batch");
        let out = File::create(&file).expect("a file");
        let mut writer =
            parquet::arrow::ArrowWriter::try_new(out, batch.schema(), None).expect("a writer");
        writer.write(&batch).expect("rows");
        writer.close().expect("a file");
        let values = column(&file, "f").expect("it is there");
        assert!(values[0] == 0.5 && values[1].is_nan());
        assert_eq!(*column(&file, "i").expect("it is there"), [-7.0, 8.0]);
        assert!(said(&file, "s").contains("it holds Utf8, and no numbers"));
        assert!(said(&file, "t").ends_with("there are f, i, s"));
    }
}
