//! Mistakes in a configuration: collected while it is read, shown with the lines they stand in.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// Mistakes shown at most: a file that is wrong from end to end is understood before that.
const SHOWN_MAX: usize = 50;

#[derive(Debug, Clone)]
struct Mistake {
    span: Range<usize>,
    what: String,
    label: String,
    help: Option<String>,
}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Found {
    mistakes: RefCell<Vec<Mistake>>,
    text: String,
}

impl Found {
    /// Nothing found yet in this text.
    pub(super) fn new(text: &str) -> Self {
        Self {
            mistakes: RefCell::default(),
            text: text.to_owned(),
        }
    }

    /// The text that is read.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Notes that `what` is wrong with the bytes at `span`. The label is short and stands beside
    /// them; the help says what would be right.
    pub(super) fn add(&self, span: Range<usize>, what: &str, label: &str, help: Option<&str>) {
        self.mistakes.borrow_mut().push(Mistake {
            span,
            what: what.to_owned(),
            label: label.to_owned(),
            help: help.map(str::to_owned),
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.mistakes.borrow().is_empty()
    }

    pub(super) fn into_mistakes(self, name: &str, text: &str) -> Mistakes {
        let mut list = self.mistakes.into_inner();
        list.sort_by_key(|mistake| (mistake.span.start, mistake.span.end));
        Mistakes {
            name: name.to_owned(),
            text: text.to_owned(),
            list,
        }
    }
}

/// What is wrong with a configuration: at least one thing. Displayed without colours.
#[derive(Debug, Clone)]
pub struct Mistakes {
    name: String,
    text: String,
    list: Vec<Mistake>,
}

impl Mistakes {
    pub(super) fn of_file(what: &str, help: &str) -> Self {
        let help = Some(help.to_owned());
        let (what, label) = (what.to_owned(), String::new());
        Self {
            name: String::new(),
            text: String::new(),
            list: vec![Mistake {
                span: 0..0,
                what,
                label,
                help,
            }],
        }
    }

    /// How many there are.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // There is always one.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// As a terminal shows it, with colours or without.
    #[must_use]
    pub fn render(&self, colours: bool) -> String {
        let renderer = if colours {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let renderer = renderer.decor_style(DecorStyle::Ascii).term_width(120);
        let mut text = String::new();
        for mistake in self.list.iter().take(SHOWN_MAX) {
            let mut report = vec![self.group(mistake)];
            if let Some(help) = &mistake.help {
                report.push(Group::with_title(
                    Level::HELP.secondary_title(help.as_str()),
                ));
            }
            text += &renderer.render(&report);
            text += "\n\n";
        }
        if let Some(more) = self
            .list
            .len()
            .checked_sub(SHOWN_MAX)
            .filter(|more| *more > 0)
        {
            text += &format!("and {more} more\n\n");
        }
        if !self.name.is_empty() {
            let count = self.list.len();
            let s = if count == 1 { "" } else { "s" };
            text += &format!(
                "error: {count} mistake{s} in {}; nothing was started\n",
                self.name
            );
        }
        text
    }

    fn group<'a>(&'a self, mistake: &'a Mistake) -> Group<'a> {
        let title = Level::ERROR.primary_title(mistake.what.as_str());
        if self.text.is_empty() {
            return Group::with_title(title);
        }
        // The library wants places within the text, at the bounds of characters.
        let floor = |at: usize| {
            let mut at = at.min(self.text.len());
            while !self.text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = floor(mistake.span.start);
        // One line says where: a value of many lines would fill the screen.
        let line_end = self.text[start..]
            .find('\n')
            .map_or(self.text.len(), |end| start + end);
        let end = floor(mistake.span.end).clamp(start, line_end.max(start));
        let mut annotation = AnnotationKind::Primary.span(start..end);
        if !mistake.label.is_empty() {
            annotation = annotation.label(mistake.label.as_str());
        }
        let snippet = Snippet::source(self.text.as_str()).path(self.name.as_str());
        title.element(snippet.annotation(annotation))
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Mistakes {}
