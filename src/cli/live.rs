//! What `kymo run` shows while it runs: a table in a terminal, a line now and then elsewhere.

use std::io;
use std::time::{Duration, Instant};

use ratatui::layout::Constraint;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, Widget};
use ratatui::{DefaultTerminal, TerminalOptions, Viewport};

use super::say;
use crate::alert::{Change, Severity};
use crate::clock::rfc3339;
use crate::pipeline::{Notice, Run};

/// Shows a run.
pub(super) trait View {
    /// It has begun.
    fn start(&mut self, run: &Run);
    /// Something happened.
    fn notice(&mut self, run: &Run, notice: &Notice);
    /// A line of its own.
    fn say(&mut self, text: &str);
    /// Time has passed.
    fn tick(&mut self, run: &Run);
    /// It is over.
    fn finish(&mut self);
}

/// A notice in one line; `None` if there is nothing to say.
fn line(run: &Run, notice: &Notice) -> Option<String> {
    match notice {
        // A notifier of its own shows them.
        Notice::Alert(_) if run.shows_alerts_itself() => None,
        Notice::Alert(alert) => {
            let rule = &run.names().rules[alert.rule];
            let moved = &alert.moved;
            let word = match moved.change {
                Change::Fired => "ALERT",
                Change::Cleared => "clear",
                other => other.name(),
            };
            let silent = if moved.silenced { " (silenced)" } else { "" };
            Some(format!(
                "{} {word} {} {}: {}{silent}",
                time_of_day(moved.time_ns),
                rule.options.severity.name(),
                rule.options.name,
                rule.message(moved)
            ))
        }
        Notice::Line(text) => Some(text.clone()),
        Notice::Event(event) => {
            let source = event
                .source
                .map_or("host", |source| run.names().source(source));
            Some(format!(
                "{} {source}: {}",
                time_of_day(event.time_ns),
                event.kind
            ))
        }
        Notice::Wake => None,
    }
}

/// `08:15:00.123`, UTC.
fn time_of_day(time_ns: i64) -> String {
    rfc3339(time_ns).get(11..23).unwrap_or_default().to_owned()
}

/// One source as the table shows it.
struct SourceLine {
    name: String,
    rate: f64,
    nominal: Option<f64>,
    waiting: u64,
    /// For want of room; what is not to be kept is no trouble.
    dropped: u64,
    /// By how much its clock is slow, where that is known, ppm.
    drift_ppm: Option<f64>,
    last: String,
    age_ms: Option<f64>,
}

/// Rates between two looks.
struct Rates {
    frames: Vec<u64>,
    at: Instant,
}

