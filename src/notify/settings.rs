//! What a kind of notifier takes in the configuration: keys by name and kind, and their values.
//!
//! **Must not know.** In which file, and in which form, they were written.

use std::time::Duration;

/// A key that a kind takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: KeyKind,
    /// Whether it must be there.
    pub needed: bool,
}

impl Key {
    /// A key that must be there.
    #[must_use]
    pub const fn needed(name: &'static str, kind: KeyKind) -> Self {
        Self {
            name,
            kind,
            needed: true,
        }
    }

    /// A key that may be there.
    #[must_use]
    pub const fn may(name: &'static str, kind: KeyKind) -> Self {
        Self {
            name,
            kind,
            needed: false,
        }
    }
}

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum KeyKind {
    /// A text.
    Text,
    /// A list of texts.
    Texts,
    /// True or false.
    Flag,
    /// A duration between two, both included.
    Duration(Duration, Duration),
    /// A whole number between two, both included.
    Integer(i64, i64),
    /// A size in bytes between two, both included.
    Size(u64, u64),
    /// A message to a device: a text, or `{ hex = "AA 55" }`.
    Message,
    /// Texts by name.
    Table,
    /// Anything that can be JSON.
    Json,
    /// The name of a source; its value is the source's place.
    Source,
}

/// A key's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Of [`KeyKind::Text`].
    Text(String),
    /// Of [`KeyKind::Texts`].
    Texts(Vec<String>),
    /// Of [`KeyKind::Flag`].
    Flag(bool),
    /// Of [`KeyKind::Duration`].
    Duration(Duration),
    /// Of [`KeyKind::Integer`], [`KeyKind::Size`] and [`KeyKind::Source`].
    Integer(u64),
    /// Of [`KeyKind::Message`].
    Bytes(Vec<u8>),
    /// Of [`KeyKind::Table`].
    Table(Vec<(String, String)>),
    /// Of [`KeyKind::Json`].
    Json(serde_json::Value),
}

/// The values of a notifier's keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings(Vec<(&'static str, Value)>);

/// What is wrong with a key's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The key.
    pub key: &'static str,
    /// Behind the key's name: "is …", "must be …".
    pub what: String,
    /// What is expected.
    pub label: String,
}

impl Wrong {
    /// Says what is wrong with a key's value.
    pub fn new(key: &'static str, what: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            key,
            what: what.into(),
            label: label.into(),
        }
    }
}

impl Settings {
    /// Sets a key's value.
    pub fn set(&mut self, key: &'static str, value: Value) {
        self.0.push((key, value));
    }

    fn get(&self, key: &str) -> Option<&Value> {
        let found = self.0.iter().find(|(name, _)| *name == key);
        found.map(|(_, value)| value)
    }

    /// A text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A list of texts; empty if it is not there.
    #[must_use]
    pub fn texts(&self, key: &str) -> &[String] {
        match self.get(key) {
            Some(Value::Texts(texts)) => texts,
            _ => &[],
        }
    }

    /// Whether it is there and true.
    #[must_use]
    pub fn flag(&self, key: &str) -> bool {
        self.get(key) == Some(&Value::Flag(true))
    }

    /// A duration, or what it is without the key.
    #[must_use]
    pub fn duration(&self, key: &str, default: Duration) -> Duration {
        match self.get(key) {
            Some(Value::Duration(duration)) => *duration,
            _ => default,
        }
    }

    /// A number, a size or a place, or what it is without the key.
    #[must_use]
    pub fn integer(&self, key: &str, default: u64) -> u64 {
        match self.get(key) {
            Some(Value::Integer(integer)) => *integer,
            _ => default,
        }
    }

    /// Bytes.
    #[must_use]
    pub fn bytes(&self, key: &str) -> Option<&[u8]> {
        match self.get(key)? {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Texts by name; empty if it is not there.
    #[must_use]
    pub fn table(&self, key: &str) -> &[(String, String)] {
        match self.get(key) {
            Some(Value::Table(table)) => table,
            _ => &[],
        }
    }

    /// JSON.
    #[must_use]
    pub fn json(&self, key: &str) -> Option<&serde_json::Value> {
        match self.get(key)? {
            Value::Json(json) => Some(json),
            _ => None,
        }
    }
}
