//! `[[sink]]`: what is sent elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use glob::Pattern;
use toml::de::DeValue;

use super::section::{At, Section, name};
use super::source::ReadSource;
use super::values::{Wrong, choice, duration, flag, integer, size, text, texts};
use crate::sink::influx::dialect::{Choice, Dialect, Endpoint};
use crate::sink::influx::lanes::series_of;
use crate::sink::influx::line::{Place, Precision, push_name};
use crate::sink::influx::{self, Auth, Carrier, Proxy, Secret, Tls};
use crate::sink::pace::PaceOptions;
use crate::sink::select::Selection;
use crate::sink::template::{Name, Template, Values};
use crate::sink::{CatchUp, Kind, SinkOptions};

/// The sinks, as far as they are right.
pub(super) fn read_all(root: &Section<'_>, sources: &[ReadSource]) -> Vec<SinkOptions> {
    let mut sinks: Vec<SinkOptions> = Vec::new();
    for section in root.list("sink") {
        let Some((sink, span)) = read(&section, sources) else {
            continue;
        };
        if sinks.iter().any(|known| known.name == sink.name) {
            let wrong = Wrong::new(
                format!("is \"{}\", the name of another sink", sink.name),
                "every sink has a name of its own",
            );
            section.wrong("name", span, &wrong);
        }
        sinks.push(sink);
    }
    sinks
}

fn read(
    section: &Section<'_>,
    sources: &[ReadSource],
) -> Option<(SinkOptions, std::ops::Range<usize>)> {
    let name = section.need("name", name);
    section.need("type", choice(&[("influxdb", ())]));
    let selection = selection(section, sources);
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    let mut pace = PaceOptions {
        in_flight_max: 4,
        batch_bytes_max: 1 << 20,
        retry_first: ms(250),
        retry_max: s(30),
        retry_denied: s(60),
    };
    let mut batch_age = s(1);
    if let Some(batch) = section.table("batch") {
        if let Some(bytes) = batch.get("bytes", size(4 << 10..=64 << 20)) {
            pace.batch_bytes_max = usize::try_from(bytes.value).unwrap_or(usize::MAX);
        }
        batch_age = batch
            .get("age", duration((ms(10), s(60))))
            .map_or(batch_age, |age| age.value);
        batch.finish();
    }
    if let Some(count) = section.get("in_flight", integer(1..=64)) {
        pace.in_flight_max = usize::try_from(count.value).unwrap_or(1);
    }
    if let Some(retry) = section.table("retry") {
        let limits = (ms(10), s(3600));
        let of = |key, default| {
            retry
                .get(key, duration(limits))
                .map_or(default, |at: At<Duration>| at.value)
        };
        pace.retry_first = of("first", pace.retry_first);
        pace.retry_max = of("max", pace.retry_max);
        pace.retry_denied = of("denied", pace.retry_denied);
        if pace.retry_first > pace.retry_max {
            let wrong = Wrong::new(
                format!(
                    "is {:?}, longer than the longest wait, {:?}",
                    pace.retry_first, pace.retry_max
                ),
                "at most `max`",
            );
            section.wrong("retry.first", retry.span.clone(), &wrong);
        }
        retry.finish();
    }
    let catch_up = section.get("catch_up", choice(&CatchUp::NAMES));
    let backlog = section.get("backlog", size(1 << 20..=1 << 50));
    let linger = section.get("linger", duration((Duration::ZERO, s(3600))));
    let influx = influx(section, sources, &selection);
    section.finish();
    let name = name?;
    let sink = SinkOptions {
        name: name.value,
        kind: Kind::Influx(Box::new(influx?)),
        selection,
        pace,
        batch_age,
        catch_up: catch_up.map_or_else(CatchUp::default, |at| at.value),
        backlog_bytes_max: backlog.map_or(64 << 30, |at| at.value),
        linger: linger.map_or(s(5), |at| at.value),
    };
    Some((sink, name.span))
}