impl Rates {
    fn new(run: &Run) -> Self {
        Self {
            frames: (0..run.boards().len())
                .map(|source| frames(run, source))
                .collect(),
            at: Instant::now(),
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn look(&mut self, run: &Run) -> Vec<SourceLine> {
        let seconds = self.at.elapsed().as_secs_f64().max(1e-3);
        self.at = Instant::now();
        let now_ns = run.clock().now_ns();
        let plan = run.plan();
        let sources = run.ledger().sources().zip(run.boards());
        sources
            .enumerate()
            .map(|(index, (counts, boards))| {
                let read = plan.sources.get(index);
                let derived = plan
                    .computed
                    .derived
                    .get(index.wrapping_sub(plan.sources.len()));
                let channel = match (read, derived) {
                    (Some(source), _) => source.channels.first().map(|c| (&c.name, &c.unit)),
                    (_, Some(derived)) => derived.channels.first().map(|c| (&c.name, &c.unit)),
                    _ => None,
                };
                let frames = frames(run, index);
                let before = std::mem::replace(&mut self.frames[index], frames);
                let shown = boards.first().map(|board| board.read());
                let last = shown.filter(|shown| shown.last_ns.is_some());
                SourceLine {
                    name: run
                        .names()
                        .source(kymo_drivers::block::SourceId(
                            u16::try_from(index).unwrap_or(u16::MAX),
                        ))
                        .to_owned(),
                    rate: frames.saturating_sub(before) as f64 / seconds,
                    nominal: read.map_or_else(|| derived.and_then(|d| d.rate_hz), |s| s.rate_hz),
                    waiting: counts
                        .acquired()
                        .saturating_sub(counts.journaled() + counts.dropped()),
                    dropped: counts.dropped() - counts.not_kept(),
                    drift_ppm: counts.clock().map(|clock| clock.drift_ppb as f64 / 1e3),
                    last: last
                        .zip(channel)
                        .map_or_else(String::new, |(shown, (name, unit))| {
                            format!("{name} {:.4} {unit}", shown.last)
                        }),
                    age_ms: last
                        .and_then(|shown| shown.last_ns)
                        .map(|last_ns| (now_ns - last_ns).max(0) as f64 / 1e6),
                }
            })
            .collect()
    }
}

/// Frames of a source so far: what its reader decoded, or what was computed.
fn frames(run: &Run, source: usize) -> u64 {
    if source < run.plan().sources.len() {
        let counts = run.ledger().sources().nth(source);
        return counts.map_or(0, |counts| counts.frames());
    }
    run.boards()[source]
        .first()
        .map_or(0, |board| board.read().count)
}

/// How the sinks stand, a line each.
fn sink_lines(run: &Run) -> Vec<(String, bool)> {
    let line = |(name, status): (String, crate::sink::SinkStatus)| {
        let trouble = status.trouble.as_ref();
        let text = format!(
            "sink {name}: {} written, {} behind{}",
            status.written,
            status.behind,
            trouble.map_or_else(String::new, |trouble| format!("; {trouble}"))
        );
        (text, trouble.is_some() || status.lost.is_some())
    };
    run.sinks().into_iter().map(line).collect()
}

/// A table that is drawn over and over at the bottom of the terminal; alerts scroll past above it.
pub(super) struct Live {
    terminal: DefaultTerminal,
    rates: Rates,
}

/// More sources than this are not shown one by one.
const ROWS_MAX: usize = 30;

impl Live {
    pub(super) fn new(run: &Run) -> io::Result<Self> {
        let rows = run.boards().len().min(ROWS_MAX) + run.plan().sinks.len().min(ROWS_MAX);
        let height = u16::try_from(rows + 3).unwrap_or(u16::MAX);
        // Not raw mode: Ctrl-C stays the terminal's, and arrives as a signal like everywhere else.
        let backend = ratatui::backend::CrosstermBackend::new(io::stdout());
        let options = TerminalOptions {
            viewport: Viewport::Inline(height),
        };
        let terminal = ratatui::Terminal::with_options(backend, options)?;
        Ok(Self {
            terminal,
            rates: Rates::new(run),
        })
    }
}

impl View for Live {
    fn start(&mut self, run: &Run) {
        for note in run.recovery() {
            self.above(note.clone(), Style::new().yellow());
        }
        self.tick(run);
    }

    fn notice(&mut self, run: &Run, notice: &Notice) {
        let Some(text) = line(run, notice) else {
            return;
        };
        let style = match notice {
            Notice::Alert(alert) if alert.moved.change == Change::Fired => {
                match run.names().rules[alert.rule].options.severity {
                    Severity::Critical => Style::new().red().add_modifier(Modifier::BOLD),
                    Severity::Warning => Style::new().yellow(),
                    Severity::Info => Style::new().cyan(),
                }
            }
            Notice::Alert(_) => Style::new().green(),
            _ => Style::new().dim(),
        };
        self.above(text, style);
    }

    fn say(&mut self, text: &str) {
        self.above(text.to_owned(), Style::new());
    }

    fn tick(&mut self, run: &Run) {
        let lines = self.rates.look(run);
        let hidden = lines.len().saturating_sub(ROWS_MAX);
        let rows = lines.iter().take(ROWS_MAX).map(|source| {
            let rate = match source.nominal {
                Some(nominal) => format!("{:.0} / {nominal:.0}", source.rate),
                None => format!("{:.0}", source.rate),
            };
            let slow = source
                .nominal
                .is_some_and(|nominal| source.rate < 0.9 * nominal);
            let rate_style = if slow {
                Style::new().yellow()
            } else {
                Style::new()
            };
            let dropped_style = if source.dropped > 0 {
                Style::new().red()
            } else {
                Style::new()
            };
            Row::new([
                Cell::new(source.name.clone()),
                Cell::new(Line::styled(rate, rate_style).right_aligned()),
                Cell::new(Line::raw(source.waiting.to_string()).right_aligned()),
                Cell::new(Line::styled(source.dropped.to_string(), dropped_style).right_aligned()),
                Cell::new(
                    Line::raw(
                        source
                            .drift_ppm
                            .map_or_else(String::new, |ppm| format!("{ppm:+.1} ppm")),
                    )
                    .right_aligned(),
                ),
                Cell::new(source.last.clone()),
                Cell::new(
                    Line::raw(
                        source
                            .age_ms
                            .map_or_else(String::new, |ms| format!("{ms:.0} ms")),
                    )
                    .right_aligned(),
                ),
            ])
        });
        let widths = [
            Constraint::Max(20),
            Constraint::Length(17),
            Constraint::Length(9),
            Constraint::Length(9),
            Constraint::Length(11),
            Constraint::Min(20),
            Constraint::Length(9),
        ];
        let header = Row::new([
            "source",
            "frames/s",
            "waiting",
            "dropped",
            "clock slow",
            "last value",
            "age",
        ])
        .style(Style::new().add_modifier(Modifier::BOLD));
        let table = Table::new(rows, widths).header(header).column_spacing(2);
        let totals = run.ledger().totals(0);
        let more = if hidden > 0 {
            format!("{hidden} sources more; ")
        } else {
            String::new()
        };
        let foot = Paragraph::new(Line::from(vec![
            Span::raw(format!(
                "{more}run {}: {} samples acquired, {} journaled, {} dropped",
                run.id(),
                totals.acquired,
                totals.journaled,
                totals.dropped
            )),
            Span::styled("   Ctrl-C stops", Style::new().dim()),
        ]));
        let sinks: Vec<Line<'_>> = sink_lines(run)
            .into_iter()
            .take(ROWS_MAX)
            .map(|(text, is_bad)| {
                Line::styled(
                    text,
                    if is_bad {
                        Style::new().yellow()
                    } else {
                        Style::new()
                    },
                )
            })
            .collect();
        let sinks_height = u16::try_from(sinks.len()).unwrap_or(0);
        // A terminal that went away does not stop the acquisition.
        let _ = self.terminal.draw(|frame| {
            let area = frame.area();
            let [above, middle, below] = ratatui::layout::Layout::vertical([
                Constraint::Min(1),
                Constraint::Length(sinks_height),
                Constraint::Length(1),
            ])
            .areas(area);
            frame.render_widget(table, above);
            frame.render_widget(Paragraph::new(sinks), middle);
            frame.render_widget(foot, below);
        });
    }

    fn finish(&mut self) {
        // What is printed next begins where the table was.
        let top = self.terminal.get_frame().area().as_position();
        let _ = self.terminal.clear();
        let _ = self.terminal.set_cursor_position(top);
        let _ = self.terminal.show_cursor();
    }
}

impl Live {
    /// A line above the table, where it scrolls away.
    fn above(&mut self, text: String, style: Style) {
        let _ = self.terminal.insert_before(1, |buffer| {
            Paragraph::new(Line::styled(text, style)).render(buffer.area, buffer);
        });
    }
}

/// Lines on standard output: every alert and event, and every ten seconds how things stand.
pub(super) struct Plain {
    silent: bool,
    rates: Option<Rates>,
    next: Instant,
}

const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

impl Plain {
    /// `silent`: print nothing at all.
    pub(super) fn new(silent: bool) -> Self {
        Self {
            silent,
            rates: None,
            next: Instant::now() + PLAIN_INTERVAL,
        }
    }

    fn print(&self, text: &str) {
        if !self.silent {
            say(text);
        }
    }
}

impl View for Plain {
    fn start(&mut self, run: &Run) {
        let sources = run.plan().sources.len();
        self.print(&format!(
            "run {}: {sources} sources into {}",
            run.id(),
            run.plan().data_dir.display()
        ));
        for note in run.recovery() {
            self.print(note);
        }
        self.rates = Some(Rates::new(run));
    }

    fn notice(&mut self, run: &Run, notice: &Notice) {
        if let Some(text) = line(run, notice) {
            self.print(&text);
        }
    }

    fn say(&mut self, text: &str) {
        self.print(text);
    }

    fn tick(&mut self, run: &Run) {
        if Instant::now() < self.next {
            return;
        }
        self.next += PLAIN_INTERVAL;
        let Some(rates) = &mut self.rates else { return };
        let sources: Vec<String> = rates
            .look(run)
            .iter()
            .map(|source| match source.dropped {
                0 => format!("{} {:.0}/s", source.name, source.rate),
                dropped => format!("{} {:.0}/s ({dropped} dropped)", source.name, source.rate),
            })
            .collect();
        let totals = run.ledger().totals(0);
        let (acquired, journaled, dropped) = (totals.acquired, totals.journaled, totals.dropped);
        self.print(&format!(
            "{} {acquired} samples acquired, {journaled} journaled, {dropped} dropped; {}",
            time_of_day(run.clock().now_ns()),
            sources.join(", ")
        ));
    }

    fn finish(&mut self) {}
}
