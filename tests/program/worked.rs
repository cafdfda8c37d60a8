//! The worked configurations of `docs/devices.md`, read out of it and run.

use kymo::pipeline::Report;

use super::far_end::FarEnd;
use super::lab::{Lab, Recorded, recorded, wait_until};

const PAGE: &str = include_str!("../../docs/devices.md");

/// The configuration under a heading, with a pseudo-terminal in the place of its port.
fn configuration(heading: &str, port: &FarEnd) -> String {
    let section = PAGE
        .split("\n## ")
        .find(|section| section.starts_with(heading))
        .expect("the page has the heading");
    let block = section.split("```toml\n").nth(1).expect("a configuration");
    let block = block.split("```").next().expect("its end");
    let (before, path) = block.split_once("path = \"").expect("a port");
    let (_, after) = path.split_once('"').expect("the end of the path");
    // The test is the device, and may be slower than any.
    let after = after.replace("cycle = \"200ms\"", "cycle = \"200ms\"\ntimeout = \"30s\"");
    format!("{before}path = \"{}\"{after}", port.path().display())
}

/// Has a device talk until so many frames have come.
fn run(heading: &str, frames: u64, talk: impl FnOnce(&FarEnd, &Lab)) -> (Recorded, Report) {
    let port = FarEnd::open();
    let mut lab = Lab::start(&configuration(heading, &port));
    lab.wait_for("connected");
    talk(&port, &lab);
    wait_until("the frames came", || lab.frames(0) >= frames);
    let (report, dir) = lab.stop();
    (recorded(&dir.path().join("data"), 0), report)
}

fn hex(text: &str) -> Vec<u8> {
    let bytes = text.split_whitespace();
    bytes
        .map(|byte| u8::from_str_radix(byte, 16).expect("two digits"))
        .collect()
}

#[test]
fn an_arduino_sketch_is_read() {
    let (found, report) = run("An Arduino sketch", 2, |port, _| {
        port.write(b"able_1:5,Variable_2:1000\r\n");
        port.write(b"Variable_1:512,Variable_2:1000\r\nVariable_1:1023,Variable_2:1000\r\n");
    });
    assert_eq!(found.columns, [vec![2.5, 1023.0 / 204.8], vec![1000.0; 2]]);
    assert_eq!(report.sources.0[0].1.corrupt_frames, 0);
}

#[test]
fn an_inertial_unit_is_read() {
    // The packet that the manual shows, section 4.3.
    let packet = hex("FA 01 08 00 93 50 2E 42 83 3E F1 3F 48 B5 04 BB 92 88");
    let (found, report) = run("An inertial unit", 2, |port, _| {
        port.write(&packet);
        port.write(&packet);
    });
    let near = |column: usize, value: f64| (found.columns[column][1] - value).abs() < 1e-3;
    assert!(
        near(0, 43.578) && near(1, 1.885) && near(2, -0.002),
        "{found:?}"
    );
    assert_eq!(report.sources.0[0].1.skipped_bytes, 0);
}

#[test]
fn a_gnss_receiver_is_read() {
    let (found, _) = run("A GNSS receiver", 1, |port, _| {
        port.write(b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n");
        port.write(b"$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A\r\n");
    });
    let row: Vec<f64> = found.columns.iter().map(|column| column[0]).collect();
    let utc = 764_426_119.0;
    let (latitude, longitude) = (48.0 + 7.038 / 60.0, 11.0 + 31.0 / 60.0);
    let speed = 22.4 * (1852.0 / 3600.0);
    assert_eq!(row, [utc, latitude, longitude, speed, 545.4, 8.0]);
}

#[test]
fn a_power_meter_is_read() {
    // Requests by the manual, and answers: 230.2 V, 1.5 A, -345.25 W.
    let dialogue = [
        ("01 04 00 00 00 02 71 CB", "01 04 04 43 66 33 34 1B 38"),
        ("01 04 00 06 00 02", "01 04 04 3F C0 00 00"),
        ("01 04 00 0C 00 02", "01 04 04 C3 AC A0 00"),
    ];
    let (found, report) = run("A power meter", 2, |port, lab| {
        while lab.frames(0) < 2 {
            let request = port.read_exactly(8);
            let (_, answer) = dialogue
                .iter()
                .find(|(asked, _)| request.starts_with(&hex(asked)))
                .unwrap_or_else(|| panic!("not in the manual: {request:02X?}"));
            let mut answer = hex(answer);
            if answer.len() == 7 {
                answer.extend(crc_modbus(&answer).to_le_bytes());
            }
            port.write(&answer);
            // The last answer of a round makes its frame.
            if request[3] == 12 {
                let before = lab.frames(0);
                wait_until("the round is a frame", || {
                    lab.frames(0) > before || before >= 2
                });
            }
        }
    });
    let values = [f64::from(f32::from_bits(0x4366_3334)), 1.5, -345.25];
    for (column, value) in found.columns.iter().zip(values) {
        assert_eq!(column[0], value);
    }
    assert_eq!(report.sources.0[0].1.corrupt_frames, 0);
}

/// CRC-16/MODBUS, bit by bit: polynomial A001 reflected, start FFFF.
fn crc_modbus(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0xA001 } else { 0 }
        })
    })
}

#[test]
fn a_bench_multimeter_is_read() {
    let (found, _) = run("A bench multimeter", 1, |port, lab| {
        assert_eq!(port.read_until(b"\n"), b"*IDN?\n");
        port.write(b"Agilent Technologies,34461A,MY53200001,A.02.08-02.37-02.08-00.49-01-01\n");
        assert_eq!(port.read_until(b"\n"), b"CONF:VOLT:DC 10\n");
        // Whether the meter took it.
        assert_eq!(port.read_until(b"\n"), b"SYST:ERR?\n");
        port.write(b"+0,\"No error\"\n");
        assert_eq!(port.read_until(b"\n"), b"READ?\n");
        port.write(b"+4.27150000E-03\n");
        wait_until("the value came", || lab.frames(0) >= 1);
    });
    assert_eq!(found.columns[0][0], 0.004_271_5);
}

#[test]
fn a_24_bit_adc_board_is_read() {
    let sample = |count: u8, first: [u8; 3], last: [u8; 3]| {
        let middle = [[count, 0xC0, 0x11]; 6].concat();
        [&[0xA0, count], &first[..], &middle, &last, &[0; 6], &[0xC0]].concat()
    };
    let (found, report) = run("A 24-bit ADC board", 3, |port, _| {
        port.write(&sample(254, [0, 0, 1], [0x80, 0, 0]));
        port.write(&sample(255, [0x7F, 0xFF, 0xFF], [0xFF, 0xFF, 0xFF]));
        // Sample 0 does not come.
        port.write(&sample(1, [0, 0, 2], [0, 1, 0]));
        port.write(&sample(2, [0, 0, 3], [0, 1, 1]));
    });
    let step = 2.235_174_445_530_706_3e-8;
    // The first has no `C0` before it that was seen.
    let steps = [[8_388_607.0, 2.0, 3.0], [-1.0, 256.0, 257.0]];
    for (column, steps) in found.columns.iter().zip(steps) {
        assert_eq!(*column, steps.map(|count| count * step));
    }
    assert!((found.columns[0][0] - 4.5 / 24.0).abs() < 1e-12);
    assert_eq!(report.sources.0[0].1.lost_by_device, 1);
}
