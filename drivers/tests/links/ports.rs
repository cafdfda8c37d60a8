//! What a serial port is set to. A pseudo-terminal takes every rate and has no lines, no counters and no driver's
//! flags: that it says so is tested here, what is done with a port that has them beside the orders themselves.

use kymo_drivers::link::serial::{Control, FlowControl, Level, Options, Parity, Serial};
use kymo_drivers::link::{Link, Noticed};
use rustix::termios::{ControlModes, InputModes, tcgetattr};

use super::kinds::Pty;

fn set(change: impl FnOnce(&mut Options)) -> (Pty, Serial) {
    let pty = Pty::new();
    let mut options = Options::new(&pty.path, 115_200);
    change(&mut options);
    let link = Serial::open(&options).unwrap();
    (pty, link)
}

#[test]
fn every_rate_is_set_standard_or_not() {
    for baud in [
        50, 300, 1200, 9600, 31_250, 74_880, 123_457, 250_000, 921_600, 1_500_000, 3_000_000,
        12_000_000,
    ] {
        // HUPCL is set after the rate, by an order that sets the rate once more: it must not change it.
        for hang_up in [None, Some(true), Some(false)] {
            let (_pty, link) = set(|options| {
                (options.baud, options.control.hang_up) = (baud, hang_up);
            });
            let settings = tcgetattr(&link).unwrap();
            assert_eq!(settings.input_speed(), baud);
            assert_eq!(settings.output_speed(), baud);
            if let Some(hang_up) = hang_up {
                assert_eq!(
                    settings.control_modes.contains(ControlModes::HUPCL),
                    hang_up
                );
            }
        }
    }
}

#[test]
fn the_line_is_set_as_declared() {
    let (_pty, link) = set(|options| {
        (options.data_bits, options.parity) = (7, Parity::Odd);
        (options.stop_bits, options.flow_control) = (2, FlowControl::Hardware);
    });
    let modes = tcgetattr(&link).unwrap().control_modes;
    // A pseudo-terminal's driver takes eight bits without parity whatever it is told; the rest it keeps.
    for mode in [ControlModes::CSTOPB, ControlModes::CRTSCTS] {
        assert!(modes.contains(mode), "{mode:?} of {modes:?}");
    }
    let (_pty, link) = set(|options| options.flow_control = FlowControl::Software);
    let settings = tcgetattr(&link).unwrap();
    assert!(
        settings
            .input_modes
            .contains(InputModes::IXON | InputModes::IXOFF)
    );
    assert!(!settings.control_modes.contains(ControlModes::CRTSCTS));
}

#[test]
fn what_a_port_does_not_support_is_told_once_and_it_works_without() {
    let (_pty, mut link) = set(|options| {
        options.control = Control {
            dtr: Level::Off,
            rts: Level::On,
            hang_up: Some(false),
            low_latency: true,
        };
    });
    let notes = link.noticed().notes;
    let names: Vec<&str> = notes
        .iter()
        .filter_map(|note| note.split(" is not supported by this port").next())
        .collect();
    assert_eq!(names, ["dtr", "rts", "low_latency"], "{notes:?}");
    assert_eq!(link.noticed(), Noticed::default());
    assert!(!link.watches(), "it has no counters");
}

#[test]
fn a_port_that_is_asked_for_nothing_has_nothing_to_tell() {
    let (_pty, mut link) = set(|_| {});
    assert_eq!(link.noticed(), Noticed::default());
}
