//! Decoded frames in columns: what a protocol writes and a block carries.
//!
//! **Always holds.** `len() <= capacity()`; every channel has exactly `len()` values; the memory
//! is taken once, when the buffer is made, and never grows with the input.
//!
//! **Must not know.** What time it is: a protocol notes where in its input a frame ended, and the
//! reader, who knows when that input was read, turns the place into a time.

use crate::block::GapReason;

/// Frames a protocol saw missing, in front of a frame that it did decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Index in this buffer of the first frame after the loss. May equal the buffer's length:
    /// then the frame after the loss has not come yet.
    pub before: u32,
    /// How many frames are missing, where the device's own counter says so.
    pub frames: Option<u64>,
    /// What the protocol saw: [`GapReason::DeviceCounter`] or [`GapReason::Corrupt`].
    pub reason: GapReason,
}

/// What went wrong in the bytes, counted apart from the frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Frames that were recognised and refused: bad checksum, a field that is no number, …
    pub corrupt_frames: u64,
    /// Bytes that belong to no recognised frame, skipped to find the next one.
    pub skipped_bytes: u64,
    /// Frames that the device's counter says were sent and that never came, less the corrupt
    /// ones seen in the same place: a frame is lost or corrupt, never both.
    pub lost_frames: u64,
    /// Requests that the device did not answer in time.
    pub unanswered: u64,
    /// Requests that the device answered with a refusal: a Modbus exception, a SCPI error.
    pub refused: u64,
}

/// A fixed number of frames of one source, one column a channel.
#[derive(Debug, Clone)]
pub struct Frames {
    channels: usize,
    capacity: usize,
    len: usize,
    /// Channel-major: channel `c` is `values[c * capacity ..][.. len]`.
    values: Box<[f64]>,
    /// Bytes of the decoded input up to and including the frame, from the start of the input.
    ends: Box<[u32]>,
    times_ns: Box<[i64]>,
    /// Losses noticed while decoding, in the order of `before`; at most one in front of a frame.
    pub losses: Vec<Loss>,
    /// Counts since [`Frames::take_tally`] was last called.
    pub tally: Tally,
}

impl Frames {
    /// Room for `capacity` frames of `channels` values each.
    #[must_use]
    pub fn with_capacity(channels: usize, capacity: usize) -> Self {
        Self {
            channels,
            capacity,
            len: 0,
            values: vec![0.0; channels * capacity].into_boxed_slice(),
            ends: vec![0; capacity].into_boxed_slice(),
            times_ns: vec![0; capacity].into_boxed_slice(),
            losses: Vec::with_capacity(8),
            tally: Tally::default(),
        }
    }

