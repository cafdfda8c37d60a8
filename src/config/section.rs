//! A table of the configuration being read: what is asked of it, and what was not asked for.

use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistakes::Found;
use super::values::{Wrong, nearest, shortened};

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// The longest name of a source, a channel, a rule.
const NAME_CHARS_MAX: usize = 64;

#[derive(Clone)]
pub(super) struct Section<'a> {
    table: &'a DeTable<'a>,
    /// Where it begins: its name in its header.
    pub(super) span: Range<usize>,
    path: String,
    name: String,
    /// Keys that were asked for: the others are unknown.
    asked: RefCell<Vec<&'static str>>,
    pub(super) found: &'a Found,
}

impl<'a> Section<'a> {
    pub(super) fn root(table: &'a DeTable<'a>, found: &'a Found) -> Self {
        Self::new(table, 0..0, String::new(), String::new(), found)
    }

    fn new(
        table: &'a DeTable<'a>,
        span: Range<usize>,
        path: String,
        name: String,
        found: &'a Found,
    ) -> Self {
        Self {
            table,
            span,
            path,
            name,
            asked: RefCell::default(),
            found,
        }
    }

    /// Its own name: the last part of its header.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How a mistake calls it.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// How a mistake calls a key of it.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn entry(&self, key: &'static str) -> Option<(Range<usize>, &'a Spanned<DeValue<'a>>)> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        let (name, value) = self.table.get_key_value(key)?;
        Some((name.span(), value))
    }

    /// Whether it has this key.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.entry(key).is_some()
    }

    /// Whether the key is there, and a table.
    pub(super) fn is_table(&self, key: &'static str) -> bool {
        self.entry(key)
            .is_some_and(|(_, value)| value.get_ref().is_table())
    }

    /// A key's value, if it is there and right.
    pub(super) fn get<T>(
        &self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<At<T>> {
        let (_, value) = self.entry(key)?;
        match read(value.get_ref()) {
            Ok(read) => Some(At {
                value: read,
                span: value.span(),
            }),
            Err(wrong) => {
                self.wrong(key, value.span(), &wrong);
                None
            }
        }
    }

    /// As [`Section::get`]; that it is not there is a mistake, too.
    pub(super) fn need<T>(
        &self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<At<T>> {
        if !self.has(key) {
            self.missing(key, None);
        }
        self.get(key, read)
    }

    /// Says that a key is not there.
    pub(super) fn missing(&self, key: &'static str, help: Option<&str>) {
        let what = format!("`{}` is missing", self.path_of(key));
        self.found.add(
            self.span.clone(),
            &what,
            &format!("`{key}` is needed here"),
            help,
        );
    }

    /// Says what is wrong with a key's value.
    pub(super) fn wrong(&self, key: &str, span: Range<usize>, wrong: &Wrong) {
        let what = format!("`{}` {}", self.path_of(key), wrong.what);
        self.found
            .add(span, &what, &wrong.label, wrong.help.as_deref());
    }

    /// A table under this one.
    pub(super) fn table(&self, key: &'static str) -> Option<Section<'a>> {
        let (span, value) = self.entry(key)?;
        match value.get_ref() {
            DeValue::Table(table) => {
                let name = key.to_owned();
                Some(Section::new(
                    table,
                    span,
                    self.path_of(key),
                    name,
                    self.found,
                ))
            }
            other => {
                let what = format!("must be a table, and is {}", other.type_str());
                self.wrong(key, value.span(), &Wrong::new(what, "a table is expected"));
                None
            }
        }
    }

    /// A table under this one that must be there.
    pub(super) fn need_table(&self, key: &'static str, help: &str) -> Option<Section<'a>> {
        if !self.has(key) {
            self.missing(key, Some(help));
        }
        self.table(key)
    }

    /// The tables under a table: `[key.NAME]`.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Section<'a>> {
        let Some(section) = self.table(key) else {
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (name, value) in section.table {
            let path = section.path_of(name.get_ref());
            match value.get_ref() {
                DeValue::Table(table) => {
                    let name_text = name.get_ref().to_string();
                    tables.push(Section::new(
                        table,
                        name.span(),
                        path,
                        name_text,
                        self.found,
                    ));
                }
                _ => self.found.add(
                    name.span(),
                    &format!("`{}` must be a table", shortened(&path)),
                    &format!("[{key}.NAME] is expected"),
                    None,
                ),
            }
        }
        tables
    }

    /// The tables of a list: `[[key]]`.
    pub(super) fn list(&self, key: &'static str) -> Vec<Section<'a>> {
        let Some((span, value)) = self.entry(key) else {
            return Vec::new();
        };
        let path = self.path_of(key);
        let expected = format!("[[{path}]] is expected");
        let DeValue::Array(array) = value.get_ref() else {
            let what = format!("`{path}` must be a list of tables");
            self.found.add(span, &what, &expected, None);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in array {
            match item.get_ref() {
                DeValue::Table(table) => {
                    let (path, name) = (path.clone(), String::new());
                    tables.push(Section::new(table, item.span(), path, name, self.found));
                }
                _ => {
                    let what = format!("`{path}` must be a list of tables");
                    self.found.add(item.span(), &what, &expected, None);
                }
            }
        }
        tables
    }

    /// Its keys and values, whatever they are called: a table whose keys are the user's.
    pub(super) fn entries(
        &self,
    ) -> impl Iterator<Item = (String, Range<usize>, &'a DeValue<'a>)> + use<'a> {
        let entries = self.table.iter();
        entries.map(|(key, value)| (key.get_ref().to_string(), key.span(), value.get_ref()))
    }

    /// Says so if its own name cannot be one.
    pub(super) fn check_name(&self, of_what: &str) {
        if name_of(&self.name).is_err() {
            let what = format!("`{}` is no name for a {of_what}", shortened(&self.name));
            self.found.add(self.span.clone(), &what, NAME_RULE, None);
        }
    }

    /// Says which keys nobody asked for.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        for (key, _) in self.table {
            if asked.iter().any(|known| *known == key.get_ref()) {
                continue;
            }
            let near = nearest(key.get_ref(), asked.iter().copied());
            let label = near.map_or_else(
                || "unknown key".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            let known: Vec<String> = asked.iter().map(|key| format!("`{key}`")).collect();
            self.found.add(
                key.span(),
                &format!("`{}` is not known", shortened(&self.path_of(key.get_ref()))),
                &label,
                Some(&format!("known here are {}", known.join(", "))),
            );
        }
    }
}

/// What a name may be.
const NAME_RULE: &str = "use up to 64 letters, digits, `_` and `-`";

/// A name of a source, a channel or a rule.
pub(super) fn name(value: &DeValue<'_>) -> Result<String, Wrong> {
    let name = super::values::text(value)?;
    name_of(&name)?;
    Ok(name)
}

fn name_of(name: &str) -> Result<(), Wrong> {
    let is_right = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if is_right && !name.is_empty() && name.len() <= NAME_CHARS_MAX {
        return Ok(());
    }
    Err(Wrong::new(
        format!("is \"{}\", which is no name", shortened(name)),
        NAME_RULE,
    ))
}
