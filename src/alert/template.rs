//! Texts with values in them: `{name}` stands for a value, `{{` and `}}` for braces.
//!
//! **Always holds.** A template names only values that are known; that is found out when it is parsed.

/// A text with values in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(String),
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It names a value that there is not.
    #[error("names {{{name}}}, which is not known")]
    Unknown {
        /// What it names.
        name: String,
    },
    /// A brace has no partner.
    #[error("has a `{brace}` without its partner; write `{brace}{brace}` for the brace itself")]
    Brace {
        /// Which.
        brace: char,
    },
}

impl Template {
    /// Reads a template; `is_known` says which values there are.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, is_known: impl Fn(&str) -> bool) -> Result<Self, TemplateError> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = if rest[at..].starts_with('{') {
                '{'
            } else {
                '}'
            };
            let after = &rest[at + 1..];
            if after.starts_with(brace) {
                plain.push(brace);
                rest = &after[1..];
                continue;
            }
            let end = after.find('}').filter(|_| brace == '{');
            let Some(end) = end else {
                return Err(TemplateError::Brace { brace });
            };
            let name = &after[..end];
            if !is_known(name) {
                let name = name.chars().take(60).collect();
                return Err(TemplateError::Unknown { name });
            }
            parts.push(Part::Text(std::mem::take(&mut plain)));
            parts.push(Part::Name(name.to_owned()));
            rest = &after[end + 1..];
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain));
        Ok(Self { parts })
    }

    /// A template of texts and names in turn, the first a text.
    pub(super) fn plain(parts: &[&str]) -> Self {
        let part = |(place, part): (usize, &&str)| match place % 2 {
            0 => Part::Text((*part).to_owned()),
            _ => Part::Name((*part).to_owned()),
        };
        Self {
            parts: parts.iter().enumerate().map(part).collect(),
        }
    }

    /// The text, with `value` appending each value.
    #[must_use]
    pub fn render(&self, mut value: impl FnMut(&str, &mut String)) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Name(name) => value(name, &mut text),
            }
        }
        text
    }

    /// The names in it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Name(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> Result<String, String> {
        let template = Template::parse(text, |name| name == "value" || name == "rule");
        let value = |name: &str, out: &mut String| out.push_str(&format!("<{name}>"));
        template
            .map(|template| template.render(value))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn names_become_values_and_doubled_braces_braces() {
        assert_eq!(
            rendered("a {value} b {rule}"),
            Ok("a <value> b <rule>".to_owned())
        );
        assert_eq!(
            rendered("{{\"v\": {value}}}"),
            Ok("{\"v\": <value>}".to_owned())
        );
        assert_eq!(rendered(""), Ok(String::new()));
    }

    #[test]
    fn what_is_not_known_and_what_is_not_closed_is_said() {
        let unknown = rendered("{nothing}").expect_err("there is no such value");
        assert_eq!(unknown, "names {nothing}, which is not known");
        for open in ["{value", "a } b", "{", "}", "{é"] {
            assert!(rendered(open).is_err(), "{open}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = rendered(&text);
        }
    }
}
