//! The payload of a block record: a block's frames in columns, its times and its gaps.
//!
//! **Always holds.** Decoding gives back the block bit for bit. Every part is padded to 8 bytes.
//!
//! **Must not know.** Records around it, files, where blocks come from.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | source u16, lane u8, priority u8, frames u32 |
//! | 8 | columns u16, axis u8 (0 regular, 1 irregular by steps, 2 irregular in full), 0 u8, gaps u32 |
//! | 16 | first_frame u64 |
//! | 24 | read_ns i64 |
//! | 32 | start_ns i64: time of the first frame |
//! | 40 | period_ns f64 (regular), or 0 |
//! | 48 | gaps, 32 bytes each: before u32, reason u8, 1 if frames is known u8, 0 u16, from_ns i64, to_ns i64, frames u64 |
//! | … | axis 1: (frames - 1) times u32, each time less the one before; axis 2: frames times i64 |
//! | … | columns: encoding u8, 7 zeros; see `columns.rs` for what follows |

use kymo_drivers::block::{Axis, BlockData, Gap, GapReason, Priority, SourceId};

use super::columns::{self, Cut};
use super::error::Error;
use super::segment::{i64_at, u16_at, u32_at, u64_at};

const FIXED_BYTES: usize = 48;
const GAP_BYTES: usize = 32;

const AXIS_REGULAR: u8 = 0;
const AXIS_STEPS: u8 = 1;
const AXIS_FULL: u8 = 2;

/// How the integers behind a column became values: `value = integer * scale + offset`.
pub type Quantum = (f64, f64);

/// The most bytes [`encode_block`] appends for this block.
pub(super) fn bytes_max(block: &BlockData) -> usize {
    let frames = block.frames.len();
    FIXED_BYTES
        + block.gaps.len() * GAP_BYTES
        + frames * 8
        + block.frames.channels() * columns::bytes_max(frames)
}

/// Appends a block's payload to `out`. `quanta` has one entry a column, or is shorter.
pub fn encode_block(block: &BlockData, quanta: &[Option<Quantum>], out: &mut Vec<u8>) {
    out.reserve(bytes_max(block));
    let start = out.len();
    let frames = &block.frames;
    let (mut axis, start_ns, period_ns) = match block.axis {
        Axis::Regular {
            start_ns,
            period_ns,
        } => (AXIS_REGULAR, start_ns, period_ns),
        Axis::Irregular => (
            AXIS_STEPS,
            frames.times_ns().first().copied().unwrap_or(0),
            0.0,
        ),
    };
    out.extend_from_slice(&block.source.0.to_le_bytes());
    out.extend_from_slice(&[block.lane, block.priority as u8]);
    out.extend_from_slice(&count(frames.len()).to_le_bytes());
    let channels = u16::try_from(frames.channels()).expect("a source has at most 65535 channels");
    out.extend_from_slice(&channels.to_le_bytes());
    out.extend_from_slice(&[axis, 0]);
    out.extend_from_slice(&count(block.gaps.len()).to_le_bytes());
    out.extend_from_slice(&block.first_frame.to_le_bytes());
    out.extend_from_slice(&block.read_ns.to_le_bytes());
    out.extend_from_slice(&start_ns.to_le_bytes());
    out.extend_from_slice(&period_ns.to_le_bytes());
    for gap in &block.gaps {
        encode_gap(gap, out);
    }
    if axis == AXIS_STEPS && !columns::encode_steps(frames.times_ns(), out) {
        axis = AXIS_FULL;
        for time_ns in frames.times_ns() {
            out.extend_from_slice(&time_ns.to_le_bytes());
        }
    }
    out[start + 10] = axis;
    for channel in 0..frames.channels() {
        let quantum = quanta.get(channel).copied().flatten();
        columns::encode(frames.column(channel), quantum, out);
    }
}