    /// Values in a frame.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Frames that fit.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Frames held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no frame is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether no further frame fits.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len == self.capacity
    }

    /// Frames that still fit.
    #[must_use]
    pub fn room(&self) -> usize {
        self.capacity - self.len
    }

    /// Values held: frames times channels.
    #[must_use]
    pub fn samples(&self) -> u64 {
        (self.len * self.channels) as u64
    }

    /// One channel's values.
    #[must_use]
    pub fn column(&self, channel: usize) -> &[f64] {
        &self.values[channel * self.capacity..][..self.len]
    }

    /// One channel's values, to be changed in place.
    pub fn column_mut(&mut self, channel: usize) -> &mut [f64] {
        &mut self.values[channel * self.capacity..][..self.len]
    }

    /// Two different channels at once: the first to be read, the second to be changed.
    ///
    /// # Panics
    /// If both are the same channel: that is a mistake of the caller, not of the data.
    pub fn column_pair(&mut self, read: usize, write: usize) -> (&[f64], &mut [f64]) {
        assert_ne!(read, write, "a column cannot be read while it is written");
        let (capacity, len) = (self.capacity, self.len);
        if read < write {
            let (low, high) = self.values.split_at_mut(write * capacity);
            (&low[read * capacity..][..len], &mut high[..len])
        } else {
            let (low, high) = self.values.split_at_mut(read * capacity);
            (&high[..len], &mut low[write * capacity..][..len])
        }
    }

    /// Where each frame ended in the input it was decoded from, in bytes from that input's start.
    #[must_use]
    pub fn ends(&self) -> &[u32] {
        &self.ends[..self.len]
    }

    /// The frames' times, UTC nanoseconds, as the reader wrote them.
    #[must_use]
    pub fn times_ns(&self) -> &[i64] {
        &self.times_ns[..self.len]
    }

    /// The frames' ends, and their times to be written: how the reader dates frames.
    pub fn ends_and_times_mut(&mut self) -> (&[u32], &mut [i64]) {
        (&self.ends[..self.len], &mut self.times_ns[..self.len])
    }

    /// Appends one frame that ended `end` bytes into the input.
    ///
    /// # Panics
    /// If the buffer is full or `values` has not one value for every channel.
    pub fn push(&mut self, end: usize, values: &[f64]) {
        assert!(self.len < self.capacity, "push into full frames");
        assert_eq!(values.len(), self.channels, "one value for every channel");
        for (channel, value) in values.iter().enumerate() {
            self.values[channel * self.capacity + self.len] = *value;
        }
        self.ends[self.len] = offset(end);
        self.len += 1;
    }

    /// The next `count` places of one channel, not yet part of the frames: write, then [`Frames::commit`].
    ///
    /// # Panics
    /// If fewer than `count` frames fit.
    pub fn spare_column(&mut self, channel: usize, count: usize) -> &mut [f64] {
        assert!(count <= self.room(), "spare places beyond the capacity");
        &mut self.values[channel * self.capacity + self.len..][..count]
    }

    /// The next `count` places of the frames' ends: write, then [`Frames::commit`].
    ///
    /// # Panics
    /// If fewer than `count` frames fit.
    pub fn spare_ends(&mut self, count: usize) -> &mut [u32] {
        assert!(count <= self.room(), "spare places beyond the capacity");
        &mut self.ends[self.len..][..count]
    }

    /// Makes the next `count` places, whose columns and ends have been written, part of the frames.
    ///
    /// # Panics
    /// If fewer than `count` frames fit.
    pub fn commit(&mut self, count: usize) {
        assert!(count <= self.room(), "commit beyond the capacity");
        self.len += count;
    }

    /// Notes a loss in front of the next frame to be decoded.
    ///
    /// A second loss at the same place joins the first: the counts add up, and a count from the
    /// device's counter outweighs one from corrupt frames.
    pub fn lose(&mut self, frames: Option<u64>, reason: GapReason) {
        let before = offset(self.len);
        match self.losses.last_mut() {
            Some(last) if last.before == before => {
                if last.reason == reason {
                    last.frames = match (last.frames, frames) {
                        (Some(a), Some(b)) => Some(a.saturating_add(b)),
                        (known, None) | (None, known) => known,
                    };
                } else if reason == GapReason::DeviceCounter {
                    (last.frames, last.reason) = (frames, reason);
                }
            }
            _ => self.losses.push(Loss {
                before,
                frames,
                reason,
            }),
        }
    }

    /// The counts so far, which start again from nothing.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Appends one row copied from another buffer's frame `index`, with `columns[i]` of it becoming
    /// channel `i` here, and its time.
    ///
    /// # Panics
    /// If this buffer is full.
    pub fn copy_columns(
        &mut self,
        from: &Frames,
        columns: &[usize],
        range: std::ops::Range<usize>,
    ) {
        let count = range.len();
        assert!(count <= self.room(), "copy beyond the capacity");
        for (channel, &column) in columns.iter().enumerate() {
            self.values[channel * self.capacity + self.len..][..count]
                .copy_from_slice(&from.column(column)[range.clone()]);
        }
        self.times_ns[self.len..][..count].copy_from_slice(&from.times_ns()[range]);
        self.len += count;
    }

    /// Forgets all frames, losses and counts; keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
        self.losses.clear();
        self.tally = Tally::default();
    }
}

/// A place in a read buffer as it is stored.
///
/// # Panics
/// Beyond 4 GiB: no reader has a buffer of that size.
fn offset(place: usize) -> u32 {
    u32::try_from(place).expect("a read buffer is far below 4 GiB")
}
