//! `[serve]`: the live page, to whom it is shown, and within which limits.
//!
//! **Always holds.** Without a token nothing but loopback is listened on.

use std::path::PathBuf;

use toml::de::DeValue;

use super::address::socket_address;
use super::section::Section;
use super::values::{Wrong, flag, integer, shortened, text, texts};
use crate::serve::{Options, Tls, Token};

/// The page's options; `None`: there is no page. Without the table there is one on loopback.
pub(super) fn read(root: &Section<'_>) -> Option<Options> {
    let mut options = Options::default();
    let Some(section) = root.table("serve") else {
        return Some(options);
    };
    let enabled = section.get("enabled", flag).is_none_or(|at| at.value);
    options.is_wanted = section.has("listen");
    let listen = section.get("listen", socket_address);
    options.listen = listen.as_ref().map_or(options.listen, |at| at.value);
    options.reader = token(&section, "reader");
    options.operator = token(&section, "operator");
    // A token that is there and wrong is told of already, and is not a missing one.
    let has_token = section.has("reader") || section.has("operator");
    if let Some(listen) = listen.filter(|at| enabled && !at.value.ip().is_loopback() && !has_token)
    {
        let what = format!(
            "is \"{}\", which others on the network reach, and there is no token",
            listen.value
        );
        let wrong = Wrong {
            help: Some(
                "add operator = { file = \"PATH\" } (or { env = \"NAME\" }), and reader = … for who may only look".to_owned(),
            ),
            ..Wrong::new(what, "needs `operator` or `reader`")
        };
        section.wrong("listen", listen.span, &wrong);
    }
    options.tls = tls(&section);
    if let Some(hosts) = section.get("hosts", hosts) {
        options.hosts = hosts.value;
    }
    if let Some(clients) = section.get("clients", integer(1..=1024)) {
        options.clients_max = usize::try_from(clients.value).unwrap_or(1);
    }
    section.finish();
    enabled.then_some(options)
}

/// `{ env = "NAME" }` or `{ file = "PATH" }`
fn token(section: &Section<'_>, key: &'static str) -> Option<Token> {
    let secret = super::sink::secret(section, key)?;
    Some(match secret {
        crate::sink::influx::Secret::Env(name) => Token::Env(name),
        crate::sink::influx::Secret::File(path) => Token::File(path),
    })
}

/// `{ certificate = "PATH", key = "PATH" }`
fn tls(section: &Section<'_>) -> Option<Tls> {
    let table = section.table("tls")?;
    let certificate = table.need("certificate", text);
    let key = table.need("key", text);
    table.finish();
    Some(Tls {
        certificate: PathBuf::from(certificate?.value),
        key: PathBuf::from(key?.value),
    })
}

/// Names beside the address, at most.
const HOSTS_MAX: usize = 64;

/// Names of this host, without a port: the page may be called by them whatever its port.
fn hosts(value: &DeValue<'_>) -> Result<Vec<String>, Wrong> {
    let hosts = texts(value)?;
    if hosts.len() > HOSTS_MAX {
        let bounds = format!("at most {HOSTS_MAX} names");
        return Err(Wrong::new(format!("must hold {bounds}"), bounds));
    }
    let is_no_name = |host: &&String| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        !host.chars().all(fits) || host.len() > 253
    };
    if let Some(wrong) = hosts.iter().find(is_no_name) {
        let what = format!("names \"{}\", which is no host's name", shortened(wrong));
        return Err(Wrong::new(
            what,
            "names without a port, as in [\"lab7.example\"]",
        ));
    }
    Ok(hosts.iter().map(|host| host.to_ascii_lowercase()).collect())
}
