//! A driver made for the test answers where a pseudo-terminal has nothing to say.

use std::cell::{Cell, RefCell};

use super::super::ioctl::Settings;
use super::*;

#[derive(Default)]
struct Chip {
    counters: Cell<Counters>,
    has_lines: bool,
    has_settings: bool,
    orders: RefCell<Vec<String>>,
}

fn lacking() -> io::Error {
    rustix::io::Errno::NOTTY.into()
}

impl Chip {
    fn order(&self, is_there: bool, what: String) -> io::Result<()> {
        if !is_there {
            return Err(lacking());
        }
        self.orders.borrow_mut().push(what);
        Ok(())
    }
}

impl Driver for Chip {
    fn counters(&self) -> io::Result<Counters> {
        Ok(self.counters.get())
    }

    fn settings(&self) -> io::Result<Settings> {
        if self.has_settings {
            Ok(Settings::with_flags(0x40))
        } else {
            Err(lacking())
        }
    }

    fn set_settings(&self, settings: Settings) -> io::Result<()> {
        self.order(self.has_settings, format!("flags {:#x}", settings.flags))
    }

    fn raise(&self, lines: i32) -> io::Result<()> {
        self.order(self.has_lines, format!("raise {lines}"))
    }

    fn lower(&self, lines: i32) -> io::Result<()> {
        self.order(self.has_lines, format!("lower {lines}"))
    }
}

#[test]
fn what_was_counted_before_the_port_was_opened_is_not_counted_again() {
    let chip = Chip::default();
    let counted = |frame, overrun, parity, brk, buf_overrun| Counters {
        frame,
        overrun,
        parity,
        brk,
        buf_overrun,
        rx: 1000,
        ..Counters::default()
    };
    chip.counters.set(counted(7, 7, 7, 7, 7));
    let mut watch = Watch::over(&chip);
    assert!(watch.look_at(&chip).is_empty());
    chip.counters.set(counted(8, 9, 10, 11, 12));
    let errors = watch.look_at(&chip);
    let expected = [
        (LineError::Framing, 1),
        (LineError::Overrun, 2),
        (LineError::Parity, 3),
        (LineError::Break, 4),
        (LineError::BufferOverrun, 5),
    ];
    for (error, count) in expected {
        assert_eq!(errors.get(error), count, "{error:?}");
    }
    assert!(watch.look_at(&chip).is_empty(), "each is given out once");
}

#[test]
fn a_counter_that_goes_round_goes_on() {
    let chip = Chip::default();
    let at = |overrun| Counters {
        overrun,
        ..Counters::default()
    };
    chip.counters.set(at(i32::MAX));
    let mut watch = Watch::over(&chip);
    chip.counters.set(at(i32::MIN + 1));
    assert_eq!(watch.look_at(&chip).get(LineError::Overrun), 2);
    chip.counters.set(at(-1));
    watch.look_at(&chip);
    chip.counters.set(at(1));
    assert_eq!(watch.look_at(&chip).get(LineError::Overrun), 2);
}

#[test]
fn lines_are_raised_lowered_or_left() {
    let chip = Chip {
        has_lines: true,
        ..Chip::default()
    };
    let mut notes = Vec::new();
    let mut control = Control {
        dtr: Level::Off,
        rts: Level::On,
        ..Control::default()
    };
    control.set_lines(&chip, &mut notes);
    (control.dtr, control.rts) = (Level::Leave, Level::Leave);
    control.set_lines(&chip, &mut notes);
    assert_eq!(*chip.orders.borrow(), ["lower 2", "raise 4"]);
    assert!(notes.is_empty());
}

#[test]
fn a_port_without_lines_says_which_setting_it_does_not_support() {
    let control = Control {
        dtr: Level::On,
        rts: Level::Leave,
        ..Control::default()
    };
    let mut notes = Vec::new();
    control.set_lines(&Chip::default(), &mut notes);
    let [note] = &notes[..] else {
        panic!("{notes:?}");
    };
    assert!(
        note.starts_with("dtr is not supported by this port"),
        "{note}"
    );
}

#[test]
fn low_latency_keeps_the_driver_s_other_flags() {
    let chip = Chip {
        has_settings: true,
        ..Chip::default()
    };
    let nowhere = Path::new("/nowhere");
    assert_eq!(set_low_latency(&chip, nowhere, nowhere), None);
    assert_eq!(*chip.orders.borrow(), ["flags 0x2040"]);
}

#[test]
fn a_chip_with_a_latency_timer_has_it_set_through_the_port_s_link() {
    let folder = tempfile::tempdir().expect("a folder");
    let device = folder.path().join("ttyUSB7");
    let by_id = folder.path().join("by-id");
    std::fs::write(&device, "").expect("a file");
    std::os::unix::fs::symlink(&device, &by_id).expect("a link");
    let sys = folder.path().join("sys");
    let timer = sys.join("ttyUSB7/device/latency_timer");
    std::fs::create_dir_all(timer.parent().expect("a folder")).expect("folders");
    std::fs::write(&timer, "16\n").expect("a timer");
    assert_eq!(set_low_latency(&Chip::default(), &by_id, &sys), None);
    assert_eq!(std::fs::read_to_string(&timer).expect("it is there"), "1");
}

#[test]
fn a_port_with_neither_flag_nor_timer_does_not_support_low_latency() {
    let nowhere = Path::new("/nowhere");
    let note = set_low_latency(&Chip::default(), nowhere, nowhere).expect("a note");
    assert!(note.starts_with("low_latency is not supported"), "{note}");
}
