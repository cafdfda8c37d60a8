//! Templates of names: `{source}_{channel}` and the like, taken apart once.
//!
//! **Always holds.** A template that was parsed can be rendered for any channel.
//!
//! **Must not know.** What its text is used for.

/// What a template may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// The source.
    Source,
    /// The channel, without its source.
    Channel,
    /// The channel's unit.
    Unit,
    /// The run.
    Run,
    /// The host that acquired it.
    Host,
    /// The lane's priority.
    Priority,
    /// What the lane holds: `raw`, `derived`, `window`.
    Kind,
}

impl Name {
    const ALL: [(&'static str, Self); 7] = [
        ("source", Self::Source),
        ("channel", Self::Channel),
        ("unit", Self::Unit),
        ("run", Self::Run),
        ("host", Self::Host),
        ("priority", Self::Priority),
        ("kind", Self::Kind),
    ];
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(Name),
}

/// A text with names in braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

/// What the names stand for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Values<'a> {
    /// The source.
    pub source: &'a str,
    /// The channel.
    pub channel: &'a str,
    /// Its unit.
    pub unit: &'a str,
    /// The run.
    pub run: &'a str,
    /// The host.
    pub host: &'a str,
    /// The priority.
    pub priority: &'a str,
    /// The kind.
    pub kind: &'a str,
}

impl Template {
    /// Takes a text apart.
    ///
    /// # Errors
    /// What is in braces and not known.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find('{') {
            if start > 0 {
                parts.push(Part::Text(rest[..start].to_owned()));
            }
            let inner = &rest[start + 1..];
            let end = inner.find('}').unwrap_or(inner.len());
            let known = Name::ALL.iter().find(|(name, _)| *name == &inner[..end]);
            match known {
                Some((_, name)) if end < inner.len() => parts.push(Part::Name(*name)),
                _ => return Err(inner[..end].to_owned()),
            }
            rest = &inner[end + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// The names that a template may hold.
    #[must_use]
    pub fn known() -> String {
        let names: Vec<String> = Name::ALL.iter().map(|(n, _)| format!("{{{n}}}")).collect();
        names.join(", ")
    }

    /// Whether it names this.
    #[must_use]
    pub fn has(&self, name: Name) -> bool {
        self.0.contains(&Part::Name(name))
    }

    /// Its text for some values.
    #[must_use]
    pub fn render(&self, values: &Values<'_>) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Name(Name::Source) => values.source,
            Part::Name(Name::Channel) => values.channel,
            Part::Name(Name::Unit) => values.unit,
            Part::Name(Name::Run) => values.run,
            Part::Name(Name::Host) => values.host,
            Part::Name(Name::Priority) => values.priority,
            Part::Name(Name::Kind) => values.kind,
        });
        parts.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_braces_are_filled_in() {
        let template = Template::parse("lab/{source}.{channel} [{unit}]").expect("a template");
        let values = Values {
            source: "imu",
            channel: "ax",
            unit: "m/s2",
            ..Values::default()
        };
        assert_eq!(template.render(&values), "lab/imu.ax [m/s2]");
        assert!(template.has(Name::Channel) && !template.has(Name::Run));
    }

    #[test]
    fn what_is_not_known_is_told() {
        assert_eq!(Template::parse("{sauce}"), Err("sauce".to_owned()));
        assert_eq!(Template::parse("a{source"), Err("source".to_owned()));
        assert_eq!(Template::parse("{"), Err(String::new()));
    }
}
