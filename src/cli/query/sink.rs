//! Writing rows as text: CSV, JSON lines, and a table for people.

use std::io::Write;

use super::select::Column;
use super::times::Form;

/// Where rows go.
pub(in crate::cli) trait Sink {
    /// Rows of another lane follow.
    fn begin_part(&mut self) {}
    /// Writes rows.
    fn write(&mut self, batch: &Batch<'_>) -> anyhow::Result<()>;
    /// Whether more rows of this lane are of use.
    fn wants_more(&self) -> bool {
        true
    }
    /// Writes what is left.
    fn finish(&mut self) -> anyhow::Result<()>;
}

/// Where bytes go.
pub(in crate::cli) type Out = Box<dyn Write + Send>;

/// Some rows.
pub(in crate::cli) struct Batch<'a> {
    pub(in crate::cli) times_ns: &'a [i64],
    /// By output column.
    pub(in crate::cli) cells: Vec<Cells<'a>>,
}

/// A column of some rows.
#[derive(Clone, Copy)]
pub(in crate::cli) enum Cells<'a> {
    /// It has no values here.
    None,
    /// Every row has one.
    All(&'a [f64]),
    /// Some rows have one.
    Some(&'a [Option<f64>]),
}

impl Cells<'_> {
    pub(in crate::cli) fn get(&self, row: usize) -> Option<f64> {
        match self {
            Self::None => None,
            Self::All(values) => values.get(row).copied(),
            Self::Some(values) => values.get(row).copied().flatten(),
        }
    }
}

/// A cell of CSV, RFC 4180.
pub(in crate::cli) fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// The shortest text that reads back as the very same number.
fn push_number(value: f64, is_count: bool, line: &mut String) {
    use std::fmt::Write as _;
    // Writing into a string cannot fail.
    let _ = if is_count {
        write!(line, "{value:.0}")
    } else {
        write!(line, "{value:?}")
    };
}

/// What a cell of this column shows: a bin without values counts none.
fn shown(cell: Option<f64>, column: &Column) -> Option<f64> {
    cell.or(column.is_count.then_some(0.0))
}

pub(in crate::cli) struct Csv {
    out: Out,
    time: Form,
    columns: Vec<Column>,
    line: String,
}

impl Csv {
    pub(in crate::cli) fn begin(
        mut out: Out,
        time: Form,
        columns: Vec<Column>,
    ) -> anyhow::Result<Self> {
        out.write_all(b"time")?;
        for column in &columns {
            write!(out, ",{}", quoted(&column.name))?;
        }
        out.write_all(b"\n")?;
        Ok(Self {
            out,
            time,
            columns,
            line: String::new(),
        })
    }
}

impl Sink for Csv {
    fn write(&mut self, batch: &Batch<'_>) -> anyhow::Result<()> {
        for (row, time_ns) in batch.times_ns.iter().enumerate() {
            self.line.clear();
            self.time.push(*time_ns, &mut self.line);
            for (cells, column) in batch.cells.iter().zip(&self.columns) {
                self.line.push(',');
                if let Some(value) = shown(cells.get(row), column) {
                    push_number(value, column.is_count, &mut self.line);
                }
            }
            self.line.push('\n');
            self.out.write_all(self.line.as_bytes())?;
        }
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        Ok(self.out.flush()?)
    }
}

pub(super) struct JsonLines {
    out: Out,
    time: Form,
    columns: Vec<Column>,
    /// `,"name":`, by column.
    keys: Vec<String>,
    line: String,
}

impl JsonLines {
    pub(super) fn begin(out: Out, time: Form, columns: Vec<Column>) -> anyhow::Result<Self> {
        let keys = columns
            .iter()
            .map(|column| Ok(format!(",{}:", serde_json::to_string(&column.name)?)));
        Ok(Self {
            keys: keys.collect::<anyhow::Result<_>>()?,
            out,
            time,
            columns,
            line: String::new(),
        })
    }
}

