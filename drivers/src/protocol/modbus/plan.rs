//! From channels to requests: neighbours are read together.
//!
//! **Always holds.** Every channel is read by exactly one request, and no value is split over two. A request reads no
//! register that no channel asked for, but for holes of at most `gap_max`.

use super::options::{Channel, Options, Order, Scalar, Table};

/// What is asked of a unit at once.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    /// The unit's number on the bus.
    pub(super) unit: u8,
    /// Its place among the units of the bus.
    pub(super) unit_place: usize,
    pub(super) table: Table,
    pub(super) at: u16,
    /// Registers or bits.
    pub(super) count: u16,
    pub(super) every: u32,
    /// Its values' places among all reads.
    pub(super) reads: std::ops::Range<usize>,
}

impl Request {
    /// Bytes of data in its answer.
    pub(super) fn data_bytes(&self) -> usize {
        if self.table.is_bits() {
            usize::from(self.count).div_ceil(8)
        } else {
            usize::from(self.count) * 2
        }
    }

    /// Whether one's answer could be the other's, for all that an answer without a transaction number says.
    pub(super) fn looks_like(&self, other: &Self) -> bool {
        self.unit == other.unit
            && self.table == other.table
            && self.data_bytes() == other.data_bytes()
    }
}

/// A value in an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Read {
    pub(super) channel: usize,
    /// Registers or bits from the answer's first.
    pub(super) at: u16,
    is_coil: bool,
    scalar: Scalar,
    order: Order,
    scale: f64,
    offset: f64,
}

impl Read {
    /// The value in an answer's data.
    #[allow(clippy::cast_precision_loss)] // 64-bit integers beyond 2^53 are rounded: said in the documentation.
    pub(super) fn value(&self, data: &[u8]) -> f64 {
        let at = usize::from(self.at);
        if self.is_coil {
            return f64::from(data.get(at / 8).map_or(0, |byte| byte >> (at % 8) & 1));
        }
        let bytes = self.scalar.bytes();
        let wire = data.get(at * 2..at * 2 + bytes).unwrap_or_default();
        let [a, b, c, d, e, f, g, h] = self.order.restore(wire);
        let raw = match self.scalar {
            Scalar::Bit(bit) => f64::from(u16::from_be_bytes([a, b]) >> bit & 1),
            Scalar::U16 => f64::from(u16::from_be_bytes([a, b])),
            Scalar::I16 => f64::from(i16::from_be_bytes([a, b])),
            Scalar::U32 => f64::from(u32::from_be_bytes([a, b, c, d])),
            Scalar::I32 => f64::from(i32::from_be_bytes([a, b, c, d])),
            Scalar::F32 => f64::from(f32::from_be_bytes([a, b, c, d])),
            Scalar::U64 => u64::from_be_bytes([a, b, c, d, e, f, g, h]) as f64,
            Scalar::I64 => i64::from_be_bytes([a, b, c, d, e, f, g, h]) as f64,
            Scalar::F64 => f64::from_be_bytes([a, b, c, d, e, f, g, h]),
        };
        raw * self.scale + self.offset
    }
}

/// The requests of a cycle, in the order in which they are sent, and their values.
pub(super) fn plan(options: &Options) -> (Vec<Request>, Vec<Read>) {
    let key = |channel: &Channel| (channel.unit, channel.table, channel.every, channel.at);
    let mut places: Vec<usize> = (0..options.channels.len()).collect();
    places.sort_by_key(|place| key(&options.channels[*place]));
    let mut requests: Vec<Request> = Vec::new();
    let mut reads = Vec::with_capacity(places.len());
    let mut units: Vec<u8> = Vec::new();
    for place in places {
        let channel = &options.channels[place];
        if !units.contains(&channel.unit) {
            units.push(channel.unit);
        }
        let joined = requests
            .last_mut()
            .is_some_and(|last| join(last, channel, options));
        if !joined {
            requests.push(Request {
                unit: channel.unit,
                unit_place: units.len() - 1,
                table: channel.table,
                at: channel.at,
                count: channel.count(),
                every: channel.every,
                reads: reads.len()..reads.len(),
            });
        }
        let Some(request) = requests.last_mut() else {
            continue;
        };
        reads.push(Read {
            channel: place,
            at: channel.at - request.at,
            is_coil: channel.table.is_bits(),
            scalar: channel.scalar,
            order: channel.order,
            scale: channel.scale,
            offset: channel.offset,
        });
        request.reads.end = reads.len();
    }
    (requests, reads)
}

/// Lets the request read the channel too, if that is allowed.
fn join(request: &mut Request, channel: &Channel, options: &Options) -> bool {
    let is_same = request.unit == channel.unit
        && request.table == channel.table
        && request.every == channel.every;
    let end = u32::from(request.at) + u32::from(request.count);
    let (from, to) = (
        u32::from(channel.at),
        u32::from(channel.at) + u32::from(channel.count()),
    );
    let most = if channel.table.is_bits() {
        options.bits_max
    } else {
        options.registers_max
    };
    let count = end.max(to) - u32::from(request.at);
    if !is_same || from > end + u32::from(options.gap_max) || count > u32::from(most) {
        return false;
    }
    // At most `most`.
    request.count = u16::try_from(count).unwrap_or(most);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::modbus::tests::{channel, options};

    fn asked(options: &Options) -> Vec<(u8, u16, u16)> {
        let (requests, reads) = plan(options);
        assert_eq!(reads.len(), options.channels.len());
        let asked = requests.iter().map(|r| (r.unit, r.at, r.count));
        asked.collect()
    }

    #[test]
    fn neighbours_are_read_together_and_holes_are_not_read_over_unless_allowed() {
        let mut bus = options(vec![
            channel(1, 10, Scalar::F32),
            channel(1, 12, Scalar::U16),
            channel(1, 15, Scalar::U16),
            channel(1, 9, Scalar::U16),
        ]);
        assert_eq!(asked(&bus), [(1, 9, 4), (1, 15, 1)]);
        bus.gap_max = 1;
        assert_eq!(asked(&bus), [(1, 9, 4), (1, 15, 1)]);
        bus.gap_max = 2;
        assert_eq!(asked(&bus), [(1, 9, 7)]);
    }

    #[test]
    fn a_request_is_no_longer_than_allowed_and_splits_no_value() {
        let mut bus = options((0..8).map(|n| channel(3, 2 * n, Scalar::F32)).collect());
        bus.registers_max = 5;
        assert_eq!(asked(&bus), [(3, 0, 4), (3, 4, 4), (3, 8, 4), (3, 12, 4)]);
    }

    #[test]
    fn units_tables_and_paces_are_asked_apart() {
        let mut slow = channel(1, 2, Scalar::U16);
        slow.every = 10;
        let mut input = channel(1, 1, Scalar::U16);
        input.table = Table::Input;
        let bus = options(vec![
            channel(2, 0, Scalar::U16),
            channel(1, 1, Scalar::U16),
            slow,
            input,
            channel(1, 1, Scalar::Bit(3)),
        ]);
        assert_eq!(asked(&bus), [(1, 1, 1), (1, 2, 1), (1, 1, 1), (2, 0, 1)]);
    }
}
