//! The parameters of a request, as its address has them.
//!
//! **Always holds.** What is not known, is given twice or is out of bounds is refused with what would be right.
//!
//! **Must not know.** What is done with them.

use std::ops::RangeInclusive;

use axum::http::StatusCode;

use super::guard::Refusal;
use super::range::Span;

pub(super) fn bad(what: impl Into<String>) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, what.into())
}

/// The parameters of a request, each once and each known.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn read(text: Option<String>, known: &[&str]) -> Result<Self, Refusal> {
        let text = text.unwrap_or_default();
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (key, value) in form_urlencoded::parse(text.as_bytes()) {
            if !known.contains(&key.as_ref()) {
                let shown: String = key.chars().take(64).collect();
                return Err(bad(format!(
                    "`{shown}` is not known; known are {}",
                    known.join(", ")
                )));
            }
            if pairs.iter().any(|(other, _)| *other == key) {
                return Err(bad(format!("`{key}` is given twice")));
            }
            pairs.push((key.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    fn get(&self, key: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        pairs
            .find(|(known, _)| known == key)
            .map(|(_, value)| value.as_str())
    }

    fn need(&self, key: &str) -> Result<&str, Refusal> {
        self.get(key)
            .ok_or_else(|| bad(format!("`{key}` is missing")))
    }

    fn whole<T: std::str::FromStr>(&self, key: &str) -> Result<T, Refusal> {
        let text = self.need(key)?;
        text.parse()
            .map_err(|_| bad(format!("`{key}` must be a whole number")))
    }

    pub(super) fn span(&self) -> Result<Span, Refusal> {
        let (from_ns, to_ns): (i64, i64) = (self.whole("from_ns")?, self.whole("to_ns")?);
        if to_ns <= from_ns {
            return Err(bad("`to_ns` must be after `from_ns`"));
        }
        Ok(Span { from_ns, to_ns })
    }

    /// A whole number within bounds; the default, if there is one and it is not given.
    pub(super) fn within(
        &self,
        key: &str,
        bounds: RangeInclusive<usize>,
        default: Option<usize>,
    ) -> Result<usize, Refusal> {
        let number = match (default, self.get(key)) {
            (Some(default), None) => default,
            _ => self.whole(key)?,
        };
        if bounds.contains(&number) {
            return Ok(number);
        }
        let (least, most) = bounds.into_inner();
        Err(bad(format!("`{key}` must be {least} to {most}")))
    }

    /// The number of one of so many channels.
    pub(super) fn channel(&self, count: usize) -> Result<usize, Refusal> {
        channel_number(count, self.need("channel")?)
    }

    /// The numbers of some of so many channels, each once, at most so many.
    pub(super) fn channels(&self, count: usize, most: usize) -> Result<Vec<usize>, Refusal> {
        let names = self.need("channels")?.split(',');
        let mut channels = names
            .map(|text| channel_number(count, text))
            .collect::<Result<Vec<_>, _>>()?;
        channels.sort_unstable();
        channels.dedup();
        if channels.len() > most {
            let what = format!("{} channels are more than {most}", channels.len());
            return Err(bad(what));
        }
        Ok(channels)
    }
}

fn channel_number(count: usize, text: &str) -> Result<usize, Refusal> {
    let number: usize = text
        .parse()
        .map_err(|_| bad("a channel is named by its number, as /api/channels gives it"))?;
    if number >= count {
        let what = format!("there is no channel {number}");
        return Err(Refusal(StatusCode::NOT_FOUND, what));
    }
    Ok(number)
}
