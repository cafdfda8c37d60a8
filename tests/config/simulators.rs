//! Simulated devices: what they measure, what goes wrong with them, and what is wrong in what is said of that.

use std::time::Duration;

use kymo::config::parse;
use kymo::config::plan::Playback;
use kymo_simulators::{
    Checksum, Fault, FaultKind, Form, Options, Rhythm, Scalar, Signal, Then, When,
};

use super::said;

const SOURCE: &str = "[source.s]\nlink = { type = \"stdin\" }\nprotocol = { type = \"lines\" }\n\
                      [[source.s.channel]]\nname = \"a\"\n";

fn devices(text: &str) -> Vec<Options> {
    let text = format!("{SOURCE}{text}");
    let plan = parse("lab.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    plan.simulators
}

#[test]
fn a_generic_device_says_what_is_declared() {
    let devices = devices(
        r#"
[simulator.rig]
device = "packets"
rate_hz = 500
sync = "A5 5A"
counter = "u8"
order = "big"
checksum = "CRC-32/ISO-HDLC"
truth = "/tmp/rig.jsonl"
frames = 1000
when_full = "drop"
commands = { start = "GO\n", stop = { hex = "03" }, answers = [{ ask = "ID?\n", say = "RIG\n" }] }

[[simulator.rig.channel]]
name = "level"
type = "i16"
scale = 0.01
offset = 2
signal = [{ type = "sine", hz = 2, amplitude = 3, phase = 0.5 }, { type = "walk", step = 0.1 }]

[simulator.scale]
device = "lines"

[[simulator.scale.channel]]
signal = { type = "constant", value = 5 }
decimals = 1
"#,
    );
    let [rig, scale] = &devices[..] else {
        panic!("two: {devices:?}");
    };
    let generic = rig.generic.as_ref().expect("it is generic");
    let form = Form::Packets {
        sync: vec![0xA5, 0x5A],
        counter: 1,
        checksum: Checksum::named("CRC-32/ISO-HDLC"),
        is_big_endian: true,
    };
    assert_eq!(generic.form, form);
    let channel = &generic.channels[0];
    assert_eq!(
        (channel.scalar, channel.scale, channel.offset),
        (Scalar::I16, 0.01, 2.0)
    );
    let sine = Signal::Sine {
        hz: 2.0,
        amplitude: 3.0,
        phase: 0.5,
    };
    assert_eq!(channel.signal, [sine, Signal::Walk { step: 0.1 }]);
    assert_eq!((rig.rate_hz, rig.frames), (Some(500.0), Some(1000)));
    let log = rig.truth.as_ref().expect("it is logged");
    assert_eq!(
        (log.file.to_str(), log.values),
        (Some("/tmp/rig.jsonl"), None)
    );
    assert_eq!(rig.commands.start.as_deref(), Some(&b"GO\n"[..]));
    assert_eq!(rig.commands.stop.as_deref(), Some(&[3][..]));
    assert_eq!(
        rig.commands.answers,
        [(b"ID?\n".to_vec(), b"RIG\n".to_vec())]
    );
    assert_eq!(scale.sent(0, 7), Some(5.0));
}

#[test]
fn what_is_played_back_is_named_and_not_yet_read() {
    let text = format!(
        "{SOURCE}[simulator.a]\ndevice = \"lines\"\n[[simulator.a.channel]]\n\
         signal = [{{ type = \"white\" }}, {{ type = \"playback\", file = \"/nowhere.csv\", column = \"t\", then = \"end\" }}]\n"
    );
    let plan = parse("lab.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let playback = Playback {
        simulator: 0,
        channel: 0,
        part: 1,
        file: "/nowhere.csv".into(),
        column: "t".to_owned(),
    };
    assert_eq!(plan.playbacks, [playback]);
    let generic = plan.simulators[0].generic.as_ref().expect("it is generic");
    let Signal::Playback { values, then } = &generic.channels[0].signal[1] else {
        panic!("{generic:?}");
    };
    assert_eq!((values.len(), *then), (0, Then::End));
    let error = kymo::playback::devices(&plan).expect_err("there is no such file");
    assert!(
        error
            .to_string()
            .starts_with("cannot play back `t` of /nowhere.csv"),
        "{error}"
    );
}

#[test]
fn faults_come_at_times_by_chance_or_with_a_probability() {
    let devices = devices(
        r#"
[simulator.imu]
device = "inertial-unit"
fault = [
    { kind = "byte_loss", probability = 0.001 },
    { kind = "bit_flips", at = "1s", every = "2s", bytes = 3 },
    { kind = "doubled_bytes", every = "5s", duration = "100ms", probability = 0.5 },
    { kind = "burst", mean_every = "10s" },
    { kind = "clock_drift", at = "1min", ppm = -50 },
    { kind = "disconnect", at = "3s", duration = "1s" },
]
"#,
    );
    let (s, ms) = (Duration::from_secs, Duration::from_millis);
    let fault = |kind, when| Fault { kind, when };
    let every_five = Rhythm::Every(s(5), s(5));
    assert_eq!(
        devices[0].faults,
        [
            fault(FaultKind::ByteLoss(1), When::Always(0.001)),
            fault(
                FaultKind::BitFlips(3),
                When::Each(Rhythm::Every(s(1), s(2)))
            ),
            fault(
                FaultKind::DoubledBytes(1),
                When::Within(every_five, ms(100), 0.5)
            ),
            fault(FaultKind::Burst(32), When::Each(Rhythm::MeanEvery(s(10)))),
            fault(
                FaultKind::ClockDrift(-50.0, None),
                When::Each(Rhythm::At(s(60)))
            ),
            fault(FaultKind::Disconnect(s(1)), When::Each(Rhythm::At(s(3)))),
        ]
    );
}

#[test]
fn every_mistake_of_a_simulator_is_told_at_once() {
    let text = format!("{SOURCE}{}", include_str!("wrong-simulators.toml"));
    insta::assert_snapshot!(said(&text));
}

const PAGE: &str = include_str!("../../docs/simulators.md");

/// The page's configurations: what is indented by four spaces.
fn examples() -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in PAGE.lines() {
        match line.strip_prefix("    ") {
            Some(code) => {
                if let Some(block) = blocks.last_mut() {
                    block.push_str(code);
                    block.push('\n');
                }
            }
            // An empty line does not end a block.
            None if line.is_empty() => {}
            None => blocks.push(String::new()),
        }
    }
    blocks.retain(|block| block.contains("\ndevice = "));
    blocks
}

#[test]
fn the_pages_examples_are_right_and_it_names_everything_there_is() {
    let examples = examples();
    assert_eq!(examples.len(), 3);
    for example in &examples {
        parse("docs/simulators.md", example).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    }
    let names = kymo_simulators::FAULTS.into_iter();
    let names = names
        .chain(kymo_simulators::GENERIC)
        .chain(kymo_simulators::DEVICES.iter().map(|kind| kind.name))
        .chain(kymo_simulators::POLLED.iter().map(|kind| kind.name))
        .chain(kymo_simulators::SCALARS.iter().map(|(name, _)| *name));
    for name in names {
        assert!(PAGE.contains(&format!("`{name}`")), "{name}");
    }
    for checksum in kymo_simulators::CHECKSUMS {
        assert!(PAGE.contains(checksum.name), "{}", checksum.name);
    }
}
