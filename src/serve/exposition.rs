//! The text forms of figures: OpenMetrics, and the older one 0.0.4.
//!
//! The two differ in how a counter is called where it is described, and in their end. `promtool` and scrapers that do not ask for
//! OpenMetrics read the older one as what it is and OpenMetrics wrongly, so each gets its own; a library that writes both is not to be had.
//!
//! **Must not know.** What the figures are of.

use std::fmt::Write as _;

use crate::latency::{BOUNDS_US, Summary};

/// Which form is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    OpenMetrics,
    Text,
}

impl Form {
    /// What a scraper asks for. Weights are not looked at: who takes OpenMetrics at all prefers it.
    pub(super) fn of_accept(accept: Option<&str>) -> Self {
        let takes = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
        if takes { Self::OpenMetrics } else { Self::Text }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// A family's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

type Labels<'a> = &'a [(&'a str, &'a str)];

/// The text as it grows.
pub(super) struct Page {
    form: Form,
    out: String,
    name: &'static str,
    suffix: &'static str,
}

impl Page {
    pub(super) fn new(form: Form) -> Self {
        Self {
            form,
            out: String::with_capacity(16 << 10),
            name: "",
            suffix: "",
        }
    }

    pub(super) fn finish(mut self) -> String {
        if self.form == Form::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }

    /// What follows is of this family.
    pub(super) fn family(&mut self, kind: Kind, name: &'static str, help: &str) {
        let word = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.name = name;
        self.suffix = if kind == Kind::Counter { "_total" } else { "" };
        let described = match self.form {
            Form::OpenMetrics => "",
            Form::Text => self.suffix,
        };
        // Writing into a string cannot fail, here and below.
        let _ = writeln!(self.out, "# HELP {name}{described} {help}");
        let _ = writeln!(self.out, "# TYPE {name}{described} {word}");
    }

    pub(super) fn value(&mut self, labels: Labels<'_>, value: f64) {
        let suffix = self.suffix;
        self.sample(suffix, labels, value);
    }

    #[allow(clippy::cast_precision_loss)]
    pub(super) fn count(&mut self, labels: Labels<'_>, count: u64) {
        self.value(labels, count as f64);
    }

    fn sample(&mut self, suffix: &str, labels: Labels<'_>, value: f64) {
        let _ = write!(self.out, "{}{suffix}", self.name);
        for (place, (name, value)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let _ = write!(self.out, "{before}{name}=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let value = if value.is_nan() {
            "NaN".to_owned()
        } else {
            value.to_string()
        };
        let _ = writeln!(self.out, " {value}");
    }

    #[allow(clippy::cast_precision_loss)]
    pub(super) fn histogram(&mut self, path: &str, summary: &Summary) {
        for (bound, below) in BOUNDS_US.iter().zip(summary.below) {
            let bound = (*bound as f64 / 1e6).to_string();
            self.sample("_bucket", &[("path", path), ("le", &bound)], below as f64);
        }
        let (count, path) = (summary.count as f64, ("path", path));
        self.sample("_bucket", &[path, ("le", "+Inf")], count);
        self.sample("_sum", &[path], summary.mean * count / 1e6);
        self.sample("_count", &[path], count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(form: Form) -> String {
        let mut page = Page::new(form);
        page.family(Kind::Counter, "kymo_x", "Xs.");
        page.count(&[("source", "a\"b\\\n")], 3);
        page.family(Kind::Gauge, "kymo_y", "Ys.");
        page.value(&[], f64::NAN);
        page.finish()
    }

    #[test]
    fn a_counter_is_described_as_its_form_wants_it() {
        let sample = "kymo_x_total{source=\"a\\\"b\\\\\\n\"} 3\n";
        let gauge = "# HELP kymo_y Ys.\n# TYPE kymo_y gauge\nkymo_y NaN\n";
        let open = format!("# HELP kymo_x Xs.\n# TYPE kymo_x counter\n{sample}{gauge}# EOF\n");
        assert_eq!(page(Form::OpenMetrics), open);
        let text = format!("# HELP kymo_x_total Xs.\n# TYPE kymo_x_total counter\n{sample}{gauge}");
        assert_eq!(page(Form::Text), text);
    }

    #[test]
    fn a_histogram_rises_to_its_count() {
        let mut latency = crate::latency::Latency::default();
        for us in [5, 40, 40, 3_000_000] {
            latency.record_ns(0, us * 1000);
        }
        let mut page = Page::new(Form::Text);
        page.family(Kind::Histogram, "kymo_latency_seconds", "Times.");
        page.histogram("p", &latency.summary());
        for line in [
            "kymo_latency_seconds_bucket{path=\"p\",le=\"0.00001\"} 1",
            "kymo_latency_seconds_bucket{path=\"p\",le=\"0.00005\"} 3",
            "kymo_latency_seconds_bucket{path=\"p\",le=\"1\"} 3",
            "kymo_latency_seconds_bucket{path=\"p\",le=\"+Inf\"} 4",
            "kymo_latency_seconds_count{path=\"p\"} 4",
        ] {
            assert!(
                page.out.lines().any(|found| found == line),
                "{line}\n{}",
                page.out
            );
        }
    }

    #[test]
    fn a_scraper_gets_the_form_it_asks_for() {
        let asked = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3";
        assert_eq!(Form::of_accept(Some(asked)), Form::OpenMetrics);
        assert_eq!(Form::of_accept(Some("*/*")), Form::Text);
        assert_eq!(Form::of_accept(None), Form::Text);
    }
}
