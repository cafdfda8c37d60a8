//! JSON lines: a scanner that walks through a text once, and looks only at what a path leads to.
//!
//! The grammar is that of RFC 8259, strictly, with nesting of at most [`DEPTH_MAX`]. A number that no `f64` can hold is
//! none. A string that holds a number is that number, with its unit if one was declared; `true` is 1, `false` is 0, and
//! `null` is NaN: the device says that it has no value.
//!
//! **Always holds.** Any text at all neither panics nor allocates beyond one line's length. A key that comes twice,
//! where a path leads through it, makes the line corrupt: which is right nobody knows.
//!
//! **Must not know.** Where a line began and ended.

use super::numbers::Numbers;

/// Objects and arrays within each other.
const DEPTH_MAX: usize = 64;

pub(super) struct Json {
    /// A tree of paths; the root is the first.
    nodes: Vec<Node>,
    /// A key without its escapes.
    key: Vec<u8>,
}

#[derive(Default)]
struct Node {
    channel: Option<usize>,
    members: Vec<(Vec<u8>, usize)>,
    items: Vec<(usize, usize)>,
    /// A value has been found here in this line.
    is_seen: bool,
}

enum Step {
    Member(Vec<u8>),
    Item(usize),
}

impl Json {
    /// # Errors
    /// What is wrong with which of the paths.
    pub(super) fn new(paths: &[String]) -> Result<Self, Vec<(usize, String)>> {
        let mut json = Self {
            nodes: vec![Node::default()],
            key: Vec::new(),
        };
        let mut wrong = Vec::new();
        for (channel, path) in paths.iter().enumerate() {
            let added = steps(path).map(|steps| json.add(channel, steps));
            match added {
                Some(true) => {}
                Some(false) => wrong.push((
                    channel,
                    format!("`{path}` leads to a value, or through one, that another channel is"),
                )),
                None => wrong.push((
                    channel,
                    format!("`{path}` is no path, as in `imu.accel[0]` or `[\"a.b\"]`"),
                )),
            }
        }
        if wrong.is_empty() {
            Ok(json)
        } else {
            Err(wrong)
        }
    }

    fn add(&mut self, channel: usize, steps: Vec<Step>) -> bool {
        let mut at = 0;
        for step in steps {
            if self.nodes[at].channel.is_some() {
                return false;
            }
            let new = self.nodes.len();
            let node = &mut self.nodes[at];
            at = match step {
                Step::Member(key) => node.member(&key).unwrap_or_else(|| {
                    node.members.push((key, new));
                    new
                }),
                Step::Item(index) => node.item(index).unwrap_or_else(|| {
                    node.items.push((index, new));
                    new
                }),
            };
            if at == new {
                self.nodes.push(Node::default());
            }
        }
        let node = &mut self.nodes[at];
        let is_free = node.channel.is_none() && node.members.is_empty() && node.items.is_empty();
        node.channel = Some(channel);
        is_free
    }

    /// Reads the values of a text that is UTF-8; false if it does not hold all of them.
    pub(super) fn parse(
        &mut self,
        numbers: &Numbers,
        seen: &mut [bool],
        text: &[u8],
        row: &mut [f64],
    ) -> bool {
        seen.fill(false);
        for node in &mut self.nodes {
            node.is_seen = false;
        }
        let mut scan = Scan {
            text,
            at: 0,
            nodes: &mut self.nodes,
            key: &mut self.key,
            numbers,
            seen,
            row,
        };
        let is_whole = scan.value(Some(0), 0).is_some() && {
            scan.space();
            scan.at == text.len()
        };
        is_whole && seen.iter().all(|seen| *seen)
    }
}

impl Node {
    fn member(&self, key: &[u8]) -> Option<usize> {
        let found = self.members.iter().find(|(known, _)| known == key);
        found.map(|(_, node)| *node)
    }

    fn item(&self, index: usize) -> Option<usize> {
        let found = self.items.iter().find(|(known, _)| *known == index);
        found.map(|(_, node)| *node)
    }
}

/// The steps of a path: names with points between them, `[number]`, `["any name"]`.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix("[\"") {
            let end = inner.find("\"]")?;
            steps.push(Step::Member(inner.as_bytes()[..end].to_vec()));
            rest = &inner[end + 2..];
        } else if let Some(inner) = rest.strip_prefix('[') {
            let end = inner.find(']')?;
            steps.push(Step::Item(inner[..end].parse().ok()?));
            rest = &inner[end + 1..];
        } else {
            let name = match rest.strip_prefix('.') {
                Some(name) if !steps.is_empty() => name,
                None if steps.is_empty() => rest,
                _ => return None,
            };
            let end = name.find(['.', '[']).unwrap_or(name.len());
            if end == 0 {
                return None;
            }
            steps.push(Step::Member(name.as_bytes()[..end].to_vec()));
            rest = &name[end..];
        }
    }
    (!steps.is_empty()).then_some(steps)
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    nodes: &'a mut [Node],
    key: &'a mut Vec<u8>,
    numbers: &'a Numbers,
    seen: &'a mut [bool],
    row: &'a mut [f64],
}