fn selection(section: &Section<'_>, sources: &[ReadSource]) -> Selection {
    let mut selection = Selection::default();
    if let Some(send) = section.get("send", kinds) {
        (
            selection.raw,
            selection.derived,
            selection.windows,
            selection.events,
        ) = send.value;
    }
    if let Some(channels) = section.get("channels", texts) {
        let names = sources.iter().flat_map(|source| {
            let channels = source.channels.iter();
            channels.map(move |channel| format!("{}.{channel}", source.name))
        });
        let names: Vec<String> = names.collect();
        for text in channels.value {
            match Pattern::new(&text) {
                // Windows and derived channels have names of their own.
                Ok(pattern) => {
                    let is_plain = !text.contains(['*', '?', '[']) && !selection.windows;
                    if is_plain && !names.contains(&text) {
                        let mut wrong =
                            super::values::unknown(&text, names.iter().map(String::as_str));
                        wrong.what = format!(
                            "{}: there is no such channel",
                            wrong.what.replacen("is", "names", 1)
                        );
                        section.wrong("channels", channels.span.clone(), &wrong);
                    }
                    selection.channels.push(pattern);
                }
                Err(error) => {
                    let wrong = Wrong::new(
                        format!("holds \"{text}\", which is no pattern"),
                        error.to_string(),
                    );
                    section.wrong("channels", channels.span.clone(), &wrong);
                }
            }
        }
    }
    if let Some(every) = section.get("decimate", integer(1..=1_000_000_000)) {
        selection.decimate = every.value.unsigned_abs();
    }
    selection
}

/// `["raw", "derived", "windows", "events"]`, some of them.
fn kinds(value: &DeValue<'_>) -> Result<(bool, bool, bool, bool), Wrong> {
    const KNOWN: [&str; 4] = ["raw", "derived", "windows", "events"];
    let words = texts(value)?;
    if words.is_empty() {
        return Err(Wrong::new(
            "is empty: nothing would be sent",
            "name some of them",
        ));
    }
    if let Some(odd) = words.iter().find(|word| !KNOWN.contains(&word.as_str())) {
        let mut wrong = super::values::unknown(odd, KNOWN.into_iter());
        wrong.what = wrong.what.replacen("is", "holds", 1);
        return Err(wrong);
    }
    let has = |word: &str| words.iter().any(|known| known == word);
    Ok((has("raw"), has("derived"), has("windows"), has("events")))
}

fn influx(
    section: &Section<'_>,
    sources: &[ReadSource],
    selection: &Selection,
) -> Option<influx::Options> {
    let url = section.need("url", |value| {
        Endpoint::parse(&text(value)?)
            .map_err(|what| Wrong::new(what, "as in \"http://127.0.0.1:8086\""))
    });
    let dialect = section.get("dialect", choice(&Choice::NAMES));
    let database = section.get("database", text);
    let bucket = section.get("bucket", text);
    let policy = section.get("retention_policy", text);
    let organisation = section.get("organisation", text);
    let choice_of = dialect.map_or_else(Choice::default, |at| at.value);
    place(
        section,
        choice_of,
        [&database, &bucket, &policy, &organisation],
    );
    let auth = auth(section, choice_of, bucket.is_some());
    let measurement = template(section, "measurement", "{source}");
    let field = template(section, "field", "{channel}");
    let tags = tags(section);
    let events = section.get("events_measurement", |value| {
        let name = text(value)?;
        push_name(&name, Place::Measurement, &mut Vec::new())
            .map_err(|error| Wrong::new(error.to_string(), "another name"))?;
        Ok(name)
    });
    let precision = section.get("precision", choice(&Precision::NAMES));
    let gzip = section.get("gzip", flag);
    let timeout = section.get(
        "timeout",
        duration((Duration::from_millis(100), Duration::from_secs(600))),
    );
    let tls = tls(section, url.as_ref());
    let proxy = section.get("proxy", |value| match text(value)?.as_str() {
        "system" => Ok(Proxy::System),
        "none" => Ok(Proxy::None),
        address => {
            Endpoint::parse(address)
                .map_err(|what| Wrong::new(what, "an address, \"system\" or \"none\""))?;
            Ok(Proxy::Url(address.to_owned()))
        }
    });
    let carrier = section.get(
        "transport",
        choice(&[("own", Carrier::Own), ("influxdb2", Carrier::Influxdb2)]),
    );
    if let Some(carrier) = carrier.as_ref().filter(|at| at.value == Carrier::Influxdb2) {
        influxdb2(section, carrier, url.as_ref(), bucket.is_some());
    }
    let url = url?;
    let options = influx::Options {
        gzip: gzip.map_or(!url.value.is_local(), |at| at.value),
        url: url.value,
        dialect: choice_of,
        database: database.map(|at| at.value),
        retention_policy: policy.map(|at| at.value),
        bucket: bucket.map(|at| at.value),
        organisation: organisation.map(|at| at.value),
        auth,
        measurement: measurement?,
        field: field?,
        tags,
        events: events.map_or_else(|| "kymo_events".to_owned(), |at| at.value),
        precision: precision.map_or_else(Precision::default, |at| at.value),
        timeout: timeout.map_or(Duration::from_secs(10), |at| at.value),
        tls,
        proxy: proxy.map_or_else(Proxy::default, |at| at.value),
        carrier: carrier.map_or_else(Carrier::default, |at| at.value),
    };
    names(section, &options, sources, selection);
    Some(options)
}

