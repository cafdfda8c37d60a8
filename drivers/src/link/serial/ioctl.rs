//! The orders to a serial port's driver that `rustix` has no function for.
//!
//! **Always holds.** All of this link's `unsafe` about orders is here; each opcode stands beside the type that the
//! kernel reads or writes for it, whose size is checked at compile time.
//!
//! **Must not know.** When they are given.

use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{Getter, Opcode, Setter, ioctl};

/// What the kernel counts of a port since its driver was loaded: `struct serial_icounter_struct` of
/// `linux/serial.h`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(dead_code)] // The kernel's layout, whoever reads it.
pub(super) struct Counters {
    pub(super) cts: i32,
    pub(super) dsr: i32,
    pub(super) rng: i32,
    pub(super) dcd: i32,
    pub(super) rx: i32,
    pub(super) tx: i32,
    pub(super) frame: i32,
    pub(super) overrun: i32,
    pub(super) parity: i32,
    pub(super) brk: i32,
    pub(super) buf_overrun: i32,
    pub(super) reserved: [i32; 9],
}

/// How a driver was set: `struct serial_struct` of `linux/serial.h`. Only its flags are changed here.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
#[allow(dead_code)] // The kernel's layout, whoever reads it.
pub(super) struct Settings {
    kind: i32,
    line: i32,
    port: u32,
    irq: i32,
    pub(super) flags: i32,
    xmit_fifo_size: i32,
    custom_divisor: i32,
    baud_base: i32,
    close_delay: u16,
    io_type: u8,
    reserved_char: u8,
    hub6: i32,
    closing_wait: u16,
    closing_wait2: u16,
    iomem_base: usize,
    iomem_reg_shift: u16,
    port_high: u32,
    iomap_base: usize,
}

#[cfg(test)]
impl Settings {
    /// Settings that hold nothing but flags.
    pub(super) fn with_flags(flags: i32) -> Self {
        Self {
            kind: 0,
            line: 0,
            port: 0,
            irq: 0,
            flags,
            xmit_fifo_size: 0,
            custom_divisor: 0,
            baud_base: 0,
            close_delay: 0,
            io_type: 0,
            reserved_char: 0,
            hub6: 0,
            closing_wait: 0,
            closing_wait2: 0,
            iomem_base: 0,
            iomem_reg_shift: 0,
            port_high: 0,
            iomap_base: 0,
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Counters>() == 80 && size_of::<Settings>() == 72);

/// In [`Settings::flags`]: the driver hands bytes on at once.
pub(super) const LOW_LATENCY: i32 = 1 << 13;

/// The lines in a modem order's argument: `TIOCM_DTR`, `TIOCM_RTS` of `asm/termios.h`.
pub(super) const DTR: i32 = 0x002;
pub(super) const RTS: i32 = 0x004;

// `asm-generic/ioctls.h`: older than the scheme that puts sizes into opcodes. The few architectures that number
// them otherwise (MIPS, SPARC, PowerPC, Alpha) are none that Kymo is built for.
const TIOCMBIS: Opcode = 0x5416;
const TIOCMBIC: Opcode = 0x5417;
const TIOCGSERIAL: Opcode = 0x541E;
const TIOCSSERIAL: Opcode = 0x541F;
const TIOCGICOUNT: Opcode = 0x545D;

/// What can be asked of a port's driver; a test answers in a driver's place.
pub(super) trait Driver {
    fn counters(&self) -> io::Result<Counters>;
    fn settings(&self) -> io::Result<Settings>;
    fn set_settings(&self, settings: Settings) -> io::Result<()>;
    fn raise(&self, lines: i32) -> io::Result<()>;
    fn lower(&self, lines: i32) -> io::Result<()>;
}

/// The driver behind a descriptor.
pub(super) struct Kernel<D>(pub(super) D);

impl<D: AsFd> Driver for Kernel<D> {
    fn counters(&self) -> io::Result<Counters> {
        // SAFETY: for this opcode the kernel writes a `serial_icounter_struct`, which `Counters` is.
        Ok(unsafe { ioctl(&self.0, Getter::<TIOCGICOUNT, Counters>::new()) }?)
    }

    fn settings(&self) -> io::Result<Settings> {
        // SAFETY: for this opcode the kernel writes a `serial_struct`, which `Settings` is. It clears the whole of
        // it first, padding included.
        Ok(unsafe { ioctl(&self.0, Getter::<TIOCGSERIAL, Settings>::new()) }?)
    }

    fn set_settings(&self, settings: Settings) -> io::Result<()> {
        // SAFETY: for this opcode the kernel reads a `serial_struct`, which `Settings` is.
        Ok(unsafe { ioctl(&self.0, Setter::<TIOCSSERIAL, Settings>::new(settings)) }?)
    }

    fn raise(&self, lines: i32) -> io::Result<()> {
        // SAFETY: for this opcode the kernel reads an `int`.
        Ok(unsafe { ioctl(&self.0, Setter::<TIOCMBIS, i32>::new(lines)) }?)
    }

    fn lower(&self, lines: i32) -> io::Result<()> {
        // SAFETY: for this opcode the kernel reads an `int`.
        Ok(unsafe { ioctl(&self.0, Setter::<TIOCMBIC, i32>::new(lines)) }?)
    }
}
