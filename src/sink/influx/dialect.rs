//! The dialects: which address a write goes to, and how to find out which dialect a server speaks.
//!
//! **Always holds.** What is detected follows from `/ping` and `/health` alone. A bucket is written in v2's
//! way, which versions 2 and 3 and VictoriaMetrics know; a database in v1's or v3's.
//!
//! **Must not know.** Sockets.

use std::fmt;

use reqwest::Url;

use super::Options;
use super::line::Precision;

/// A way of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `/write`
    V1,
    /// `/api/v2/write`
    V2,
    /// `/api/v3/write_lp`
    V3,
}

/// What the configuration says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// Find out.
    #[default]
    Auto,
    /// This one.
    Is(Dialect),
}

impl Choice {
    /// Names in a configuration.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("auto", Self::Auto),
        ("v1", Self::Is(Dialect::V1)),
        ("v2", Self::Is(Dialect::V2)),
        ("v3", Self::Is(Dialect::V3)),
    ];
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V3 => "v3",
        })
    }
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong with it, to be read behind its name: "is …", "has …".
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut url = Url::parse(text)
            .map_err(|error| format!("is \"{text}\", which is no address: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err("must begin with http:// or https:// and name a host".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("holds a user or a password: these have keys of their own, and the configuration is kept with the data".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("has a `?` or a `#`: only the path behind which a proxy has the server belongs here".to_owned());
        }
        let path = format!("{}/", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(Self(url))
    }

    /// Whether it is this very host.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        host == "localhost" || host == "[::1]" || host.starts_with("127.")
    }

    /// Whether it is encrypted.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// An address under it, with questions.
    #[must_use]
    pub fn at(&self, path: &str, questions: &[(&str, &str)]) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", self.0.path()));
        if !questions.is_empty() {
            url.query_pairs_mut().extend_pairs(questions);
        }
        url
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

/// Where lines go.
#[must_use]
pub fn write_url(options: &Options, dialect: Dialect) -> Url {
    let of = |text: &'_ Option<String>| text.clone().unwrap_or_default();
    let (database, bucket) = (of(&options.database), of(&options.bucket));
    match dialect {
        Dialect::V1 => {
            // v1 calls a microsecond `u`; QuestDB and VictoriaMetrics know that, too.
            let precision = match options.precision {
                Precision::Ns => "ns",
                Precision::Us => "u",
                Precision::Ms => "ms",
                Precision::S => "s",
            };
            let mut questions = vec![("db", database.as_str()), ("precision", precision)];
            if let Some(policy) = &options.retention_policy {
                questions.push(("rp", policy));
            }
            options.url.at("write", &questions)
        }
        Dialect::V2 => {
            let precision = match options.precision {
                Precision::Ns => "ns",
                Precision::Us => "us",
                Precision::Ms => "ms",
                Precision::S => "s",
            };
            let mut questions = vec![("bucket", bucket.as_str()), ("precision", precision)];
            if let Some(organisation) = &options.organisation {
                questions.push(("org", organisation));
            }
            options.url.at("api/v2/write", &questions)
        }
        Dialect::V3 => {
            let precision = match options.precision {
                Precision::Ns => "nanosecond",
                Precision::Us => "microsecond",
                Precision::Ms => "millisecond",
                Precision::S => "second",
            };
            let questions = [
                ("db", database.as_str()),
                ("precision", precision),
                ("accept_partial", "true"),
            ];
            options.url.at("api/v3/write_lp", &questions)
        }
    }
}

/// The dialect, where the configuration leaves no doubt.
#[must_use]
pub fn certain(options: &Options) -> Option<Dialect> {
    match options.dialect {
        Choice::Is(dialect) => Some(dialect),
        Choice::Auto if options.bucket.is_some() => Some(Dialect::V2),
        Choice::Auto => None,
    }
}

/// What a server says of itself: by `/ping`'s headers and body, and by `/health`'s body.
#[must_use]
pub fn detect(version: Option<&str>, build: Option<&str>, bodies: &[&str]) -> Dialect {
    let is_three = |version: &str| version.trim_start_matches('v').starts_with("3.");
    let of_body = |body: &&str| {
        let json: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        json["version"].as_str().is_some_and(is_three)
    };
    let is_build = build.is_some_and(|build| matches!(build, "Core" | "Enterprise"));
    if version.is_some_and(is_three)
        || bodies.iter().any(of_body)
        || (version.is_none() && is_build)
    {
        Dialect::V3
    } else {
        // Version 2 takes v1's writes as well, into the bucket that a database is mapped to.
        Dialect::V1
    }
}

/// What the destination is called in messages.
#[must_use]
pub fn place(options: &Options) -> String {
    let name = options.database.as_ref().or(options.bucket.as_ref());
    format!("`{}` at {}", name.map_or("?", String::as_str), options.url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_judged_before_anything_is_sent() {
        let parse = |text: &str| {
            Endpoint::parse(text).map(|endpoint| endpoint.at("write", &[]).to_string())
        };
        assert_eq!(parse("http://h:8086").as_deref(), Ok("http://h:8086/write"));
        assert_eq!(
            parse("https://h/a/b/").as_deref(),
            Ok("https://h/a/b/write")
        );
        for wrong in [
            "",
            "h:8086",
            "ftp://h",
            "http://u:p@h/",
            "http://h/?db=x",
            "http://",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(Endpoint::parse("http://127.0.0.1:1").is_ok_and(|e| e.is_local()));
        assert!(Endpoint::parse("http://[::1]:1").is_ok_and(|e| e.is_local()));
        assert!(Endpoint::parse("https://db.lab").is_ok_and(|e| !e.is_local() && e.is_https()));
    }

    #[test]
    fn a_server_is_known_by_what_it_says_of_itself() {
        assert_eq!(detect(Some("1.6.7~rc0"), None, &[]), Dialect::V1);
        assert_eq!(
            detect(Some("1.8.0"), None, &["OK"]),
            Dialect::V1,
            "VictoriaMetrics"
        );
        assert_eq!(detect(None, None, &[""]), Dialect::V1, "QuestDB");
        assert_eq!(
            detect(Some("v2.7.11"), Some("OSS"), &[]),
            Dialect::V1,
            "by its v1 write"
        );
        assert_eq!(detect(Some("3.0.0"), Some("Core"), &[]), Dialect::V3);
        assert_eq!(
            detect(None, None, &[r#"{"version":"3.1.0","revision":"x"}"#]),
            Dialect::V3
        );
        assert_eq!(detect(None, Some("Core"), &[]), Dialect::V3);
    }
}
