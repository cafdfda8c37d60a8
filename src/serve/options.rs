//! Where the page is served, to whom, and within which limits.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// A token, or where it stands. It is not to be printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Token {
    /// In a file, its first line.
    File(PathBuf),
    /// In a variable of the environment.
    Env(String),
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "${name}"),
        }
    }
}

impl Token {
    /// Reads it.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn read(&self) -> Result<String, String> {
        let text = match self {
            Self::File(path) => {
                let text = std::fs::read_to_string(path);
                text.map_err(|error| {
                    format!("cannot read the token in {}: {error}", path.display())
                })?
            }
            Self::Env(name) => std::env::var(name)
                .map_err(|_| format!("${name}, which holds a token, is not set"))?,
        };
        let token = text.lines().next().unwrap_or_default().trim().to_owned();
        if token.len() < TOKEN_CHARS_MIN {
            return Err(format!(
                "the token of {self:?} has fewer than {TOKEN_CHARS_MIN} characters"
            ));
        }
        Ok(token)
    }
}

/// A shorter token could be guessed.
const TOKEN_CHARS_MIN: usize = 16;

/// Certificate and key, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, and those up to its authority's.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Where and how the page is served.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Where.
    pub listen: SocketAddr,
    /// Whether the configuration says so: then it is an error if it cannot be.
    pub is_wanted: bool,
    /// Who may look.
    pub reader: Option<Token>,
    /// Who may do everything.
    pub operator: Option<Token>,
    /// Encrypted, by these.
    pub tls: Option<Tls>,
    /// Names by which it is called, beside its address and those of loopback.
    pub hosts: Vec<String>,
    /// Connections at once at most.
    pub clients_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7777),
            is_wanted: false,
            reader: None,
            operator: None,
            tls: None,
            hosts: Vec::new(),
            clients_max: 64,
        }
    }
}
