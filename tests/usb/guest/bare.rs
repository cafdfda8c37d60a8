//! The limit: the same device read by a bare loop that does nothing with the bytes.

use std::time::{Duration, Instant};

use nusb::MaybeFuture;
use nusb::transfer::{Bulk, In, Out};

use super::{Result, ffs};

/// Bytes a second that come from the bulk device, with eight transfers of 16 KiB in flight.
pub(crate) fn bytes_per_s(serial: &str, endpoints: (u8, u8), length: Duration) -> Result<f64> {
    let mut devices = nusb::list_devices().wait()?;
    let found = devices.find(|device| device.serial_number() == Some(serial));
    let device = found.ok_or("the bulk device is not there")?.open().wait()?;
    let interface = device.claim_interface(0).wait()?;
    let mut incoming = interface.endpoint::<Bulk, In>(endpoints.0)?;
    let mut outgoing = interface.endpoint::<Bulk, Out>(endpoints.1)?;
    let told = outgoing.transfer_blocking(ffs::GO.to_vec().into(), Duration::from_secs(5));
    told.status?;
    for _ in 0..8 {
        let buffer = incoming.allocate(16 << 10);
        incoming.submit(buffer);
    }
    let started = Instant::now();
    let mut bytes = 0;
    while started.elapsed() < length {
        let done = incoming.wait_next_complete(Duration::from_secs(5));
        let done = done.ok_or("the bulk device has fallen silent")?;
        done.status?;
        bytes += done.actual_len;
        incoming.submit(done.buffer);
    }
    Ok(bytes as f64 / started.elapsed().as_secs_f64())
}

/// Takes what is still under way, so that the next reader begins at the front of a packet.
pub(crate) fn drain(serial: &str, endpoint: u8) -> Result<()> {
    let mut devices = nusb::list_devices().wait()?;
    let found = devices.find(|device| device.serial_number() == Some(serial));
    let device = found.ok_or("the bulk device is not there")?.open().wait()?;
    let interface = device.claim_interface(0).wait()?;
    let mut incoming = interface.endpoint::<Bulk, In>(endpoint)?;
    loop {
        let buffer = incoming.allocate(16 << 10);
        let done = incoming.transfer_blocking(buffer, Duration::from_millis(500));
        if done.actual_len == 0 {
            return Ok(());
        }
    }
}
