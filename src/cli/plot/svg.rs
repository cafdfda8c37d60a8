//! A plot as SVG: one path a channel, a panel for each unit.
//!
//! **Must not know.** Where the picture comes from.

use std::fmt::Write as _;

use super::bins::{COLUMNS_MAX, Envelope};
use super::picture::{Picture, bounds, tick};

/// Room around the panels: left, right, below.
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
const BELOW: f64 = 50.0;

/// Room for a panel's legend.
const LEGEND: f64 = 26.0;

/// Colours that are told apart also by who sees few: Okabe and Ito.
const COLORS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000",
];

/// The picture as a document, so many pixels wide and high.
#[allow(clippy::cast_precision_loss)]
pub(super) fn draw(picture: &Picture, width: u16, height: u16) -> String {
    let panels = picture.panels(false);
    let (width, height) = (f64::from(width.max(200)), f64::from(height));
    let each = ((height - BELOW) / panels.len().max(1) as f64).max(LEGEND + 60.0);
    let height = each * panels.len() as f64 + BELOW;
    let mut svg = String::new();
    // Writing into a string cannot fail.
    let _ = write!(
        svg,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    let plot_width = width - LEFT - RIGHT;
    for (index, panel) in panels.iter().enumerate() {
        let top = each * index as f64 + LEGEND;
        let area = Area {
            top,
            width: plot_width,
            height: each - LEGEND - 6.0,
        };
        draw_panel(picture, panel, &area, &mut svg);
    }
    let y = height - BELOW + 16.0;
    let (from, to) = picture.ends();
    let right = width - RIGHT;
    let _ = write!(
        svg,
        "<text x=\"{LEFT}\" y=\"{y}\">{from}</text>\n\
         <text x=\"{right}\" y=\"{y}\" text-anchor=\"end\">{to}</text>\n\
         <text x=\"{LEFT}\" y=\"{}\" fill=\"#555555\">{}</text>\n</svg>\n",
        y + 20.0,
        escaped(&picture.marks_text())
    );
    svg
}

/// Where a panel is.
struct Area {
    top: f64,
    width: f64,
    height: f64,
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
fn draw_panel(picture: &Picture, panel: &[usize], area: &Area, svg: &mut String) {
    let Area { top, width, height } = *area;
    let bottom = top + height;
    let count = (width as usize).clamp(1, COLUMNS_MAX);
    let columns: Vec<_> = panel
        .iter()
        .map(|place| picture.columns(*place, count))
        .collect();
    let (low, high) = bounds(columns.iter().flatten());
    let x_of = |column: usize| LEFT + (column as f64 + 0.5) * width / count as f64;
    // Halves: the difference of two values need not be a value.
    let y_of = |value: f64| bottom - (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0) * height;

    for mark in &picture.marks {
        let from = picture.column_of(mark.from_ns, count);
        let to = picture.column_of(mark.to_ns, count).max(from);
        let (x, wide) = (x_of(from), (x_of(to) - x_of(from)).max(1.0));
        let (class, fill, opacity) = if mark.is_alert {
            ("alert", "#d00000", 0.6)
        } else {
            ("gap", "#888888", 0.35)
        };
        let wide = if mark.is_alert { 1.0 } else { wide };
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{height:.1}\" \
             fill=\"{fill}\" fill-opacity=\"{opacity}\"><title>{}</title></rect>",
            escaped(&mark.text)
        );
    }
    let _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"none\" stroke=\"#999999\"/>"
    );
    for (value, y) in [
        (high, top + 10.0),
        (f64::midpoint(low, high), top + height / 2.0 + 4.0),
        (low, bottom),
    ] {
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{y:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            tick(value, low, high)
        );
    }
    let mut x = LEFT;
    for (place, columns) in panel.iter().zip(&columns) {
        let (series, color) = (&picture.series[*place], COLORS[place % COLORS.len()]);
        let label = series.label();
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{:.1}\" fill=\"{color}\">{}</text>",
            top - 8.0,
            escaped(&label)
        );
        x += 7.5 * label.chars().count() as f64 + 20.0;
        let _ = writeln!(
            svg,
            "<path class=\"series\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.2\" stroke-linecap=\"round\" \
             stroke-linejoin=\"round\" d=\"{}\"><title>{}</title></path>",
            path(columns, x_of, y_of),
            escaped(&series.name)
        );
    }
}

/// First, lowest, highest and last value of every column, joined where nothing is missing.
fn path(
    columns: &[Option<Envelope>],
    x_of: impl Fn(usize) -> f64,
    y_of: impl Fn(f64) -> f64,
) -> String {
    let mut path = String::new();
    for (column, envelope) in columns.iter().enumerate() {
        let Some(envelope) = envelope else { continue };
        let x = x_of(column);
        let pen = if envelope.is_broken { 'M' } else { 'L' };
        let _ = write!(path, "{pen}{x:.1} {:.2}", y_of(envelope.first));
        for value in [envelope.min, envelope.max, envelope.last] {
            let _ = write!(path, "L{x:.1} {:.2}", y_of(value));
        }
    }
    path
}

/// A text as XML may hold it.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | '\n' => escaped.push(' '),
            // No XML can hold these, in whatever form.
            other if other.is_control() || matches!(other, '\u{fffe}' | '\u{ffff}') => {
                escaped.push('\u{fffd}');
            }
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        assert_eq!(
            escaped("a<b> & \"c\"\u{1b}\n"),
            "a&lt;b&gt; &amp; &quot;c&quot;\u{fffd} "
        );
    }
}