impl Sink for JsonLines {
    fn write(&mut self, batch: &Batch<'_>) -> anyhow::Result<()> {
        let mark = match self.time {
            Form::Rfc3339 => "\"",
            Form::Ns => "",
        };
        for (row, time_ns) in batch.times_ns.iter().enumerate() {
            self.line.clear();
            self.line.push_str("{\"time\":");
            self.line.push_str(mark);
            self.time.push(*time_ns, &mut self.line);
            self.line.push_str(mark);
            for ((cells, column), key) in batch.cells.iter().zip(&self.columns).zip(&self.keys) {
                let Some(value) = shown(cells.get(row), column) else {
                    continue;
                };
                self.line.push_str(key);
                // JSON has no number for these.
                let mark = if value.is_finite() { "" } else { "\"" };
                self.line.push_str(mark);
                push_number(value, column.is_count, &mut self.line);
                self.line.push_str(mark);
            }
            self.line.push_str("}\n");
            self.out.write_all(self.line.as_bytes())?;
        }
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        Ok(self.out.flush()?)
    }
}

/// Rows by which the widths of a table's columns are set.
const MEASURED_ROWS: usize = 64;

/// Aligned columns.
pub(super) struct Table {
    out: Out,
    time: Form,
    columns: Vec<Column>,
    /// Rows shown of a lane at most.
    rows_max: Option<usize>,
    rows: usize,
    is_cut: bool,
    held: Vec<Vec<String>>,
    widths: Vec<usize>,
}

impl Table {
    pub(super) fn new(out: Out, time: Form, columns: Vec<Column>, rows_max: Option<usize>) -> Self {
        Self {
            out,
            time,
            columns,
            rows_max,
            rows: 0,
            is_cut: false,
            held: Vec::new(),
            widths: Vec::new(),
        }
    }

    fn row(&mut self, cells: &[String]) -> anyhow::Result<()> {
        for (index, (cell, width)) in cells.iter().zip(&self.widths).enumerate() {
            let between = if index == 0 { "" } else { "  " };
            write!(self.out, "{between}{cell:>width$}")?;
        }
        Ok(writeln!(self.out)?)
    }

    /// Sets the widths and writes what was held back for them.
    fn begin(&mut self) -> anyhow::Result<()> {
        let names = self.columns.iter().map(|column| column.name.clone());
        let names: Vec<String> = std::iter::once("time".to_owned()).chain(names).collect();
        let units = self.columns.iter().map(|column| column.unit.clone());
        let units: Vec<String> = std::iter::once("UTC".to_owned()).chain(units).collect();
        let held = std::mem::take(&mut self.held);
        let all = || [&names, &units].into_iter().chain(&held);
        let width = |place: usize| all().map(|row| row[place].chars().count()).max();
        self.widths = (0..names.len())
            .map(|place| width(place).unwrap_or(0))
            .collect();
        for row in [&names, &units].into_iter().chain(&held) {
            self.row(row)?;
        }
        Ok(())
    }
}

/// A number for people.
fn brief(value: f64, is_count: bool) -> String {
    if is_count {
        return format!("{value:.0}");
    }
    let exact = format!("{value:?}");
    if exact.len() <= 10 {
        return exact;
    }
    let magnitude = value.abs();
    if (1e-4..1e9).contains(&magnitude) {
        #[allow(clippy::cast_possible_truncation)]
        let whole = magnitude.log10().floor() as i32;
        let places = usize::try_from(6 - whole).unwrap_or(0);
        format!("{value:.places$}")
    } else {
        format!("{value:.6e}")
    }
}

impl Sink for Table {
    fn begin_part(&mut self) {
        self.rows = 0;
    }

    fn write(&mut self, batch: &Batch<'_>) -> anyhow::Result<()> {
        for (row, time_ns) in batch.times_ns.iter().enumerate() {
            if self.rows_max.is_some_and(|max| self.rows >= max) {
                self.is_cut = true;
                return Ok(());
            }
            self.rows += 1;
            let mut time = String::new();
            self.time.push(*time_ns, &mut time);
            let mut cells = vec![time];
            for (cell, column) in batch.cells.iter().zip(&self.columns) {
                let value = shown(cell.get(row), column);
                cells.push(value.map_or_else(String::new, |v| brief(v, column.is_count)));
            }
            if self.widths.is_empty() {
                self.held.push(cells);
                if self.held.len() == MEASURED_ROWS {
                    self.begin()?;
                }
            } else {
                self.row(&cells)?;
            }
        }
        Ok(())
    }

    fn wants_more(&self) -> bool {
        // One row more than is shown tells that there are more.
        !self.is_cut || self.rows_max.is_none_or(|max| self.rows < max)
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        if self.widths.is_empty() {
            self.begin()?;
        }
        if self.is_cut {
            writeln!(
                self.out,
                "… and more rows: --output FILE writes all of them, --format csv too"
            )?;
        }
        Ok(self.out.flush()?)
    }
}
