//! What a notifier is told: an alert's event, as it stands in the journal.

use serde_json::Value;

use crate::alert::{Template, TemplateError, number};

/// The values that a notifier's texts may name, beside `label.NAME`.
pub const PLACEHOLDERS: [&str; 13] = [
    "rule",
    "kind",
    "change",
    "severity",
    "channel",
    "value",
    "limit",
    "unit",
    "time",
    "message",
    "latency_us",
    "host",
    "id",
];

/// Whether there is a value of this name.
#[must_use]
pub fn is_known(name: &str) -> bool {
    PLACEHOLDERS.contains(&name) || name.strip_prefix("label.").is_some_and(|l| !l.is_empty())
}

/// An alert's event.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The event.
    pub event: &'a Value,
    /// Names this message: the same again if it is delivered again.
    pub id: &'a str,
    /// The host that it happened on.
    pub host: &'a str,
}

impl Message<'_> {
    /// Appends the value of this name; nothing if the event has none.
    pub fn push_value(&self, name: &str, out: &mut String) {
        let value = match name.strip_prefix("label.") {
            Some(label) => &self.event["labels"][label],
            None if name == "host" => return out.push_str(self.host),
            None if name == "id" => return out.push_str(self.id),
            None => &self.event[name],
        };
        match value {
            Value::String(text) => out.push_str(text),
            Value::Number(n) => out.push_str(&number(n.as_f64().unwrap_or(f64::NAN))),
            Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
            _ => {}
        }
    }

    /// A template with this message's values.
    #[must_use]
    pub fn render(&self, template: &Template) -> String {
        template.render(|name, out| self.push_value(name, out))
    }

    /// In one line.
    #[must_use]
    pub fn line(&self) -> String {
        let text = |key: &str| self.event[key].as_str().unwrap_or_default();
        let mut line = format!(
            "{} {} {} {}",
            text("time"),
            text("change"),
            text("severity"),
            text("rule")
        );
        if !text("message").is_empty() {
            line.push_str(": ");
            line.push_str(text("message"));
        }
        line
    }
}

/// Reads a template of a notifier's key.
pub(super) fn template(key: &'static str, text: &str) -> Result<Template, super::Wrong> {
    Template::parse(text, is_known).map_err(|error| {
        let label = match error {
            TemplateError::Unknown { .. } => {
                let known: Vec<String> = PLACEHOLDERS.iter().map(|n| format!("{{{n}}}")).collect();
                format!("known are {}, {{label.NAME}}", known.join(", "))
            }
            TemplateError::Brace { .. } => "braces stand around the name of a value".to_owned(),
        };
        super::Wrong::new(key, error.to_string(), label)
    })
}
