//! Binary messages of a receiver between its sentences, and any bytes at all.

#![no_main]

use kymo_drivers::protocol::ubx::{self, Field, Number, Value};
use kymo_drivers::protocol::{Options, nmea};
use kymo_fuzz::{Choices, account_messages, decode, receiver_rules};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (mut choices, stream) = Choices::split(data, 10);
    let rules = receiver_rules(&mut choices, &["RMC", "NAV-PVT", "NAV-EOE", "NAV-SAT"]);
    let names = [
        "RMC.time",
        "GGA.altitude",
        "GSV.in_view",
        "NAV-PVT.utc",
        "NAV-PVT.latitude",
        "NAV-PVT.variation",
        "NAV-TIMEUTC.date",
        "NAV-DOP.hdop",
    ];
    let fields = (0..1 + choices.below(4)).map(|_| {
        let (message, quantity) = choices
            .one_of(&names)
            .split_once('.')
            .expect("a name has a dot");
        let (message, quantity) = (message.to_owned(), quantity.to_owned());
        if message.contains('-') {
            let value = Value::Quantity(quantity);
            return Field::Message { message, value };
        }
        Field::Sentence(nmea::Field {
            sentence: message,
            value: nmea::Value::Quantity(quantity),
        })
    });
    let mut fields: Vec<Field> = fields.collect();
    if choices.flag() {
        fields.push(Field::Message {
            message: choices.one_of(&["0A 09", "NAV-SAT", "01 61"]).to_owned(),
            value: Value::At {
                at: choices.below(20),
                number: choices.one_of(&[Number::U1, Number::I2, Number::U4, Number::R8]),
                bits: choices.one_of(&[None, Some((3, 2)), Some((0, 8))]),
                scale: 0.5,
            },
        });
    }
    let piece = 1 + choices.below(64);
    let room = 1 + choices.below(9);
    let options = Options::Ubx(ubx::Options {
        fields,
        rules,
        payload_bytes_max: 8 + choices.below(200),
    });
    if let Some(decoded) = decode(&options, stream, piece, room) {
        account_messages(&decoded);
    }
});
