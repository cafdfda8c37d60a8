//! The bulk device read by hand: by a bare loop that does nothing with the bytes, and by Kymo's link alone.

use std::time::{Duration, Instant};

use kymo_drivers::link::find::Selector;
use kymo_drivers::link::{Link, Read, Stop, usb};
use nusb::MaybeFuture;
use nusb::transfer::{Bulk, In, Out};
use serde_json::{Value, json};

use super::ffs::{Device, GO};
use super::{Result, pause};

/// Nothing came for so long: the device has fallen silent.
const SILENCE: Duration = Duration::from_millis(500);

/// Bytes a second of a bare loop: the limit. Eight transfers of 16 KiB are in flight, as in Kymo's link.
pub(crate) fn limit(device: &Device, endpoints: (u8, u8), length: Duration) -> Result<f64> {
    let mut devices = nusb::list_devices().wait()?;
    let found = devices.find(|device| device.serial_number() == Some("BULK-1"));
    let opened = found.ok_or("the bulk device is not there")?.open().wait()?;
    let interface = opened.claim_interface(0).wait()?;
    let mut incoming = interface.endpoint::<Bulk, In>(endpoints.0)?;
    let mut outgoing = interface.endpoint::<Bulk, Out>(endpoints.1)?;
    let told = outgoing.transfer_blocking(GO.to_vec().into(), Duration::from_secs(5));
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
    let rate = bytes as f64 / started.elapsed().as_secs_f64();
    // What is still on its way, so that the next reader begins at the front of a packet.
    device.hush();
    while let Some(done) = incoming.wait_next_complete(SILENCE) {
        done.status?;
        incoming.submit(done.buffer);
    }
    Ok(rate)
}

/// The same of Kymo's link, and what it says of a device that is silent, deaf, or somebody else's.
pub(crate) fn link(device: &Device, endpoints: (u8, u8), length: Duration) -> Result<Value> {
    let selector = Selector {
        serial: Some("BULK-1".to_owned()),
        ..Selector::default()
    };
    let options = usb::Options {
        endpoint: endpoints.0,
        out_endpoint: Some(endpoints.1),
        ..usb::Options::new(selector)
    };
    let mut link = options.open()?;
    let taken = options.open().err().map(|error| error.to_string());
    let mut sender = link.sender().ok_or("it has an endpoint to send to")?;
    let stop = Stop::new()?;
    let quiet = link.read(&mut [0; 64], Some(SILENCE), &stop);
    sender.send(GO, Duration::from_secs(5))?;
    let mut buffer = vec![0; 64 << 10];
    let started = Instant::now();
    let mut bytes = 0;
    while started.elapsed() < length {
        bytes += read(&mut *link, &mut buffer, &stop)?;
    }
    let rate = bytes as f64 / started.elapsed().as_secs_f64();
    device.hush();
    while read(&mut *link, &mut buffer, &stop)? > 0 {}
    // One packet is taken by the read that the device waits in; it hears nothing of the others.
    device.be_deaf(true);
    let deaf = sender.send(&[b'.'; 4096], SILENCE);
    let deaf = deaf.err().map(|error| error.to_string());
    device.be_deaf(false);
    pause(SILENCE);
    stop.trigger();
    // The wait before may have been ended early by what had come before it.
    let stopped = link.read(&mut [0; 64], None, &stop);
    Ok(json!({
        "bytes_per_s": rate,
        "taken": taken,
        "quiet": format!("{quiet:?}"),
        "deaf": deaf,
        "stopped": format!("{stopped:?}"),
    }))
}

/// Bytes that came; 0 if none did for a while.
fn read(link: &mut dyn Link, buffer: &mut [u8], stop: &Stop) -> Result<usize> {
    let started = Instant::now();
    loop {
        match link.read(buffer, Some(SILENCE), stop) {
            Read::Data(count) => return Ok(count),
            // It may be early.
            Read::Quiet if started.elapsed() < SILENCE => {}
            Read::Quiet => return Ok(0),
            other => return Err(format!("{other:?}").into()),
        }
    }
}
