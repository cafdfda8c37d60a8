//! Sentences of a receiver, and any bytes at all.

#![no_main]

use kymo_drivers::protocol::Options;
use kymo_drivers::protocol::nmea::{self, Field, FieldKind, Value};
use kymo_fuzz::{Choices, account_messages, decode, receiver_rules};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (mut choices, stream) = Choices::split(data, 10);
    let rules = receiver_rules(&mut choices, &["RMC", "GSV", "VTG", "GPGLL"]);
    let names = [
        "RMC.utc",
        "RMC.latitude",
        "GGA.altitude",
        "GSA.used",
        "GSV.in_view",
        "GSV.snr_max",
        "GPGSV.tracked",
        "VTG.speed",
        "ZDA.date",
        "MWV.speed",
    ];
    let fields = (0..1 + choices.below(4)).map(|_| {
        let (sentence, quantity) = choices
            .one_of(&names)
            .split_once('.')
            .expect("a name has a dot");
        Field {
            sentence: sentence.to_owned(),
            value: Value::Quantity(quantity.to_owned()),
        }
    });
    let mut fields: Vec<Field> = fields.collect();
    if choices.flag() {
        fields.push(Field {
            sentence: choices
                .one_of(&["PUBX,00", "!AIVDM", "TXT", "PGRME"])
                .to_owned(),
            value: Value::At {
                index: 1 + choices.below(8),
                kind: choices.one_of(&[
                    FieldKind::Number,
                    FieldKind::Hexadecimal,
                    FieldKind::Time,
                    FieldKind::Equals("G3".to_owned()),
                ]),
                part: choices.one_of(&[None, Some(1), Some(2)]),
            },
        });
    }
    let piece = 1 + choices.below(64);
    let room = 1 + choices.below(9);
    let options = Options::Nmea(nmea::Options { fields, rules });
    if let Some(decoded) = decode(&options, stream, piece, room) {
        account_messages(&decoded);
    }
});