/// A count as it is stored.
///
/// # Panics
/// Beyond 4 billion: a block has some thousands of frames.
fn count(number: usize) -> u32 {
    u32::try_from(number).expect("a block has some thousands of frames")
}

fn encode_gap(gap: &Gap, out: &mut Vec<u8>) {
    out.extend_from_slice(&gap.before.to_le_bytes());
    out.extend_from_slice(&[gap.reason as u8, u8::from(gap.frames.is_some()), 0, 0]);
    out.extend_from_slice(&gap.from_ns.to_le_bytes());
    out.extend_from_slice(&gap.to_ns.to_le_bytes());
    out.extend_from_slice(&gap.frames.unwrap_or(0).to_le_bytes());
}

/// What a block record says before its values: enough to count, without decoding a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockSummary {
    /// Which source.
    pub source: SourceId,
    /// Which of its lanes.
    pub lane: u8,
    /// How urgent.
    pub priority: Priority,
    /// Frames in the block.
    pub frames: u32,
    /// Columns: values in a frame.
    pub columns: u16,
    /// Gaps in the block.
    pub gaps: u32,
    /// Number of the first frame.
    pub first_frame: u64,
    /// When the read that brought the last frame returned, UTC ns.
    pub read_ns: i64,
    /// How the frames are dated.
    pub axis: Axis,
}

impl BlockSummary {
    /// Values in the block.
    #[must_use]
    pub fn samples(&self) -> u64 {
        u64::from(self.frames) * u64::from(self.columns)
    }

    /// Reads the beginning of a block record's payload.
    pub fn parse(payload: &[u8]) -> Result<Self, Error> {
        Ok(Self::take(&mut Cut(payload))?.0)
    }

    /// As [`BlockSummary::parse`], with the number of the axis and the time it starts.
    fn take(cut: &mut Cut<'_>) -> Result<(Self, u8, i64), Error> {
        let fixed = cut.take(FIXED_BYTES)?;
        let priority =
            Priority::ALL
                .get(usize::from(fixed[3]))
                .ok_or_else(|| Error::BadPayload {
                    what: format!("priority {} is not known", fixed[3]),
                })?;
        let start_ns = i64_at(fixed, 32);
        let axis = match fixed[10] {
            AXIS_REGULAR => Axis::Regular {
                start_ns,
                period_ns: f64::from_bits(u64_at(fixed, 40)),
            },
            AXIS_STEPS | AXIS_FULL => Axis::Irregular,
            other => {
                return Err(Error::BadPayload {
                    what: format!("time axis {other} is not known"),
                });
            }
        };
        let summary = Self {
            source: SourceId(u16_at(fixed, 0)),
            lane: fixed[2],
            priority: *priority,
            frames: u32_at(fixed, 4),
            columns: u16_at(fixed, 8),
            gaps: u32_at(fixed, 12),
            first_frame: u64_at(fixed, 16),
            read_ns: i64_at(fixed, 24),
            axis,
        };
        Ok((summary, fixed[10], start_ns))
    }
}

/// A block read back. Its memory is used again by the next [`DecodedBlock::decode`].
#[derive(Debug, Clone)]
pub struct DecodedBlock {
    summary: BlockSummary,
    times_ns: Vec<i64>,
    /// Channel-major.
    values: Vec<f64>,
    gaps: Vec<Gap>,
}

impl Default for DecodedBlock {
    fn default() -> Self {
        Self {
            summary: BlockSummary {
                source: SourceId(0),
                lane: 0,
                priority: Priority::Normal,
                frames: 0,
                columns: 0,
                gaps: 0,
                first_frame: 0,
                read_ns: 0,
                axis: Axis::Irregular,
            },
            times_ns: Vec::new(),
            values: Vec::new(),
            gaps: Vec::new(),
        }
    }
}

impl DecodedBlock {
    /// Everything but values, times and gaps.
    #[must_use]
    pub fn summary(&self) -> &BlockSummary {
        &self.summary
    }

