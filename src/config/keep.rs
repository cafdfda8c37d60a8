//! `keep`: how long and how much the store keeps, and of a source also what is written down at all.

use std::ops::Range;
use std::time::Duration;

use super::plan::{Keep, RawKeep, Source, Window};
use super::rule::{self, ReadRule};
use super::section::Section;
use super::values::{Wrong, choice, duration, size};
use crate::store::Limits;

/// What `keep` of a source says, as far as it could be read; which rules it names is known later.
pub(super) struct ReadKeep<'a> {
    pub(super) limits: Option<Limits>,
    what: What,
    around: Option<Around<'a>>,
    /// Of the source, for what is wrong with it.
    section: Section<'a>,
    span: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Raw,
    Windows,
    Both,
}

const WHAT: [(&str, What); 3] = [
    ("raw", What::Raw),
    ("windows", What::Windows),
    ("both", What::Both),
];

struct Around<'a> {
    section: Section<'a>,
    before: Duration,
    after: Duration,
}

/// The longest time around an alert.
const AROUND_MAX: Duration = Duration::from_secs(3600);
/// What is held for the time before an alert takes so much memory at most, for one source, bytes.
const HELD_BYTES_MAX: f64 = 1024.0 * 1024.0 * 1024.0;

/// `keep = { age = …, bytes = … }` of the store.
pub(super) fn limits(section: &Section<'_>) -> Option<Limits> {
    let table = section.table("keep")?;
    let limits = limits_of(&table);
    table.finish();
    Some(limits)
}

fn limits_of(table: &Section<'_>) -> Limits {
    let (s, day) = (Duration::from_secs, 86_400);
    let age = table.get("age", duration((s(60), s(36_500 * day))));
    let bytes = table.get("bytes", size(1 << 20..=1 << 50));
    Limits {
        age: age.map(|age| age.value),
        bytes: bytes.map(|bytes| bytes.value),
    }
}

/// `keep = "windows"`, or `keep = { what = "windows", age = …, … }`, of a source.
pub(super) fn of_source<'a>(section: &Section<'a>) -> ReadKeep<'a> {
    let mut read = ReadKeep {
        limits: None,
        what: What::Both,
        around: None,
        section: section.clone(),
        span: section.span.clone(),
    };
    if !section.has("keep") {
        return read;
    }
    if !section.is_table("keep") {
        if let Some(what) = section.get("keep", choice(&WHAT)) {
            (read.what, read.span) = (what.value, what.span);
        }
        return read;
    }
    let Some(table) = section.table("keep") else {
        return read;
    };
    read.limits = Some(limits_of(&table));
    if let Some(what) = table.get("what", choice(&WHAT)) {
        (read.what, read.span) = (what.value, what.span);
    }
    if let Some(around) = table.table("around_alerts") {
        let wait = || duration((Duration::ZERO, AROUND_MAX));
        let before = around.need("before", wait());
        let after = around.need("after", wait());
        if read.what == What::Windows {
            let wrong = Wrong::new(
                "is there, and `what` says that nothing raw is kept",
                "one of the two says too much",
            );
            table.wrong("around_alerts", around.span.clone(), &wrong);
        }
        // Its rules are looked up when they are known; then it is finished.
        read.around = Some(Around {
            before: before.map_or(Duration::ZERO, |before| before.value),
            after: after.map_or(Duration::ZERO, |after| after.value),
            section: around,
        });
    }
    table.finish();
    read
}

impl ReadKeep<'_> {
    /// What it means, now that windows and rules are known.
    pub(super) fn resolve(
        &self,
        source: (usize, &Source),
        windows: &[Window],
        rules: &[ReadRule<'_>],
    ) -> Keep {
        let has_windows = windows.iter().any(|window| window.source == source.0);
        if self.what == What::Windows && !has_windows {
            let wrong = Wrong::new(
                "is \"windows\", and no [[window]] looks at the source",
                "nothing of it would be kept",
            );
            self.section.wrong("keep", self.span.clone(), &wrong);
        }
        let raw = match (&self.around, self.what) {
            (Some(around), _) => around.resolve(source, rules),
            (None, What::Windows) => RawKeep::Nothing,
            (None, What::Raw | What::Both) => RawKeep::All,
        };
        Keep {
            raw,
            windows: self.what != What::Raw,
        }
    }

    /// As [`ReadKeep::resolve`], of a source that is wrong otherwise: says what is wrong with this, too.
    pub(super) fn check(&self, rules: &[ReadRule<'_>]) {
        if let Some(around) = &self.around {
            let _ = around.rules(rules);
            around.section.finish();
        }
    }
}

impl Around<'_> {
    fn rules(&self, rules: &[ReadRule<'_>]) -> Option<Vec<usize>> {
        let named = |value: &toml::de::DeValue<'_>| rule::named(value, rules);
        self.section.get("rules", named).map(|found| found.value)
    }

    fn resolve(&self, (place, source): (usize, &Source), rules: &[ReadRule<'_>]) -> RawKeep {
        let named = self.rules(rules);
        let is_named = self.section.has("rules");
        self.section.finish();
        let looks = |rule: &ReadRule<'_>| rule.options.looks_at_source(place);
        let rules = named.unwrap_or_else(|| {
            (0..rules.len())
                .filter(|rule| looks(&rules[*rule]))
                .collect()
        });
        if rules.is_empty() && !is_named {
            let what = format!(
                "`{}` is there, and no rule looks at the source",
                self.section.path()
            );
            let help = "add a [[rule]], or name others with `rules`";
            let found = self.section.found;
            found.add(
                self.section.span.clone(),
                &what,
                "nothing raw would ever be kept",
                Some(help),
            );
        }
        let Some(rate_hz) = source.rate_hz else {
            let what = format!("`{}` needs the source's rate", self.section.path());
            let help = "say `rate_hz` of the source: what is held for the time before an alert is bounded by it";
            let found = self.section.found;
            found.add(
                self.section.span.clone(),
                &what,
                "how much is that?",
                Some(help),
            );
            return RawKeep::All;
        };
        #[allow(clippy::cast_precision_loss)]
        let bytes = rate_hz * self.before.as_secs_f64() * (source.channels.len() + 2) as f64 * 8.0;
        if bytes > HELD_BYTES_MAX {
            let what = format!(
                "is {:?}, in which come {:.1} GiB",
                self.before,
                bytes / HELD_BYTES_MAX
            );
            let wrong = Wrong::new(what, "1 GiB at most is held in memory: shorten it");
            self.section
                .wrong("before", self.section.span.clone(), &wrong);
        }
        RawKeep::Around {
            before: self.before,
            after: self.after,
            rules,
        }
    }
}
