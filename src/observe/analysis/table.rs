//! An analysis as tables, in lines that fit a terminal.
//!
//! What others wrote stands at the end of a line, so that wide characters and long names put nothing out of line. Rows begin
//! with a space and headings do not.

use super::report::{Analysis, OperationStats, Rates, Series};
use super::timeline::Timeline;
use super::words::{counted, grouped, length, second, shortened, shown, sparkline};
use std::fmt;

const COLUMNS: usize = 100;
/// How narrow lines become.
const COLUMNS_MIN: usize = 60;
/// How many rows a table shows.
const ROWS_MAX: usize = 20;
/// How many sources are shown of a type that has several.
const SOURCES_MAX: usize = 3;
/// How wide a sparkline becomes, and how much is left for what stands beside it.
const SPARKLINE_MAX: usize = 60;
const BESIDE_SPARKLINE: usize = 54;
/// How much of a text is looked at: lines are cut later.
const TEXT_MAX: usize = 300;

/// Writes lines no longer than so many characters.
struct Lines<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    columns: usize,
}

impl Lines<'_, '_> {
    fn line(&mut self, text: &str) -> fmt::Result {
        writeln!(self.out, "{}", shortened(text.trim_end(), self.columns))
    }

    fn heading(&mut self, text: &str, columns: &str) -> fmt::Result {
        self.line("")?;
        self.line(text)?;
        self.line(columns)
    }

    fn more(&mut self, rows: usize, what: &str) -> fmt::Result {
        match rows.saturating_sub(ROWS_MAX) {
            0 => Ok(()),
            more => self.line(&format!("  and {} more {what}", grouped(more as u64))),
        }
    }
}

/// Tables, in lines of 100 columns or as many as the width of the format says, from 60 on. The first 20 rows of each.
impl fmt::Display for Analysis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = f.width().unwrap_or(COLUMNS).max(COLUMNS_MIN);
        let mut lines = Lines { out: f, columns };
        let (Some(first), Some(last)) = (self.first, self.last) else { return lines.line("no events") };
        let span_ns = last.as_unix_nanos().wrapping_sub(first.as_unix_nanos()).cast_unsigned();
        let (events, span) = (counted(self.events, "event"), length(span_ns));
        lines.line(&format!("{events} in {span}, {} to {} UTC", second(first), second(last)))?;

        let timeline = Timeline::fit(self, (columns - BESIDE_SPARKLINE).clamp(8, SPARKLINE_MAX));
        self.rates(&mut lines, &timeline, "type", &self.types)?;
        if self.sources.kept.len() > 1 {
            self.rates(&mut lines, &timeline, "source", &self.sources)?;
        }
        self.jumps(&mut lines)?;
        self.errors(&mut lines)?;
        self.operations(&mut lines)?;
        self.never_completed(&mut lines)
    }
}

impl Analysis {
    fn rates(
        &self,
        lines: &mut Lines<'_, '_>,
        timeline: &Timeline,
        what: &str,
        rates: &Rates,
    ) -> fmt::Result {
        let width = timeline.len().max("over time".len());
        let title = format!("Rates by {what}, in windows of {}", length(self.window_ns));
        let columns = format!("    events  most in one  {:<width$}  {what}", "over time");
        let column = if timeline.column_ns() == self.window_ns {
            title
        } else {
            format!("{title}, drawn by {}", length(timeline.column_ns()))
        };
        lines.heading(&column, &columns)?;
        let mut row = |series: &Series, name: &str| {
            let most = series.counts.iter().copied().max().unwrap_or(0);
            let (events, most) = (grouped(series.events), grouped(most));
            let line = sparkline(&timeline.counts(series));
            lines.line(&format!("{events:>10}  {most:>11}  {line:<width$}  {name}"))
        };
        for series in rates.kept.iter().take(ROWS_MAX) {
            let (event_type, source) = series.name();
            row(series, &shown(if what == "type" { event_type } else { source }, TEXT_MAX))?;
            let of_type = |pair: &&Series| what == "type" && pair.event_type == series.event_type;
            let mut pairs = self.pairs.kept.iter().filter(of_type).peekable();
            let is_all = pairs.peek().is_none_or(|pair| pair.events == series.events);
            for pair in pairs.take(if is_all { 0 } else { SOURCES_MAX }) {
                row(pair, &format!("  from {}", shown(pair.name().1, TEXT_MAX)))?;
            }
        }
        lines.more(rates.kept.len(), &format!("{what}s"))?;
        if rates.others.events > 0 {
            let others = counted(rates.others.events, "event");
            lines.line(&format!("  and {others} of {what}s for which there was no room"))?;
        }
        Ok(())
    }

