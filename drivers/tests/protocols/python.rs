//! Checksums against those that Python computes: `zlib`, `binascii`, and the package `crcmod` for what it can do. CRCs
//! whose width is not one of crcmod's, or whose two sides are reflected differently, are computed bit by bit there.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use kymo_drivers::protocol::Options;
use kymo_drivers::protocol::packet::{
    self, ByteOrder, Checksum, Field, Framing, Length, Scalar, checksum,
};

use crate::common::{python_with, whole};

/// Reads lines of `name width poly init refin refout xorout hex`, and prints each line's checksum.
const COMPUTE: &str = r#"
import binascii, sys, zlib
import crcmod

def reverse(value, bits):
    return int(format(value, f"0{bits}b")[::-1], 2)

def bitwise(data, width, poly, init, refin, refout, xorout):
    register, top, mask = init, 1 << (width - 1), (1 << width) - 1
    for byte in data:
        bits = format(byte, "08b")
        for bit in (reversed(bits) if refin else bits):
            out = bool(register & top) != (bit == "1")
            register = (register << 1) & mask
            if out:
                register ^= poly
    return (reverse(register, width) if refout else register) ^ xorout

def fletcher(values, modulus, shift):
    low = high = 0
    for value in values:
        low = (low + value) % modulus
        high = (high + low) % modulus
    return high << shift | low

def xor(data):
    result = 0
    for byte in data:
        result ^= byte
    return result

def words(data):
    data = data + bytes(len(data) % 2)
    return [data[i] | data[i + 1] << 8 for i in range(0, len(data), 2)]

SUMS = {
    "sum8": lambda d: sum(d) % 2**8,
    "sum16": lambda d: sum(d) % 2**16,
    "sum32": lambda d: sum(d) % 2**32,
    "lrc8": lambda d: -sum(d) % 2**8,
    "inverted8": lambda d: sum(d) % 2**8 ^ 0xFF,
    "xor8": xor,
    "fletcher16": lambda d: fletcher(d, 255, 8),
    "fletcher16-256": lambda d: fletcher(d, 256, 8),
    "fletcher32": lambda d: fletcher(words(d), 65535, 16),
    "adler32": zlib.adler32,
    "CRC-32/ISO-HDLC": zlib.crc32,
    "CRC-16/XMODEM": lambda d: binascii.crc_hqx(d, 0),
}
used = {"crcmod": 0, "bitwise": 0, "library": 0}
for line in sys.stdin:
    name, *numbers, data = line.split()
    data = bytes.fromhex(data)
    if name in SUMS:
        used["library"] += 1
        print(SUMS[name](data))
        continue
    width, poly, init, refin, refout, xorout = map(int, numbers)
    if width in (8, 16, 24, 32, 64) and refin == refout:
        # crcmod's start value is the catalogue's, turned round if reflected, with the last exclusive-or undone.
        start = (reverse(init, width) if refin else init) ^ xorout
        used["crcmod"] += 1
        print(crcmod.mkCrcFun(1 << width | poly, initCrc=start, rev=bool(refin), xorOut=xorout)(data))
    else:
        used["bitwise"] += 1
        print(bitwise(data, width, poly, init, refin, refout, xorout))
assert all(used.values()), used
"#;

/// Name and parameters, as the script reads them.
fn parameters(name: &str) -> String {
    let found = checksum::CRCS.iter().find(|(known, _)| *known == name);
    let Some((_, algorithm)) = found else {
        return format!("{name} 0 0 0 0 0 0");
    };
    macro_rules! of {
        ($a:expr) => {
            format!(
                "{name} {} {} {} {} {} {}",
                $a.width,
                $a.poly,
                $a.init,
                u8::from($a.refin),
                u8::from($a.refout),
                $a.xorout
            )
        };
    }
    match algorithm {
        checksum::CrcAlgorithm::U8(a) => of!(a),
        checksum::CrcAlgorithm::U16(a) => of!(a),
        checksum::CrcAlgorithm::U32(a) => of!(a),
        checksum::CrcAlgorithm::U64(a) => of!(a),
        checksum::CrcAlgorithm::U128(a) => of!(a),
    }
}

/// Bytes that differ from length to length.
fn body(length: usize) -> Vec<u8> {
    let byte =
        |index: usize| u8::try_from((index * 167 + length * 31 + index * index * 7) % 256).unwrap();
    (0..length).map(byte).collect()
}

#[test]
fn every_checksum_is_what_python_says() {
    const LENGTHS: [usize; 4] = [1, 7, 20, 61];
    let Some(python) = python_with("crcmod") else {
        return;
    };
    let cases: Vec<(&str, usize)> = checksum::names()
        .flat_map(|name| LENGTHS.map(|length| (name, length)))
        .collect();
    let mut asked = String::new();
    for (name, length) in &cases {
        let hex: String = body(*length)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        writeln!(asked, "{} {hex}", parameters(name)).unwrap();
    }
    let mut child = Command::new(python)
        .args(["-c", COMPUTE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut stdin = child.stdin.take().expect("it has a standard input");
    let writer = std::thread::spawn(move || stdin.write_all(asked.as_bytes()));
    let output = child.wait_with_output().expect("Python ends");
    writer.join().unwrap().expect("Python reads all of it");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).expect("numbers");
    let sums: Vec<u128> = said.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(sums.len(), cases.len());

    for ((name, length), sum) in cases.into_iter().zip(sums) {
        for order in [ByteOrder::Big, ByteOrder::Little] {
            assert_eq!(
                frames(name, order, length, sum),
                1,
                "{name} of {length} bytes is {sum:x}"
            );
            assert_eq!(frames(name, order, length, sum ^ 1), 0, "{name}");
        }
    }
}

/// How many frames come of one packet with this checksum behind it.
fn frames(name: &str, order: ByteOrder, length: usize, sum: u128) -> usize {
    let kind = checksum::by_name(name).unwrap();
    let width = i64::try_from(kind.width()).unwrap();
    let mut packet = vec![0xA7];
    packet.extend(body(length));
    let sum = &sum.to_be_bytes()[16 - kind.width()..];
    match order {
        ByteOrder::Big => packet.extend(sum),
        ByteOrder::Little => packet.extend(sum.iter().rev()),
    }
    let options = packet::Options {
        framing: Framing::Sync {
            bytes: vec![0xA7],
            length: Length::Fixed(packet.len()),
        },
        checksum: Some(Checksum {
            kind,
            from: 1,
            to: -width,
            at: -width,
            order,
        }),
        constants: Vec::new(),
        frames: 1,
        timestamp: None,
        counter: None,
        fields: vec![Field::new(1, Scalar::U8, order)],
    };
    whole(Options::Packet(options).build().unwrap(), &packet)
        .rows
        .len()
}