/// What the crate `influxdb2` cannot do.
fn influxdb2(
    section: &Section<'_>,
    carrier: &At<Carrier>,
    url: Option<&At<Endpoint>>,
    has_bucket: bool,
) {
    let has_path = url.is_some_and(|url| url.value.at("", &[]).path() != "/");
    let beyond = ["tls", "proxy", "user", "gzip"]
        .iter()
        .find(|key| section.has(key));
    let what = match beyond {
        Some(key) => format!("`{key}`"),
        None if has_path => "a path in `url`".to_owned(),
        None if !has_bucket => "anything but a `bucket`".to_owned(),
        None => return,
    };
    let wrong = Wrong::new(
        format!("is \"influxdb2\", which knows nothing of {what}"),
        "transport = \"own\" does",
    );
    section.wrong("transport", carrier.span.clone(), &wrong);
}

/// Where lines go: each dialect has its own words.
fn place(
    section: &Section<'_>,
    dialect: Choice,
    [database, bucket, policy, organisation]: [&Option<At<String>>; 4],
) {
    let is_v2 =
        matches!(dialect, Choice::Is(Dialect::V2)) || dialect == Choice::Auto && bucket.is_some();
    if is_v2 && bucket.is_none() && !section.has("bucket") {
        section.missing("bucket", Some("v2 writes into a bucket"));
    }
    if !is_v2 && database.is_none() && !section.has("database") {
        section.missing(
            "database",
            Some("v1 and v3 write into a `database`, v2 into a `bucket` of an `organisation`"),
        );
    }
    let odd = |key: &str, at: &Option<At<String>>, label: &str| {
        if let Some(at) = at {
            section.wrong(
                key,
                at.span.clone(),
                &Wrong::new("has no place here", label),
            );
        }
    };
    if is_v2 {
        odd("database", database, "v2 writes into a `bucket`");
        odd("retention_policy", policy, "v2 has it in the bucket");
    } else {
        odd("bucket", bucket, "v1 and v3 write into a `database`");
        odd("organisation", organisation, "only v2 knows organisations");
        if dialect == Choice::Is(Dialect::V3) {
            odd("retention_policy", policy, "only v1 has them");
        }
    }
}

fn auth(section: &Section<'_>, dialect: Choice, has_bucket: bool) -> Option<Auth> {
    let token = secret(section, "token");
    let password = secret(section, "password");
    let user = section.get("user", text);
    let scheme = section.get(
        "token_scheme",
        choice(&[("token", "Token"), ("bearer", "Bearer")]),
    );
    match (&token, &user, &password) {
        (Some(_), Some(user), _) => {
            let wrong = Wrong::new("stands beside `token`", "one of the two");
            section.wrong("user", user.span.clone(), &wrong);
        }
        (None, Some(_), None) if !section.has("password") => section.missing("password", None),
        (_, None, Some(_)) if !section.has("user") => section.missing("user", None),
        _ => {}
    }
    if let (Some(scheme), None) = (&scheme, &token)
        && !section.has("token")
    {
        let wrong = Wrong::new(
            "says how a token is shown, and there is none",
            "needs `token`",
        );
        section.wrong("token_scheme", scheme.span.clone(), &wrong);
    }
    if let Some(secret) = token {
        let is_v2 = has_bucket || dialect == Choice::Is(Dialect::V2);
        let usual = if is_v2 { "Token" } else { "Bearer" };
        let scheme = scheme.map_or(usual, |at| at.value);
        return Some(Auth::Token { scheme, secret });
    }
    Some(Auth::Basic {
        user: user?.value,
        secret: password?,
    })
}

/// `{ env = "NAME" }` or `{ file = "PATH" }`
pub(super) fn secret(section: &Section<'_>, key: &'static str) -> Option<Secret> {
    if section.has(key) && !section.is_table(key) {
        let wrong = Wrong::new(
            "must not stand here itself: the configuration is kept with the data",
            "{ env = \"NAME\" } or { file = \"PATH\" }",
        );
        section.get::<()>(key, |_| Err(wrong.clone()));
        return None;
    }
    let table = section.table(key)?;
    let env = table.get("env", text);
    let file = table.get("file", text);
    if env.is_none() && file.is_none() && !table.has("env") && !table.has("file") {
        table.missing(
            "env",
            Some("name an environment variable, env = \"NAME\", or a file, file = \"PATH\""),
        );
    }
    if let (Some(_), Some(file)) = (&env, &file) {
        table.wrong(
            "file",
            file.span.clone(),
            &Wrong::new("stands beside `env`", "one of the two"),
        );
    }
    table.finish();
    env.map(|at| Secret::Env(at.value))
        .or_else(|| file.map(|at| Secret::File(PathBuf::from(at.value))))
}