    fn jumps(&self, lines: &mut Lines<'_, '_>) -> fmt::Result {
        if self.jumps.total == 0 {
            return Ok(());
        }
        let title =
            format!("{} against the window before, the largest first", counted(self.jumps.total, "jump"));
        lines.heading(&title, "  from time on            before       after")?;
        for jump in self.jumps.kept.iter().take(ROWS_MAX) {
            let (event_type, source) = jump.name();
            let name = if source.is_empty() { event_type } else { source };
            let what = if source.is_empty() { "" } else { "source " };
            let arrow = if jump.after > jump.before { '▲' } else { '▼' };
            let (before, after) = (grouped(jump.before), grouped(jump.after));
            let name = shown(name, TEXT_MAX);
            lines
                .line(&format!("  {}  {before:>8} {arrow} {after:>9}  {what}{name}", second(jump.window)))?;
        }
        lines.more(self.jumps.total as usize, "jumps")
    }

    fn errors(&self, lines: &mut Lines<'_, '_>) -> fmt::Result {
        if self.errors.total == 0 {
            return Ok(());
        }
        let title = format!("{}, by type and message", counted(self.errors.total, "error"));
        lines.heading(&title, "    events  last at              type: message")?;
        for error in self.errors.kept.iter().take(ROWS_MAX) {
            let message = if error.events == 1 { &error.example } else { &error.message };
            let (kind, message) = (shown(&error.error_type, TEXT_MAX), shown(message, TEXT_MAX));
            let kind = if kind.is_empty() { kind } else { format!(" {kind}") };
            let message = if message.is_empty() { "(no message)".to_owned() } else { message };
            let name = shown(error.event_type.as_str(), TEXT_MAX);
            let (events, last) = (grouped(error.events), second(error.last));
            lines.line(&format!("{events:>10}  {last}  {name}{kind}: {message}"))?;
        }
        lines.more(self.errors.kept.len(), "errors")?;
        if self.errors.others > 0 {
            let others = counted(self.errors.others, "event");
            lines.line(&format!("  and {others} with errors for which there was no room"))?;
        }
        Ok(())
    }

    fn operations(&self, lines: &mut Lines<'_, '_>) -> fmt::Result {
        let others = self.operations.others;
        if self.operations.kept.is_empty() && others.starts == 0 {
            return Ok(());
        }
        let columns = "     ended  failed    open       p50        p99        max  operation";
        lines.heading("Operations, from start to end", columns)?;
        for stats in self.operations.kept.iter().take(ROWS_MAX) {
            lines.line(&row_of(stats))?;
        }
        lines.more(self.operations.kept.len(), "kinds of operations")?;
        if others.starts > 0 {
            let starts = counted(others.starts, "start");
            lines.line(&format!("  and {starts} of kinds for which there was no room"))?;
        }
        Ok(())
    }

    fn never_completed(&self, lines: &mut Lines<'_, '_>) -> fmt::Result {
        let never = &self.never_completed;
        if never.total == 0 && never.let_go == 0 {
            return Ok(());
        }
        let mut title = format!("{} never completed, the oldest first", grouped(never.total));
        if never.let_go > 0 {
            title += &format!("; {} more were given up to make room", grouped(never.let_go));
        }
        lines.heading(&title, "         age  since                operation, correlation id, source")?;
        for open in never.kept.iter().take(ROWS_MAX) {
            let texts = [&open.operation, open.correlation_id.as_str(), open.source.as_str()];
            let [operation, correlation_id, source] = texts.map(|text| shown(text, TEXT_MAX));
            let (age, since) = (length(open.age_ns), second(open.since));
            lines.line(&format!("{age:>12}  {since}  {operation}, {correlation_id}, {source}"))?;
        }
        lines.more(never.total as usize, "of them")
    }
}

fn row_of(stats: &OperationStats) -> String {
    let mark = if stats.is_exact { "" } else { "~" };
    let time = |ns: u64, mark: &str| match stats.completed {
        0 => "-".to_owned(),
        _ => format!("{mark}{}", length(ns)),
    };
    let (p50, p99, max) = (time(stats.p50_ns, mark), time(stats.p99_ns, mark), time(stats.max_ns, ""));
    let [completed, failed, open] = [stats.completed, stats.failed, stats.open].map(grouped);
    let mut row = format!("{completed:>10} {failed:>7} {open:>7} {p50:>10} {p99:>10} {max:>10}  ");
    row += &shown(&stats.operation, TEXT_MAX);
    let notes = [
        (stats.let_go, "given up"),
        (stats.uncorrelated, "without correlation id"),
        (stats.ends_alone, "ends without a start"),
    ];
    let notes: Vec<String> =
        notes.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", grouped(*n))).collect();
    if !notes.is_empty() {
        row += &format!(" ({})", notes.join(", "));
    }
    row
}
