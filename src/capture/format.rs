//! What stands in a capture: topics, schemas, and how messages are made of what happened.
//!
//! **Always holds.** What is written reads back as the same. A name here is never changed, only added to.
//!
//! **Must not know.** Files and chunks.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The profile of the files.
pub const PROFILE: &str = "kymo";
/// The metadata record about the run.
pub const RUN: &str = "kymo.run";
/// The metadata record with the configuration.
pub const CONFIGURATION: &str = "kymo.configuration";
/// The metadata record with what is done to each channel.
pub const CALIBRATION: &str = "kymo.calibration";
/// The topic of the run's events.
pub const EVENTS: &str = "/events";

/// A source as a capture knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceInfo {
    /// Its name.
    pub name: String,
    /// Its link, in words.
    pub link: String,
    /// Whether what comes first over the link is the beginning of something, not the middle.
    pub starts_whole: bool,
}

/// What a capture says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Described {
    /// The run, and with it the capture: the same in all its files.
    pub run: String,
    /// When the run began, UTC ns.
    pub started_ns: i64,
    /// The host.
    pub host: String,
    /// The version of Kymo that recorded it.
    pub kymo: String,
    /// The configuration's text.
    pub configuration: String,
    /// What is done to each channel's value, by `source.channel`.
    pub calibration: BTreeMap<String, String>,
    /// Its sources.
    pub sources: Vec<SourceInfo>,
}

/// What became of a link, as a JSON message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum LinkChange {
    /// The device was opened.
    Opened {
        /// Time that one byte takes on the line, ns.
        ns_per_byte: f64,
        /// Whether each read brings one whole message.
        keeps_boundaries: bool,
    },
    /// The device was gone.
    Gone {
        /// What the link said.
        reason: String,
    },
    /// There was no more to come.
    Finished {
        /// What the link said.
        reason: String,
    },
    /// Kymo let go of the device, at the end of the run.
    Left,
    /// Here reads are missing: there was no room for them in the recording's buffer.
    NotRecorded {
        /// The first of them, UTC ns.
        from_ns: i64,
        /// The last of them.
        to_ns: i64,
        /// How many.
        reads: u64,
        /// Of how many bytes.
        bytes: u64,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// These bytes were read at once.
    Read(Bytes),
    /// These were sent to the device.
    Sent(Bytes),
    /// The link changed.
    Link(LinkChange),
    /// An event of the run, as JSON.
    Event(Bytes),
}

/// One message of a capture.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// When, UTC ns.
    pub time_ns: i64,
    /// Of which source, by its place; none of events.
    pub source: Option<usize>,
    /// What.
    pub what: What,
}

/// The kinds of topics of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    Read,
    Sent,
    Link,
}

impl Topic {
    pub(super) const ALL: [Self; 3] = [Self::Read, Self::Sent, Self::Link];

    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Sent => "sent",
            Self::Link => "link",
        }
    }

    /// The topic of a source.
    pub(super) fn of(self, source: &str) -> String {
        format!("/{source}/{}", self.name())
    }

    /// The source and the kind of a topic.
    pub(super) fn parse(topic: &str) -> Option<(&str, Self)> {
        let (source, kind) = topic.strip_prefix('/')?.rsplit_once('/')?;
        let kind = Self::ALL.into_iter().find(|topic| topic.name() == kind)?;
        Some((source, kind))
    }
}

/// Name, encoding and data of a schema.
pub(super) type Schema = (&'static str, &'static str, Vec<u8>);

pub(super) fn bytes_schema() -> Schema {
    ("kymo.Bytes", "protobuf", descriptor())
}

pub(super) fn link_schema() -> Schema {
    let text = r#"{"title":"kymo.Link","description":"What became of a source's link.","type":"object","required":["what"],"properties":{"what":{"type":"string","enum":["opened","gone","finished","left","not_recorded"]},"ns_per_byte":{"type":"number","description":"Time that one byte takes on the line, ns"},"keeps_boundaries":{"type":"boolean","description":"Whether each read brings one whole message"},"reason":{"type":"string"},"from_ns":{"type":"integer"},"to_ns":{"type":"integer"},"reads":{"type":"integer"},"bytes":{"type":"integer"}}}"#;
    ("kymo.Link", "jsonschema", text.into())
}

pub(super) fn event_schema() -> Schema {
    let text = r#"{"title":"kymo.Event","description":"What happened in the run: alerts, connections, notes.","type":"object","required":["event"],"properties":{"event":{"type":"string"},"source":{"type":["string","null"]},"time":{"type":"string","format":"date-time"},"text":{"type":"string"},"who":{"type":"string"}}}"#;
    ("kymo.Event", "jsonschema", text.into())
}

/// A field of protobuf's wire type 2 (length-delimited).
fn delimited(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    push_varint(content.len(), &mut out);
    out.extend_from_slice(content);
    out
}

/// The `FileDescriptorSet` of `package kymo; message Bytes { bytes data = 1; }`, syntax proto3.
fn descriptor() -> Vec<u8> {
    // FieldDescriptorProto: name 1, number 3, label 4 (1: optional), type 5 (12: bytes), json_name 10.
    let field = [
        &delimited(1, b"data")[..],
        &[3 << 3, 1, 4 << 3, 1, 5 << 3, 12],
        &delimited(10, b"data"),
    ];
    let message = [delimited(1, b"Bytes"), delimited(2, &field.concat())];
    let file = [
        delimited(1, b"kymo.proto"),
        delimited(2, b"kymo"),
        delimited(4, &message.concat()),
        delimited(12, b"proto3"),
    ];
    delimited(1, &file.concat())
}

#[allow(clippy::cast_possible_truncation)] // Seven bits.
fn push_varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends what stands before the bytes in a `kymo.Bytes` of so many.
pub(super) fn push_bytes_head(length: usize, out: &mut Vec<u8>) {
    out.push(1 << 3 | 2);
    push_varint(length, out);
}

/// The bytes of a `kymo.Bytes`; `None` if it is none. No bytes at all are an empty message, as protobuf has it.
pub(super) fn bytes_of(message: &Bytes) -> Option<Bytes> {
    if message.is_empty() {
        return Some(Bytes::new());
    }
    if message[0] != 1 << 3 | 2 {
        return None;
    }
    let mut length = 0_usize;
    for (place, byte) in message[1..].iter().take(5).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            let begin = place + 2;
            return (message.len() - begin == length).then(|| message.slice(begin..));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_length_are_read_back() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 300_000] {
            let mut message = Vec::new();
            push_bytes_head(length, &mut message);
            message.resize(message.len() + length, 0x5A);
            let read = bytes_of(&message.clone().into()).expect("it is one");
            assert_eq!(read.len(), length);
            message.push(0);
            assert_eq!(bytes_of(&message.into()), None);
        }
        assert_eq!(bytes_of(&Bytes::new()), Some(Bytes::new()));
        assert_eq!(
            bytes_of(&Bytes::from_static(&[10, 255, 255, 255, 255, 255])),
            None
        );
    }

    #[test]
    fn a_topic_is_read_back() {
        for topic in Topic::ALL {
            assert_eq!(Topic::parse(&topic.of("imu")), Some(("imu", topic)));
        }
        assert_eq!(Topic::parse(EVENTS), None);
        assert_eq!(Topic::parse("/imu/other"), None);
        assert_eq!(Topic::parse("imu"), None);
    }
}