/// All of these answer `None` if the text goes against the grammar, or against what was declared.
impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn expect(&mut self, word: &[u8]) -> Option<()> {
        self.text[self.at..]
            .starts_with(word)
            .then(|| self.at += word.len())
    }

    /// A value; `node` is where the paths have come to, if any leads here.
    fn value(&mut self, node: Option<usize>, depth: usize) -> Option<()> {
        if let Some(node) = node
            && depth > 0
            && std::mem::replace(&mut self.nodes[node].is_seen, true)
        {
            return None;
        }
        let channel = node.and_then(|node| self.nodes[node].channel);
        self.space();
        match self.peek()? {
            b'{' if channel.is_none() && depth < DEPTH_MAX => self.object(node, depth),
            b'[' if channel.is_none() && depth < DEPTH_MAX => self.array(node, depth),
            b'"' => {
                let (inner, is_escaped) = self.string()?;
                match channel {
                    Some(_) if is_escaped => None,
                    Some(channel) => self.give(channel, self.numbers.read(channel, inner)?),
                    None => Some(()),
                }
            }
            b't' => self.word(b"true", 1.0, channel),
            b'f' => self.word(b"false", 0.0, channel),
            b'n' => self.word(b"null", f64::NAN, channel),
            b'-' | b'0'..=b'9' => {
                let number = self.number()?;
                match channel {
                    // Its unit is missing.
                    Some(channel) if self.numbers.suffix(channel).is_some() => None,
                    Some(channel) => self.give(channel, number),
                    None => Some(()),
                }
            }
            _ => None,
        }
    }

    fn give(&mut self, channel: usize, number: f64) -> Option<()> {
        self.row[channel] = number;
        self.seen[channel] = true;
        Some(())
    }

    fn word(&mut self, word: &[u8], number: f64, channel: Option<usize>) -> Option<()> {
        self.expect(word)?;
        channel.map_or(Some(()), |channel| self.give(channel, number))
    }

    fn object(&mut self, node: Option<usize>, depth: usize) -> Option<()> {
        self.at += 1;
        self.space();
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.space();
            let (inner, is_escaped) = self.string()?;
            let key = if is_escaped {
                unescape(inner, self.key)?;
                &self.key[..]
            } else {
                inner
            };
            let member = node.and_then(|node| self.nodes[node].member(key));
            self.space();
            self.expect(b":")?;
            self.value(member, depth + 1)?;
            self.space();
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    fn array(&mut self, node: Option<usize>, depth: usize) -> Option<()> {
        self.at += 1;
        self.space();
        if self.peek()? == b']' {
            self.at += 1;
            return Some(());
        }
        for index in 0.. {
            let item = node.and_then(|node| self.nodes[node].item(index));
            self.value(item, depth + 1)?;
            self.space();
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
        None
    }

    /// What stands between the quotes, and whether there are escapes in it.
    fn string(&mut self) -> Option<(&'a [u8], bool)> {
        self.expect(b"\"")?;
        let start = self.at;
        let mut is_escaped = false;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    is_escaped = true;
                    self.at += 2;
                }
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
        let inner = self.text.get(start..self.at)?;
        self.at += 1;
        if is_escaped {
            // Also where nobody asks for it: it belongs to the grammar.
            unescape(inner, self.key)?;
        }
        Some((inner, is_escaped))
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn number(&mut self) -> Option<f64> {
        let start = self.at;
        if self.peek()? == b'-' {
            self.at += 1;
        }
        if self.peek()? == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        let number = fast_float2::parse(&self.text[start..self.at]).ok();
        number.filter(|number: &f64| number.is_finite())
    }
}

/// Writes a string without its escapes.
fn unescape(inner: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    let mut rest = inner;
    while let Some(place) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..place]);
        let code = *rest.get(place + 1)?;
        rest = &rest[place + 2..];
        let plain = match code {
            b'"' | b'\\' | b'/' => code,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (character, behind) = unicode(rest)?;
                rest = behind;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return None,
        };
        out.push(plain);
    }
    out.extend_from_slice(rest);
    Some(())
}

/// A character by its number, behind `\u`: two of them where it takes a surrogate pair.
fn unicode(text: &[u8]) -> Option<(char, &[u8])> {
    let unit = |text: &[u8]| {
        let digits = text.get(..4)?;
        let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
        let digits = std::str::from_utf8(digits).ok().filter(|_| is_hex)?;
        u16::from_str_radix(digits, 16).ok()
    };
    let first = unit(text)?;
    let rest = &text[4..];
    if let Some(character) = char::from_u32(first.into()) {
        return Some((character, rest));
    }
    let rest = rest.strip_prefix(b"\\u")?;
    let second = unit(rest)?;
    let character = char::decode_utf16([first, second]).next()?.ok()?;
    Some((character, &rest[4..]))
}
