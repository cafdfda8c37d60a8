//! Frames byte by byte, as declared.

use super::*;

fn channel(signal: Signal, scalar: Scalar, scale: f64) -> Channel {
    Channel {
        name: "a".to_owned(),
        signal: vec![signal],
        scalar,
        scale,
        offset: 0.0,
        decimals: 2,
    }
}

fn device(form: Form) -> Generic {
    let ramp = Signal::Ramp {
        from: -1.0,
        to: 1.0,
        period_s: 0.02,
    };
    Generic {
        form,
        channels: vec![
            channel(ramp, Scalar::I16, 0.01),
            channel(Signal::Counter, Scalar::U24, 1.0),
        ],
    }
}

fn sent(form: Form, index: u64) -> Vec<u8> {
    let mut out = Vec::new();
    Sender::new(device(form), 100.0, 0).frame(index, &mut out);
    out
}

#[test]
fn a_line_is_printed_as_declared() {
    let lines = |names| Form::Lines {
        separator: "; ".to_owned(),
        start: "> ".to_owned(),
        end: "\r\n".to_owned(),
        names,
    };
    assert_eq!(sent(lines(false), 0), b"> -1.00; 0.00\r\n");
    assert_eq!(sent(lines(true), 1), b"> a=0.00; a=1.00\r\n");
    assert_eq!(device(lines(false)).sent(0, 0, 100.0, 0), Some(-1.0));
    assert_eq!(device(lines(false)).sent(2, 0, 100.0, 0), None);
}

#[test]
fn a_packet_is_laid_out_as_declared() {
    let packets = |sync: &[u8], is_big_endian| Form::Packets {
        sync: sync.to_vec(),
        counter: 2,
        checksum: Checksum::named("sum8"),
        is_big_endian,
    };
    // -100 is FF9C; counter 258, and the same in 24 bits.
    let little = [0xAA, 0x55, 0x02, 0x01, 0x9C, 0xFF, 0x02, 0x01, 0x00, 0xA1];
    assert_eq!(sent(packets(&[0xAA, 0x55], false), 258), little);
    let big = [0xAA, 0x55, 0x01, 0x02, 0xFF, 0x9C, 0x00, 0x01, 0x02, 0xA1];
    assert_eq!(sent(packets(&[0xAA, 0x55], true), 258), big);
    let stuffed = [7, 0x02, 0x01, 0x9C, 0xFF, 0x02, 0x01, 2, 0xA1, 0];
    assert_eq!(sent(packets(&[], false), 258), stuffed);
    let generic = device(packets(&[], false));
    assert_eq!(generic.sent(0, 258, 100.0, 0), Some(-100.0));
}

#[test]
fn a_sentence_ends_with_its_checksum() {
    let address = "PKYMO".to_owned();
    // The exclusive-or of `PKYMO,-1.00,0.00`, by hand: 0x4B.
    let expected = b"PKYMO,-1.00,0.00"
        .iter()
        .fold(0, |sum: u8, byte| sum ^ byte);
    let line = format!("$PKYMO,-1.00,0.00*{expected:02X}\r\n");
    assert_eq!(sent(Form::Sentences { address }, 0), line.as_bytes());
}

#[test]
fn a_number_that_does_not_fit_is_the_nearest_that_does() {
    assert_eq!(Scalar::U8.nearest(-3.0), 0.0);
    assert_eq!(Scalar::I8.nearest(1e9), 127.0);
    assert_eq!(Scalar::I24.nearest(f64::NEG_INFINITY), -8_388_608.0);
    assert_eq!(Scalar::U32.nearest(f64::NAN), 0.0);
    assert_eq!(Scalar::I24.bytes(-2.0), [0xFE, 0xFF, 0xFF]);
    for (_, scalar) in SCALARS {
        assert_eq!(scalar.bytes(1.0).len(), scalar.width());
    }
}

#[test]
fn registers_are_read_and_what_is_not_there_is_refused() {
    let mut answerer = Answerer::new(device(Form::Registers { unit: 7 }), 100.0, 0);
    let mut ask = |from: u8, count: u8, unit: u8| {
        let mut request = vec![unit, 3, 0, from, 0, count];
        seal(&mut request);
        let mut out = Vec::new();
        let heard = answerer.hear(&request, &mut out);
        (heard, out)
    };
    let (heard, out) = ask(0, 3, 7);
    assert_eq!(heard, Heard::Request(8));
    assert_eq!(out[..9], [7, 3, 6, 0xFF, 0x9C, 0, 0, 0, 0]);
    assert_eq!(crc16_modbus(&out), 0);
    // The next reading: the ramp is at 0, the count is 1.
    assert_eq!(ask(0, 3, 7).1[3..9], [0, 0, 0, 0, 0, 1]);
    assert_eq!(ask(0, 4, 7).1[..3], [7, 0x83, 2]);
    assert_eq!(ask(0, 1, 8), (Heard::Nothing(8), Vec::new()));
}

#[test]
fn an_instrument_says_who_it_is_and_what_it_measures() {
    let form = Form::Instrument {
        identity: "KYMO,RIG,1,1.0".to_owned(),
        query: "READ?".to_owned(),
    };
    let mut answerer = Answerer::new(device(form), 100.0, 0);
    let mut ask = |command: &[u8]| {
        let mut out = Vec::new();
        answerer.hear(command, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    };
    assert_eq!(ask(b"*idn?\r\n"), "KYMO,RIG,1,1.0\n");
    assert_eq!(ask(b"READ?\n"), "-1.00,0.00\n");
    assert_eq!(ask(b"READ?\n"), "0.00,1.00\n");
    assert_eq!(ask(b"NONSENSE\n"), "");
    assert_eq!(ask(b"REA"), "");
}
