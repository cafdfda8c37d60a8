//! A definite-length block as a waveform: each of its samples is a frame.

use memchr::memchr;

use super::answer::{self, Head};
use super::{Block, Scpi, visible};
use crate::frames::Frames;

/// Text before a block at most, as of an instrument that repeats the question in front of its answer.
const BEFORE_BLOCK_MAX: usize = 256;

impl Scpi {
    /// Takes what there is of a waveform; returns the bytes done with.
    pub(super) fn waveform(
        &mut self,
        input: &[u8],
        base: usize,
        query: usize,
        out: &mut Frames,
    ) -> usize {
        let (Some(waveform), Some(asked)) = (&self.waveform, &mut self.asked) else {
            return input.len();
        };
        let Some(block) = &mut asked.block else {
            return self.block_head(input, query);
        };
        asked.deadline_ns = self.now_ns.saturating_add(self.timeout_ns);
        let width = waveform.sample.bytes();
        let (scale, offset) = self.queries.scale(0);
        let mut done = 0;
        while block.left > 0 && !out.is_full() && input.len() - done >= width {
            let raw = answer::sample(&input[done..], waveform);
            done += width;
            block.left -= 1;
            let time_ns = before(block.head_ns, block.left, waveform.sample_rate_hz);
            out.push_at(base + done, time_ns, &[raw * scale + offset]);
        }
        if block.left == 0 {
            self.asked = None;
            self.queries.over(query);
            self.queries.take_done();
        }
        done
    }

    /// Looks for the head of a block.
    fn block_head(&mut self, input: &[u8], query: usize) -> usize {
        let (Some(waveform), Some(asked)) = (&self.waveform, &mut self.asked) else {
            return input.len();
        };
        let mark = memchr(b'#', input);
        let before = &input[..mark.unwrap_or(input.len())];
        if let Some(end) = memchr(b'\n', before) {
            // A line of its own is no block, unless there is nothing in it.
            self.tally.skipped_bytes += visible(&before[..end]);
            if asked.is_bad || visible(&before[..end]) > 0 {
                self.was_bad(query);
            }
            return end + 1;
        }
        let Some(mark) = mark else {
            if input.len() <= BEFORE_BLOCK_MAX {
                return 0;
            }
            asked.is_bad = true;
            self.tally.skipped_bytes += visible(input);
            return input.len();
        };
        match answer::head(&input[mark..], waveform) {
            Head::Partial if mark <= BEFORE_BLOCK_MAX => 0,
            Head::Partial => {
                self.tally.skipped_bytes += visible(before);
                mark
            }
            Head::Bad => {
                self.tally.skipped_bytes += visible(before) + 1;
                self.was_bad(query);
                mark + 1
            }
            Head::Block { head, samples } => {
                self.tally.skipped_bytes += visible(before);
                asked.is_bad = false;
                asked.block = Some(Block {
                    left: samples,
                    head_ns: self.now_ns,
                });
                mark + head
            }
        }
    }
}

/// The time of a sample with so many behind it.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
fn before(last_ns: i64, behind: u64, rate_hz: f64) -> i64 {
    last_ns.saturating_sub((behind as f64 * 1e9 / rate_hz).round() as i64)
}
