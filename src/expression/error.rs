//! What is wrong with an expression, and where.

use std::ops::Range;

/// A mistake in an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ExpressionError {
    /// The bytes of the expression's text that are wrong.
    pub span: Range<usize>,
    /// What is wrong.
    pub what: String,
    /// A few words to stand beside those bytes.
    pub label: String,
    /// What would be right.
    pub help: Option<String>,
}

impl ExpressionError {
    pub(super) fn new(
        span: Range<usize>,
        what: impl Into<String>,
        label: impl Into<String>,
    ) -> Self {
        Self {
            span,
            what: what.into(),
            label: label.into(),
            help: None,
        }
    }

    pub(super) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
