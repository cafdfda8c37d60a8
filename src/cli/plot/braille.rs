//! A plot in dots of braille, for a terminal or a file of text.
//!
//! **Must not know.** Where the picture comes from.

use std::fmt::Write as _;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;
use ratatui::symbols::Marker;
use ratatui::widgets::Widget;
use ratatui::widgets::canvas::{Canvas, Line};

use super::picture::{Picture, bounds, tick};

/// Room for the numbers of the axis.
const GUTTER: u16 = 11;

/// Lines of a panel at least: fewer show nothing.
const PANEL_MIN: u16 = 4;

/// Colours that are told apart on dark and on light, and their codes.
const COLORS: [(Color, u8); 6] = [
    (Color::Cyan, 36),
    (Color::Yellow, 33),
    (Color::Magenta, 35),
    (Color::Green, 32),
    (Color::Blue, 34),
    (Color::Red, 31),
];

/// The picture as lines of text.
pub(in crate::cli) fn draw(picture: &Picture, width: u16, height: u16, colours: bool) -> String {
    let width = width.max(GUTTER + 10);
    // Marks, times and their legend.
    let body = height.saturating_sub(3).max(PANEL_MIN);
    // Without colours channels on one axis could not be told apart.
    let mut panels = picture.panels(!colours);
    if u16::try_from(panels.len()).is_ok_and(|count| body / count.max(1) < PANEL_MIN) {
        panels = picture.panels(false);
    }
    let count = u16::try_from(panels.len()).unwrap_or(u16::MAX).max(1);
    let lines = (body / count).max(PANEL_MIN);
    let mut text = String::new();
    for panel in &panels {
        draw_panel(picture, panel, (width, lines), colours, &mut text);
    }
    footer(picture, width, &mut text);
    text
}

fn draw_panel(
    picture: &Picture,
    panel: &[usize],
    (width, lines): (u16, u16),
    colours: bool,
    text: &mut String,
) {
    let cells = width - GUTTER;
    let dots = usize::from(cells) * 2;
    let columns: Vec<_> = panel
        .iter()
        .map(|place| picture.columns(*place, dots))
        .collect();
    let (low, high) = bounds(columns.iter().flatten());
    text.push_str(&" ".repeat(usize::from(GUTTER)));
    let mut room = usize::from(cells);
    for (index, place) in panel.iter().enumerate() {
        let between = if index == 0 { "" } else { "   " };
        let sign = if colours { "━ " } else { "" };
        let label = format!("{between}{sign}{}", picture.series[*place].label());
        let label = cut(&label, room);
        room -= label.chars().count();
        // Writing into a string cannot fail.
        let _ = if colours {
            write!(
                text,
                "\x1b[{}m{label}\x1b[0m",
                COLORS[place % COLORS.len()].1
            )
        } else {
            write!(text, "{label}")
        };
    }
    text.push('\n');

    let area = Rect::new(0, 0, cells, lines - 1);
    let mut buffer = Buffer::empty(area);
    #[allow(clippy::cast_precision_loss)]
    let canvas = Canvas::default()
        .marker(Marker::Braille)
        .x_bounds([0.0, (dots - 1) as f64])
        .y_bounds([low, high])
        .paint(|context| {
            for (place, columns) in panel.iter().zip(&columns) {
                let color = COLORS[place % COLORS.len()].0;
                let mut before: Option<(f64, f64)> = None;
                for (x, envelope) in columns.iter().enumerate() {
                    let Some(envelope) = envelope else { continue };
                    let x = x as f64;
                    if let Some((x1, y1)) = before.filter(|_| !envelope.is_broken) {
                        context.draw(&Line::new(x1, y1, x, envelope.first, color));
                    }
                    context.draw(&Line::new(x, envelope.min, x, envelope.max, color));
                    before = Some((x, envelope.last));
                }
            }
        });
    canvas.render(area, &mut buffer);

    for y in 0..area.height {
        let label = match y {
            0 => tick(high, low, high),
            y if y == area.height - 1 => tick(low, low, high),
            y if y == area.height / 2 => tick(f64::midpoint(low, high), low, high),
            _ => String::new(),
        };
        let gutter = usize::from(GUTTER) - 2;
        let _ = write!(text, "{label:>gutter$} │");
        let mut line = String::new();
        let mut color = Color::Reset;
        for x in 0..area.width {
            let cell = &buffer[(x, y)];
            if colours && cell.fg != color {
                color = cell.fg;
                let code = COLORS.iter().find(|(known, _)| *known == color);
                let _ = write!(line, "\x1b[{}m", code.map_or(0, |(_, code)| *code));
            }
            // Where no dot is set nothing is printed.
            line.push_str(match cell.symbol() {
                "\u{2800}" => " ",
                symbol => symbol,
            });
        }
        if color != Color::Reset {
            line.push_str("\x1b[0m");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// Marks, times, and what the marks are.
fn footer(picture: &Picture, width: u16, text: &mut String) {
    let cells = usize::from(width - GUTTER);
    let gutter = usize::from(GUTTER) - 1;
    let mut marks = vec!['─'; cells];
    for is_alert in [false, true] {
        for mark in picture
            .marks
            .iter()
            .filter(|mark| mark.is_alert == is_alert)
        {
            let from = picture.column_of(mark.from_ns, cells);
            let to = picture.column_of(mark.to_ns, cells).max(from);
            marks[from..=to].fill(if is_alert { '!' } else { '~' });
        }
    }
    let marks: String = marks.into_iter().collect();
    let _ = writeln!(text, "{:>gutter$}└{marks}", "");
    let (from, to) = picture.ends();
    let room = cells.saturating_sub(from.len() + to.len());
    let times = if room > 0 {
        format!("{from}{}{to}", " ".repeat(room))
    } else {
        cut(&from, cells)
    };
    let _ = writeln!(text, "{:>gutter$} {times}", "");
    let _ = write!(text, "{:>gutter$} {}", "", picture.marks_text());
}

/// As much of a text as there is room for.
fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let kept = text.chars().take(room.saturating_sub(1));
    kept.chain((room > 0).then_some('…')).collect()
}
