//! Any bytes at any time for protocols that ask: they neither break, nor keep more than they may, nor turn for ever.

#![no_main]

use std::time::Duration;

use kymo_drivers::frames::Frames;
use kymo_drivers::protocol::modbus::{self, Framing, Order, Scalar, Table};
use kymo_drivers::protocol::scpi::{self, Identity, Sample, Waveform};
use kymo_drivers::protocol::{Options, Protocol};
use kymo_fuzz::Choices;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (mut choices, mut stream) = Choices::split(data, 12);
    let options = if choices.flag() {
        Options::Modbus(bus(&mut choices))
    } else {
        Options::Scpi(instrument(&mut choices))
    };
    let Ok(mut protocol) = options.build() else {
        return;
    };
    let room = 1 + choices.below(9);
    let mut out = Frames::with_capacity(protocol.channels(), room);
    let (mut buffer, mut now_ns) = (Vec::new(), 0);
    protocol.reset();
    // Each piece: milliseconds that pass, a length, bytes.
    while let [wait, length, rest @ ..] = stream {
        now_ns += i64::from(*wait) * 1_000_000;
        let (piece, behind) = rest.split_at(rest.len().min(usize::from(*length)));
        buffer.extend_from_slice(piece);
        stream = behind;
        turn(&mut *protocol, now_ns, &mut buffer, &mut out);
    }
});

fn turn(protocol: &mut dyn Protocol, now_ns: i64, buffer: &mut Vec<u8>, out: &mut Frames) {
    let mut message = Vec::new();
    for _ in 0..64 {
        protocol.poll(now_ns, &mut message);
        loop {
            let used = protocol.decode(buffer, out);
            assert!(used <= buffer.len());
            assert!(out.ends().iter().all(|end| *end as usize <= used));
            let is_full = out.is_full();
            buffer.drain(..used);
            out.clear();
            if !is_full {
                break;
            }
        }
        assert!(buffer.len() <= protocol.tail_max());
        while let Some(what) = protocol.told() {
            assert!(what.len() < 1000);
        }
        if protocol
            .poll(now_ns, &mut message)
            .is_none_or(|due| due > now_ns)
        {
            assert!(message.len() < 64 * 64);
            return;
        }
    }
    panic!("it turns and turns, and no time passes");
}

fn bus(choices: &mut Choices<'_>) -> modbus::Options {
    let framing = if choices.flag() {
        Framing::Tcp
    } else {
        Framing::Rtu {
            silence: Duration::from_millis(2),
            ns_per_byte: 0.0,
        }
    };
    let scalar = choices.one_of(&[Scalar::U16, Scalar::F32, Scalar::I64, Scalar::Bit(3)]);
    let channel = |unit: u8, at: u16| modbus::Channel {
        unit,
        table: Table::Holding,
        at,
        scalar,
        order: Order::big(scalar.bytes()),
        scale: 1.0,
        offset: 0.0,
        every: 1,
    };
    modbus::Options {
        framing,
        cycle: Duration::from_millis(50),
        timeout: Duration::from_millis(20),
        retries: u8::from(choices.flag()),
        gap_max: 4,
        registers_max: 8,
        bits_max: 16,
        backoff_first: Duration::from_millis(10),
        backoff_max: Duration::from_millis(100),
        channels: vec![channel(1, 0), channel(1, 4), channel(1, 40), channel(3, 0)],
    }
}

fn instrument(choices: &mut Choices<'_>) -> scpi::Options {
    let query = |ask: &str| scpi::Query {
        ask: ask.to_owned(),
        every: 1,
    };
    let channel = |query, value| scpi::Channel {
        query,
        value,
        scale: 1.0,
        offset: 0.0,
    };
    let is_waveform = choices.flag();
    let identity = choices.one_of(&[Identity::Any, Identity::NotAsked]);
    scpi::Options {
        cycle: Duration::from_millis(50),
        timeout: Duration::from_millis(20),
        backoff_first: Duration::from_millis(10),
        backoff_max: Duration::from_millis(100),
        terminator: "\n".to_owned(),
        identity,
        start: vec!["*RST".to_owned()],
        pause: Duration::ZERO,
        errors: choices.flag().then(|| "SYST:ERR?".to_owned()),
        queries: if is_waveform {
            vec![query("CURV?")]
        } else {
            vec![query("A?"), query("B?")]
        },
        channels: if is_waveform {
            vec![channel(0, 0)]
        } else {
            vec![channel(0, 0), channel(1, 1)]
        },
        waveform: is_waveform.then(|| Waveform {
            sample: choices.one_of(&[Sample::I16, Sample::F64, Sample::U8]),
            is_big_endian: choices.flag(),
            sample_rate_hz: 1e6,
            samples_max: 100_000,
        }),
    }
}
