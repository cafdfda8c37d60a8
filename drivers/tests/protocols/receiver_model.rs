//! What begins at a place of a receiver's stream, told byte by byte.

use crate::common::Row;
use crate::encode::ubx_checksum;
use crate::kinds::{Kind, LINE_MAX, PAYLOAD_MAX};

#[derive(Debug)]
pub(crate) enum Found {
    /// Nobody knows before more has come.
    Short,
    Nothing,
    Damaged(usize),
    /// Its checksum is right, and what it says is not.
    Malformed(usize),
    /// Good, and nobody's.
    Other(usize),
    /// A frame: its bytes, its values, its time of day as it stands there.
    Frame(usize, Row, Option<String>),
}

pub(crate) fn look(kind: Kind, bytes: &[u8]) -> Found {
    match bytes[0] {
        b'$' | b'!' => sentence(kind, bytes),
        0xB5 if kind == Kind::Ubx => message(bytes),
        _ => Found::Nothing,
    }
}

fn sentence(kind: Kind, bytes: &[u8]) -> Found {
    let mut text = 1;
    while text < bytes.len() && text <= LINE_MAX && (b' '..=b'~').contains(&bytes[text]) {
        if bytes[text] == b'$' {
            break;
        }
        text += 1;
    }
    let mut name = 1;
    while name < text && bytes[name].is_ascii_alphanumeric() {
        name += 1;
    }
    // `$`, three to sixteen letters and digits, then a comma or an asterisk.
    let is_named = name < text && matches!(bytes[name], b',' | b'*') && (4..=17).contains(&name);
    let may_be_named = is_named || (name == text && name <= 17);
    if text == bytes.len() && text <= LINE_MAX {
        return if may_be_named {
            Found::Short
        } else {
            Found::Nothing
        };
    }
    if !is_named {
        return Found::Nothing;
    }
    if text > LINE_MAX {
        return Found::Damaged(text);
    }
    let length = match (bytes[text], bytes.get(text + 1)) {
        (b'\r', None) => return Found::Short,
        (b'\r', Some(b'\n')) => text + 2,
        (b'\r' | b'\n', _) => text + 1,
        _ => text,
    };
    let Ok(said) = std::str::from_utf8(&bytes[..text]) else {
        unreachable!("it is ASCII");
    };
    let said = said.trim_ascii_end();
    let Some((body, told)) = said[1..]
        .rsplit_once('*')
        .filter(|(_, told)| told.len() == 2)
    else {
        return Found::Damaged(length);
    };
    let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
    if !told.eq_ignore_ascii_case(&format!("{sum:02x}")) {
        return Found::Damaged(length);
    }
    let body = body.split('*').next().unwrap_or_default();
    let fields: Vec<&str> = body.split(',').map(str::trim_ascii).collect();
    let from = match kind {
        Kind::Sentence if bytes[0] == b'$' && fields[0] == "PTST" => 1,
        Kind::Epoch if bytes[0] == b'$' && fields[0] == "GPRMC" => 2,
        _ => return Found::Other(length),
    };
    let number = |index: usize| match fields.get(from + index) {
        None | Some(&"") => Some(f64::NAN),
        Some(text) if text.contains(|c: char| c.is_ascii_alphabetic()) => None,
        Some(text) => text.parse().ok(),
    };
    let values: Option<Vec<f64>> = (0..3).map(number).collect();
    let time = (from == 2).then(|| fields[1].to_owned());
    values.map_or(Found::Malformed(length), |values| {
        Found::Frame(length, Row(values), time)
    })
}

fn message(bytes: &[u8]) -> Found {
    if bytes.len() == 1 {
        return Found::Short;
    }
    if bytes[1] != 0x62 {
        return Found::Nothing;
    }
    if bytes.len() < 6 {
        return Found::Short;
    }
    let payload = usize::from(bytes[4]) + 256 * usize::from(bytes[5]);
    if payload > PAYLOAD_MAX {
        return Found::Nothing;
    }
    let length = 6 + payload + 2;
    if bytes.len() < length {
        return Found::Short;
    }
    if ubx_checksum(&bytes[2..length - 2]) != bytes[length - 2..length] {
        return Found::Damaged(length);
    }
    if bytes[2..4] != [0x0A, 0x01] {
        return Found::Other(length);
    }
    let number = |at: usize| {
        let end = at + 2;
        if end > payload {
            return f64::NAN;
        }
        f64::from(i16::from_le_bytes([bytes[6 + at], bytes[7 + at]]))
    };
    Found::Frame(length, Row(vec![number(0), number(2), number(4)]), None)
}
