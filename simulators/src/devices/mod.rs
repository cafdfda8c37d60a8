//! What the simulated devices send.
//!
//! What for: one file a device, and the list of them. A new one is a file and an entry of
//! [`DEVICES`].
//!
//! What always holds: a frame depends on its number, the rate and the seed alone, unless a test
//! holds the level; its values are those of the kind's [`DeviceKind::sent`].
//!
//! What it must not know: ports, clocks, threads.

mod adc;
pub(crate) mod generic;
mod gnss;
mod inertial;
mod multimeter;
mod power;
mod pressure;
mod thermocouple;
mod vibration;

/// A device at work: encodes its frames, one by one.
pub trait Device: Send {
    /// Frames a second.
    fn rate_hz(&self) -> f64;

    /// Appends frame number `index` as it goes over the wire.
    fn frame(&mut self, index: u64, out: &mut Vec<u8>);

    /// How many frames it has to send before it falls silent; `None`: no end of them.
    fn frames(&self) -> Option<u64> {
        None
    }

    /// Holds the quantity measured at a level from the next frame on, or lets it go. Answers
    /// whether this device can do that.
    fn set_level(&mut self, _level: Option<f64>) -> bool {
        false
    }
}

/// A kind of device.
#[derive(Debug)]
pub struct DeviceKind {
    /// The name for the configuration.
    pub name: &'static str,
    /// What it is, in one line.
    pub about: &'static str,
    /// Frames a second unless told otherwise.
    pub rate_hz: f64,
    /// Channels in a frame.
    pub channels: usize,
    /// Makes one that sends so many frames a second, with a seed.
    pub make: fn(rate_hz: f64, seed: u64) -> Box<dyn Device>,
    /// The raw value of a channel in a frame, exactly as sent: the integer, the `f32`, or the
    /// decimal number as printed.
    pub sent: fn(channel: usize, index: u64, rate_hz: f64, seed: u64) -> f64,
}

/// Every kind of device that sends by itself.
pub const DEVICES: &[DeviceKind] = &[
    pressure::KIND,
    inertial::KIND,
    thermocouple::KIND,
    vibration::KIND,
    gnss::KIND,
    adc::KIND,
];

/// What a device that answers heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Not enough yet to say.
    More,
    /// So many bytes that ask for no answer: noise, another device's request, a command.
    Nothing(usize),
    /// A request of so many bytes, which was answered.
    Request(usize),
}

/// A device that speaks only when it is asked.
pub trait Answering: Send {
    /// Looks at the front of what was heard, and appends the answer if a request stands there.
    fn hear(&mut self, heard: &[u8], out: &mut Vec<u8>) -> Heard;

    /// Makes an answer one that was not asked for, well formed in itself.
    fn disguise(&self, answer: &mut Vec<u8>);
}

/// A kind of device that answers.
#[derive(Debug)]
pub struct PolledKind {
    /// The name for the configuration.
    pub name: &'static str,
    /// What it is, in one line.
    pub about: &'static str,
    /// Values that it has.
    pub channels: usize,
    /// Makes one with a seed.
    pub make: fn(seed: u64) -> Box<dyn Answering>,
    /// The raw value of a channel at a count, exactly as sent.
    pub sent: fn(channel: usize, index: u64, seed: u64) -> f64,
}

/// Every kind of device that answers.
pub const POLLED: &[PolledKind] = &[power::KIND, multimeter::KIND];

/// The kind of this name that answers.
pub(crate) fn polled(name: &str) -> Option<&'static PolledKind> {
    POLLED.iter().find(|kind| kind.name == name)
}

/// The kind of this name.
pub(crate) fn kind(name: &str) -> Option<&'static DeviceKind> {
    DEVICES.iter().find(|kind| kind.name == name)
}

/// The raw value that a device sends: see [`DeviceKind::sent`]. `None`: there is no such device, or
/// it has no such channel.
///
/// An infinite rate means the value in a flood; a device that answers has no rate.
#[must_use]
pub fn expected(device: &str, channel: usize, index: u64, rate_hz: f64, seed: u64) -> Option<f64> {
    if let Some(kind) = polled(device) {
        return (channel < kind.channels).then(|| (kind.sent)(channel, index, seed));
    }
    let kind = kind(device).filter(|kind| channel < kind.channels)?;
    Some(if rate_hz.is_infinite() {
        (kind.sent)(channel, index % FLOOD_FRAMES, kind.rate_hz, seed)
    } else {
        (kind.sent)(channel, index, rate_hz, seed)
    })
}

/// Frames in a flood before it repeats: a full turn of a 16-bit counter, which stays in step.
const FLOOD_FRAMES: u64 = 1 << 16;

/// A flood: the first frames of a kind, encoded in advance, again and again.
pub(crate) struct Flood {
    bytes: Vec<u8>,
    /// Where each frame begins; one more at the end.
    starts: Vec<usize>,
}

impl Flood {
    pub(crate) fn new(kind: &DeviceKind, seed: u64) -> Self {
        let mut device = (kind.make)(kind.rate_hz, seed);
        let mut bytes = Vec::new();
        let mut starts = vec![0];
        for index in 0..FLOOD_FRAMES {
            device.frame(index, &mut bytes);
            starts.push(bytes.len());
        }
        Self { bytes, starts }
    }
}

impl Device for Flood {
    fn rate_hz(&self) -> f64 {
        f64::INFINITY
    }

    fn frame(&mut self, index: u64, out: &mut Vec<u8>) {
        let index = (index % FLOOD_FRAMES) as usize;
        out.extend_from_slice(&self.bytes[self.starts[index]..self.starts[index + 1]]);
    }
}

/// A full-scale fraction as a 16-bit integer.
fn to_i16(value: f64) -> i16 {
    // The cast saturates.
    value.round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_repeats_the_frames_of_its_device_with_the_counter_in_step() {
        for kind in DEVICES {
            let mut flood = Flood::new(kind, 3);
            let mut device = (kind.make)(kind.rate_hz, 3);
            for index in [0, 1, 77, 65_535] {
                let (mut plain, mut first, mut second) = (Vec::new(), Vec::new(), Vec::new());
                device.frame(index, &mut plain);
                flood.frame(index, &mut first);
                flood.frame(index + 3 * 65_536, &mut second);
                assert_eq!(plain, first, "{}", kind.name);
                assert_eq!(plain, second, "{}", kind.name);
            }
        }
    }

    #[test]
    fn names_are_unique_and_every_channel_has_a_value() {
        for (place, kind) in DEVICES.iter().enumerate() {
            assert!(DEVICES[..place].iter().all(|other| other.name != kind.name));
            for channel in 0..kind.channels {
                let value = expected(kind.name, channel, 5, kind.rate_hz, 1);
                assert!(value.is_some_and(f64::is_finite));
            }
            assert_eq!(expected(kind.name, kind.channels, 5, 1.0, 1), None);
        }
        assert_eq!(expected("teapot", 0, 0, 1.0, 0), None);
    }
}