    /// The frames' times, UTC ns.
    #[must_use]
    pub fn times_ns(&self) -> &[i64] {
        &self.times_ns
    }

    /// How many columns there are.
    #[must_use]
    pub fn columns(&self) -> usize {
        usize::from(self.summary.columns)
    }

    /// One column's values.
    ///
    /// # Panics
    /// If there is no such column.
    #[must_use]
    pub fn column(&self, column: usize) -> &[f64] {
        assert!(column < self.columns(), "no column {column}");
        let frames = self.summary.frames as usize;
        &self.values[column * frames..][..frames]
    }

    /// What is missing, in order of `before`.
    #[must_use]
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Reads a block record's payload into this block, in place of what it held.
    pub fn decode(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.times_ns.clear();
        self.values.clear();
        self.gaps.clear();
        self.summary.frames = 0;
        self.summary.columns = 0;
        let mut cut = Cut(payload);
        let (summary, axis, start_ns) = BlockSummary::take(&mut cut)?;
        let frames = summary.frames as usize;
        // Constants and regular times take no bytes a frame, so the payload's length bounds
        // nothing: the writer refuses blocks that would not fit as plain values.
        if summary.samples().max(u64::from(summary.frames)) > super::RECORD_BYTES_MAX as u64 / 8 {
            return Err(Error::BadPayload {
                what: format!("{frames} frames are more than a record can hold"),
            });
        }
        for _ in 0..summary.gaps {
            self.gaps.push(decode_gap(cut.take(GAP_BYTES)?)?);
        }
        self.decode_times(&mut cut, axis, start_ns, &summary)?;
        for _ in 0..summary.columns {
            columns::decode(&mut cut, frames, &mut self.values)?;
        }
        if !cut.0.is_empty() {
            return Err(Error::BadPayload {
                what: format!("{} bytes are left over", cut.0.len()),
            });
        }
        self.summary = summary;
        Ok(())
    }

    fn decode_times(
        &mut self,
        cut: &mut Cut<'_>,
        axis: u8,
        start_ns: i64,
        summary: &BlockSummary,
    ) -> Result<(), Error> {
        let frames = summary.frames as usize;
        match (summary.axis, axis) {
            (
                Axis::Regular {
                    start_ns,
                    period_ns,
                },
                _,
            ) => self
                .times_ns
                .extend((0..frames).map(|frame| regular_ns(start_ns, period_ns, frame))),
            (Axis::Irregular, AXIS_STEPS) => {
                let steps = cut.take_padded(frames.saturating_sub(1) * 4)?;
                let mut time_ns = start_ns;
                if frames > 0 {
                    self.times_ns.push(time_ns);
                }
                self.times_ns
                    .extend(steps.as_chunks::<4>().0.iter().map(|step| {
                        time_ns = time_ns.wrapping_add(i64::from(u32::from_le_bytes(*step)));
                        time_ns
                    }));
            }
            (Axis::Irregular, _) => {
                let times = cut.take(frames * 8)?.as_chunks::<8>().0;
                self.times_ns
                    .extend(times.iter().map(|time| i64::from_le_bytes(*time)));
            }
        }
        Ok(())
    }
}

/// As `BlockData::time_ns`, which every reader of the journal must agree with.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
fn regular_ns(start_ns: i64, period_ns: f64, frame: usize) -> i64 {
    start_ns.wrapping_add((frame as f64 * period_ns).round() as i64)
}

fn decode_gap(bytes: &[u8]) -> Result<Gap, Error> {
    let reason = GapReason::from_code(bytes[4]).ok_or_else(|| Error::BadPayload {
        what: format!("gap reason {} is not known", bytes[4]),
    })?;
    Ok(Gap {
        before: u32_at(bytes, 0),
        from_ns: i64_at(bytes, 8),
        to_ns: i64_at(bytes, 16),
        frames: (bytes[5] != 0).then(|| u64_at(bytes, 24)),
        reason,
    })
}
