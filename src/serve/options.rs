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
        // As a cookie's value must be: RFC 6265, 4.1.1.
        let fits = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte);
        if !token.bytes().all(fits) {
            return Err(format!(
                "the token of {self:?} has characters that cannot be sent: letters, digits and -._~+/= can"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_could_be_guessed_or_not_be_sent_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("token");
        for (written, is_taken) in [
            ("0123456789abcdef\n", true),
            ("  Zm9vYmFyYmF6cXV4+/==  \nmore", true),
            ("0123456789abcde\n", false),
            ("", false),
            ("0123456789abcdef;x\n", false),
            ("0123456789 abcdef\n", false),
            ("0123456789abcdef\u{e9}\n", false),
        ] {
            std::fs::write(&path, written).expect("a file");
            let found = Token::File(path.clone()).read();
            assert_eq!(found.is_ok(), is_taken, "{written:?}: {found:?}");
        }
        assert!(Token::File(dir.path().join("none")).read().is_err());
    }
}
