//! `time = "raw"` or `"fitted"` of a source: how its frames are dated.

use kymo_drivers::block::Priority;

use super::plan::Channel;
use super::protocol::{Protocol, Timing};
use super::section::{At, Section};
use super::values::{Wrong, choice, flag};
use crate::acquire::TimeOptions;
use crate::stage::calibrate::Calibration;

/// The channel of `keep_raw_time`.
const OFFSET_NAME: &str = "host_offset";

/// How the source's frames are dated; and its channels, with one more where raw times are kept.
///
/// Fitted is the default only where the device says the time itself: a nominal rate may be a rough figure, and a
/// device that sends when it likes has no pace.
pub(super) fn read(
    section: &Section<'_>,
    protocol: Option<&Protocol>,
    rate_hz: Option<&At<f64>>,
    priority: Priority,
    mut channels: Option<Vec<Channel>>,
) -> (TimeOptions, Option<Vec<Channel>>) {
    let time = section.get("time", choice(&[("raw", false), ("fitted", true)]));
    let keep = section.get("keep_raw_time", flag);
    let timing = protocol.map_or_else(Timing::default, |protocol| protocol.timing);
    let fitted = match &time {
        Some(time) => time.value,
        None => timing.ticks.is_some(),
    };
    // Of a protocol that is wrong itself it is not known what it would have said of the time.
    if let Some(time) = &time
        && fitted
        && protocol.is_some()
        && timing.ticks.is_none()
        && !section.has("rate_hz")
    {
        let mut wrong = Wrong::new(
            "is \"fitted\", and nothing says what pace the device has",
            "nothing to fit",
        );
        wrong.help = Some(
            "add `rate_hz`, or the `timestamp` of a packet: the pace is found from there"
                .to_owned(),
        );
        section.wrong("time", time.span.clone(), &wrong);
    }
    if timing.frames_per_packet > 1 && !section.has("rate_hz") {
        let help = "the frames of one packet are dated 1 / rate_hz apart";
        section.missing("rate_hz", Some(help));
    }
    if let Some(keep) = keep.as_ref().filter(|keep| keep.value && !fitted) {
        let wrong = Wrong::new(
            "is true, and times are the raw ones",
            "needs time = \"fitted\"",
        );
        section.wrong("keep_raw_time", keep.span.clone(), &wrong);
    }
    let mut offset_column = None;
    if let Some((keep, channels)) = keep.filter(|keep| keep.value).zip(channels.as_mut()) {
        if channels.iter().any(|channel| channel.name == OFFSET_NAME) {
            let what = format!("adds the channel `{OFFSET_NAME}`, and there is one of that name");
            let wrong = Wrong::new(what, "two channels of one name");
            section.wrong("keep_raw_time", keep.span, &wrong);
        }
        // Behind those of the protocol: a raw value kept beside a calibrated one has the place of that.
        let place = channels.iter().map(|channel| channel.place + 1).max();
        let place = place.unwrap_or(0);
        offset_column = Some(place);
        channels.push(Channel {
            name: OFFSET_NAME.to_owned(),
            place,
            unit: "s".to_owned(),
            priority,
            calibration: Calibration::None,
            quantum: None,
        });
    }
    let options = TimeOptions {
        fitted,
        period_ns: rate_hz.map(|rate| 1e9 / rate.value),
        ticks: timing.ticks,
        frames_per_packet: timing.frames_per_packet,
        stamped_frame: timing.stamped_frame,
        offset_column,
    };
    (options, channels)
}
