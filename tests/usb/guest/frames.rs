//! What the devices send: packets of a sync word, a counter, values, and a checksum. The first value is the
//! packet's number again, the others are made of it.

/// Bytes of a packet of a serial sensor.
pub(crate) const SMALL: usize = 16;

/// Bytes of a packet of the bulk device.
pub(crate) const LARGE: usize = 64;

/// Bytes in front of the values: sync word and counter.
const HEAD: usize = 6;

/// Values in a packet of so many bytes.
pub(crate) fn values(packet_bytes: usize) -> usize {
    (packet_bytes - HEAD - 2) / 4
}

/// Writes packet `number` into all of `packet`.
pub(crate) fn write(packet: &mut [u8], number: u32) {
    let end = packet.len() - 2;
    packet[..2].copy_from_slice(&[0xA5, 0x5A]);
    packet[2..HEAD].copy_from_slice(&number.to_le_bytes());
    for (place, value) in packet[HEAD..end].chunks_exact_mut(4).enumerate() {
        let mixed = number.wrapping_mul(0x9E37_79B1).wrapping_add(place as u32) >> 8;
        let chosen = if place == 0 { number } else { mixed };
        value.copy_from_slice(&chosen.to_le_bytes());
    }
    let sum = crc(&packet[2..end]);
    packet[end..].copy_from_slice(&sum.to_le_bytes());
}

/// The same as Kymo's configuration.
pub(crate) fn protocol(packet_bytes: usize) -> String {
    format!(
        "protocol = {{ type = \"packet\", sync = \"A5 5A\", length = {packet_bytes}, \
         counter = {{ at = 2, type = \"u32\" }}, \
         checksum = {{ kind = \"CRC-16/MODBUS\", from = 2, to = -2, at = -2 }} }}\n"
    )
}

/// The channels of a source, `v0`, `v1` and so on.
pub(crate) fn channels(source: &str, packet_bytes: usize) -> String {
    let channel = |place: usize| {
        let at = HEAD + 4 * place;
        format!(
            "[[source.{source}.channel]]\nname = \"v{place}\"\nfield = {{ at = {at}, type = \"u32\" }}\n"
        )
    };
    (0..values(packet_bytes)).map(channel).collect()
}

/// CRC-16/MODBUS, bit by bit: the polynomial 0x8005, reflected, from 0xFFFF on.
fn crc(bytes: &[u8]) -> u16 {
    let mut sum = 0xFFFF;
    for byte in bytes {
        sum ^= u16::from(*byte);
        for _ in 0..8 {
            let carry = sum & 1;
            sum >>= 1;
            if carry == 1 {
                sum ^= 0xA001;
            }
        }
    }
    sum
}