fn tls(section: &Section<'_>, url: Option<&At<Endpoint>>) -> Tls {
    let Some(table) = section.table("tls") else {
        return Tls::default();
    };
    let ca = table.get("ca", text);
    let certificate = table.get("certificate", text);
    let key = table.get("key", text);
    match (&certificate, &key) {
        (Some(_), None) if !table.has("key") => table.missing("key", None),
        (None, Some(_)) if !table.has("certificate") => table.missing("certificate", None),
        _ => {}
    }
    if url.is_some_and(|url| !url.value.is_https()) {
        let wrong = Wrong::new(
            "is for https:// only, and `url` says http://",
            "nothing here is encrypted",
        );
        section.wrong("tls", table.span.clone(), &wrong);
    }
    table.finish();
    let path = |at: At<String>| PathBuf::from(at.value);
    Tls {
        ca: ca.map(path),
        client: certificate.map(path).zip(key.map(path)),
    }
}

fn template(section: &Section<'_>, key: &'static str, default: &str) -> Option<Template> {
    if !section.has(key) {
        return Template::parse(default).ok();
    }
    section
        .get(key, |value| parse_template(&text(value)?))
        .map(|at| at.value)
}

fn parse_template(text: &str) -> Result<Template, Wrong> {
    Template::parse(text).map_err(|unknown| {
        let what = format!(
            "names {{{}}}, which is not known",
            super::values::shortened(&unknown)
        );
        Wrong::new(what, format!("known are {}", Template::known()))
    })
}

/// `tags = { host = "{host}", … }`
fn tags(section: &Section<'_>) -> Vec<(String, Template)> {
    let Some(table) = section.table("tags") else {
        return Vec::new();
    };
    let mut tags = Vec::new();
    for (key, span, value) in table.entries() {
        if let Err(error) = push_name(&key, Place::TagKey, &mut Vec::new()) {
            let what = format!(
                "has the tag \"{}\", which {error}",
                super::values::shortened(&key)
            );
            section.wrong("tags", span.clone(), &Wrong::new(what, "another name"));
        }
        match text(value).and_then(|text| parse_template(&text)) {
            Ok(template) => tags.push((key, template)),
            Err(wrong) => section.wrong(&format!("tags.{key}"), span, &wrong),
        }
    }
    tags
}

/// Whether every channel gets a series and a field of its own, with names that can be written.
fn names(
    section: &Section<'_>,
    options: &influx::Options,
    sources: &[ReadSource],
    selection: &Selection,
) {
    let in_series = |name| {
        let in_tags = options.tags.iter().any(|(_, template)| template.has(name));
        options.measurement.has(name) || in_tags
    };
    let mut known: std::collections::HashMap<String, String> = std::collections::HashMap::new();
    for source in sources {
        for channel in &source.channels {
            if !selection.wants_channel(&source.name, channel) {
                continue;
            }
            let values = Values {
                source: &source.name,
                channel,
                unit: "1",
                run: "run",
                host: "host",
                priority: "normal",
                kind: "raw",
            };
            let field = options.field.render(&values);
            let written = series_of(options, &values).and_then(|mut series| {
                series.add_field(&field, 0)?;
                Ok(format!("{series:?}"))
            });
            let full = format!("{}.{channel}", source.name);
            match written {
                Err(error) => {
                    let what = format!("cannot be written for {full}: a name {error}");
                    section.wrong(
                        "measurement",
                        section.span.clone(),
                        &Wrong::new(what, "here"),
                    );
                    return;
                }
                Ok(series) => {
                    if let Some(other) = known.insert(series, full.clone()) {
                        let help = match (
                            in_series(Name::Channel) || options.field.has(Name::Channel),
                            in_series(Name::Source) || options.field.has(Name::Source),
                        ) {
                            (false, _) => "name {channel} in `field`, `measurement` or a tag",
                            _ => "name {source} in `measurement`, `field` or a tag",
                        };
                        let mut wrong = Wrong::new(
                            format!("would make one series of {other} and {full}"),
                            "each overwrites the other",
                        );
                        wrong.help = Some(help.to_owned());
                        section.wrong("measurement", section.span.clone(), &wrong);
                        return;
                    }
                }
            }
        }
    }
}
