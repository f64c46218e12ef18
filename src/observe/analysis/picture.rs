//! An analysis as a picture: rates over time, durations, errors.

use super::report::{Analysis, Jump, OperationStats, Series};
use super::svg::{Anchor, Svg};
use super::timeline::Timeline;
use super::words::{counted, grouped, length, second};

const WIDTH: f64 = 960.0;
const MARGIN: f64 = 24.0;
/// Where drawings begin and end; names stand to the left, figures to the right.
const LEFT: f64 = 270.0;
const RIGHT: f64 = 850.0;
/// How many characters fit to the left.
const NAME_CHARS: usize = 34;
/// How wide a time below the axis is.
const TICK_WIDTH: f64 = 84.0;
const COLUMNS_MAX: usize = 160;
const TYPES_MAX: usize = 12;
const ROWS_MAX: usize = 8;

impl Analysis {
    /// The analysis as a picture: an SVG document that needs nothing beside it, light or dark as the reader wishes. The twelve
    /// most frequent types over time with their jumps, each to its own scale and a long silence as one dotted line; the
    /// durations of eight kinds of operations; the eight most frequent errors, and operations that never completed.
    /// Nothing in an event can be markup in it.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let mut picture = Picture { svg: Svg::default(), y: 44.0 };
        let title = picture.header(self);
        if self.events > 0 {
            picture.rates(self);
            picture.operations(self);
            picture.errors(self);
            picture.never_completed(self);
        }
        picture.svg.finish(WIDTH, picture.y + MARGIN, &title)
    }
}

struct Picture {
    svg: Svg,
    /// How far down it is drawn.
    y: f64,
}

impl Picture {
    fn header(&mut self, analysis: &Analysis) -> String {
        let (Some(first), Some(last)) = (analysis.first, analysis.last) else {
            let title = "no events".to_owned();
            self.svg.text([MARGIN, self.y], Anchor::Start, "ink title", &title, 80);
            return title;
        };
        let span = last.as_unix_nanos().wrapping_sub(first.as_unix_nanos()).cast_unsigned();
        let title = format!("{} in {}", counted(analysis.events, "event"), length(span));
        self.svg.text([MARGIN, self.y], Anchor::Start, "ink title", &title, 80);
        let kept = |rows: usize, others: u64| format!("{}{rows}", if others > 0 { "over " } else { "" });
        let facts = [
            format!("{} to {} UTC", second(first), second(last)),
            format!("types: {}", kept(analysis.types.kept.len(), analysis.types.others.events)),
            format!("sources: {}", kept(analysis.sources.kept.len(), analysis.sources.others.events)),
            format!("errors: {}", grouped(analysis.errors.total)),
            format!("never completed: {}", grouped(analysis.never_completed.total)),
        ];
        self.svg.text([MARGIN, self.y + 22.0], Anchor::Start, "dim", &facts.join("   ·   "), 200);
        self.y += 40.0;
        title
    }

    /// A panel with a title; the pen is below that.
    fn panel(&mut self, title: &str, height: f64) {
        self.svg.panel([MARGIN / 2.0, self.y, WIDTH - MARGIN, height]);
        self.y += 26.0;
        self.svg.text([MARGIN, self.y], Anchor::Start, "ink head", title, 90);
        self.y += 12.0;
    }

    fn rates(&mut self, analysis: &Analysis) {
        const ROW: f64 = 40.0;
        let timeline = Timeline::fit(analysis, COLUMNS_MAX);
        let shown = &analysis.types.kept[..analysis.types.kept.len().min(TYPES_MAX)];
        let height = 122.0 + ROW * shown.len() as f64;
        let title = format!("Rate by type, in events per {}", length(timeline.column_ns()));
        let bottom = self.y + height;
        self.panel(&title, height);
        let width = (RIGHT - LEFT) / timeline.len().max(1) as f64;
        let top = self.y;
        for series in shown {
            self.y += ROW;
            self.series(series, &timeline, width);
            let is_of_it = |jump: &&Jump| jump.event_type.is_some() && jump.event_type == series.event_type;
            for jump in analysis.jumps.kept.iter().filter(is_of_it) {
                let x = LEFT + (timeline.column_of(jump.window) as f64 + 0.5) * width;
                self.svg.triangle([x, self.y + 6.0], jump.after > jump.before);
            }
        }
        for (column, start) in (0..timeline.len()).map(|column| (column, timeline.start(column))) {
            if start.is_none() {
                let x = LEFT + (column as f64 + 0.5) * width;
                self.svg.line([x, top + 8.0], [x, self.y], "silence");
            }
        }
        self.ticks(&timeline, width);
        self.y += 62.0;
        self.legend(&[
            ("event", "events"),
            ("bad", "of failure"),
            ("up", "jumped up"),
            ("down", "fell"),
            ("silence", "silence, cut short"),
        ]);
        let more = analysis.types.kept.len() - shown.len();
        if more > 0 {
            let text = format!("and {} more types", grouped(more as u64));
            self.svg.text([MARGIN, self.y], Anchor::Start, "dim small", &text, 40);
        }
        self.y = bottom + 14.0;
    }

    /// One type: its name, its columns to its own scale, and how much the highest is.
    fn series(&mut self, series: &Series, timeline: &Timeline, width: f64) {
        const HEIGHT: f64 = 28.0;
        let name = series.name().0;
        let counts = timeline.counts(series);
        let most = counts.iter().flatten().copied().max().unwrap_or(0);
        self.svg.text([MARGIN, self.y - 12.0], Anchor::Start, "ink", name, NAME_CHARS);
        self.svg.text(
            [MARGIN, self.y + 2.0],
            Anchor::Start,
            "dim small",
            &counted(series.events, "event"),
            40,
        );
        self.svg.line([LEFT, self.y], [RIGHT, self.y], "grid");
        let top = format!("max {}", grouped(most));
        self.svg.text([RIGHT + 10.0, self.y - 8.0], Anchor::Start, "dim small", &top, 20);
        let class = if is_of_failure(name) { "bad" } else { "event" };
        for (column, count) in counts.iter().enumerate() {
            if let Some(count) = count.filter(|count| *count > 0) {
                // What is there is seen.
                let height = (HEIGHT * count as f64 / most as f64).max(1.5);
                let gap = if width > 3.0 { 1.0 } else { 0.0 };
                let x = LEFT + column as f64 * width;
                self.svg.rect([x, self.y - height, width - gap, height], class);
            }
        }
    }

    /// Times below the axis: where something begins after a silence, and between.
    fn ticks(&mut self, timeline: &Timeline, width: f64) {
        let after_silence =
            (0..timeline.len()).filter(|column| *column == 0 || timeline.start(column - 1).is_none());
        let between = (1..=12).map(|part| timeline.len() * part / 13);
        let mut taken: Vec<f64> = Vec::new();
        let mut ticks = Vec::new();
        for column in after_silence.chain(between) {
            let x = LEFT + column as f64 * width;
            let is_free = taken.iter().all(|other| (x - other).abs() >= TICK_WIDTH);
            if let Some(start) = timeline.start(column).filter(|_| is_free) {
                taken.push(x);
                ticks.push((column, x, start));
            }
        }
        ticks.sort_by_key(|(column, ..)| *column);
        let mut date_before = String::new();
        for (_, x, start) in ticks {
            let time = start.to_rfc3339();
            let (date, time) = time.split_once('T').unwrap_or((&time, ""));
            let time: String = time.trim_end_matches('Z').chars().take("00:00:00.000".len()).collect();
            self.svg.line([x, self.y], [x, self.y + 14.0], "grid");
            self.svg.text([x, self.y + 26.0], Anchor::Start, "dim small", &time, 20);
            if date != date_before {
                self.svg.text([x, self.y + 39.0], Anchor::Start, "dim small", date, 20);
                date.clone_into(&mut date_before);
            }
        }
        self.svg.text([LEFT - 12.0, self.y + 26.0], Anchor::End, "dim small", "time (UTC)", 20);
    }

    fn legend(&mut self, entries: &[(&str, &str)]) {
        let (mut x, y) = (LEFT, self.y);
        for (class, text) in entries {
            match *class {
                "up" | "down" => self.svg.triangle([x + 5.0, y - 4.0], *class == "up"),
                "silence" => self.svg.line([x + 5.0, y - 11.0], [x + 5.0, y + 2.0], class),
                "p50" => self.svg.circle([x + 5.0, y - 4.0], 5.0, class),
                "p99" => self.svg.diamond([x + 5.0, y - 4.0]),
                "max" => self.svg.line([x + 5.0, y - 11.0], [x + 5.0, y + 2.0], class),
                _ => self.svg.rect([x, y - 9.0, 10.0, 10.0], class),
            }
            self.svg.text([x + 16.0, y], Anchor::Start, "dim small", text, 40);
            x += 34.0 + 6.2 * text.len() as f64;
        }
    }

    fn operations(&mut self, analysis: &Analysis) {
        const ROW: f64 = 36.0;
        let ended = |stats: &&OperationStats| stats.completed > 0;
        let shown: Vec<&OperationStats> =
            analysis.operations.kept.iter().filter(ended).take(ROWS_MAX).collect();
        if shown.is_empty() {
            return;
        }
        let times = || shown.iter().flat_map(|stats| [stats.p50_ns, stats.max_ns]);
        let marks = marks_around(times().min().unwrap_or(0), times().max().unwrap_or(0));
        let (least, most) = (exponent(marks[0]), exponent(marks[marks.len() - 1]));
        // What took no time stands at the left end.
        let x_of = |ns: u64| LEFT + ((exponent(ns) - least) / (most - least)).max(0.0) * (RIGHT - LEFT);

        let height = 102.0 + ROW * shown.len() as f64;
        let bottom = self.y + height;
        self.panel("Operations, from start to end", height);
        let (top, below) = (self.y + 6.0, self.y + 10.0 + ROW * shown.len() as f64);
        for ns in marks.iter().step_by(marks.len().div_ceil(9)) {
            let x = x_of(*ns);
            self.svg.line([x, top], [x, below], "grid");
            self.svg.text([x, below + 16.0], Anchor::Middle, "dim small", &length(*ns), 20);
        }
        for stats in shown {
            self.y += ROW;
            let y = self.y - 10.0;
            self.svg.text([MARGIN, self.y - 12.0], Anchor::Start, "ink", &stats.operation, NAME_CHARS);
            let [ended, failed, open] = [stats.completed, stats.failed, stats.open].map(grouped);
            let mut facts = format!("{ended} ended");
            for (count, text) in
                [(stats.failed, format!(", {failed} failed")), (stats.open, format!(", {open} open"))]
            {
                facts += if count > 0 { &text } else { "" };
            }
            self.svg.text([MARGIN, self.y + 2.0], Anchor::Start, "dim small", &facts, 44);
            let [p50, p99, max] = [stats.p50_ns, stats.p99_ns, stats.max_ns].map(x_of);
            self.svg.line([p50, y], [max, y], "range");
            self.svg.line([max, y - 8.0], [max, y + 8.0], "max");
            self.svg.diamond([p99, y]);
            self.svg.circle([p50, y], 5.0, "p50");
            self.svg.text([RIGHT + 14.0, y + 4.0], Anchor::Start, "dim small", &length(stats.max_ns), 14);
        }
        self.y = below + 42.0;
        self.legend(&[
            ("p50", "half took no longer (p50)"),
            ("p99", "99 of 100 took no longer (p99)"),
            ("max", "longest"),
        ]);
        self.y = bottom + 14.0;
    }

    fn errors(&mut self, analysis: &Analysis) {
        const ROW: f64 = 34.0;
        let shown = &analysis.errors.kept[..analysis.errors.kept.len().min(ROWS_MAX)];
        let Some(most) = shown.first().map(|error| error.events.max(1)) else { return };
        let height = 50.0 + ROW * shown.len() as f64;
        let bottom = self.y + height;
        let total = grouped(analysis.errors.total);
        self.panel(&format!("Errors by type and message: {total}, the most frequent first"), height);
        for error in shown {
            self.y += ROW;
            let y = self.y - 8.0;
            self.svg.text([MARGIN, y - 4.0], Anchor::Start, "ink", error.event_type.as_str(), NAME_CHARS);
            self.svg.text([MARGIN, y + 10.0], Anchor::Start, "dim small", &error.error_type, NAME_CHARS);
            let message = if error.events == 1 { &error.example } else { &error.message };
            let message = if message.is_empty() { "(no message)" } else { message };
            self.svg.text([LEFT, y - 4.0], Anchor::Start, "ink", message, 86);
            let width = ((RIGHT - LEFT) * error.events as f64 / most as f64).max(1.5);
            self.svg.rect([LEFT, y + 2.0, width, 7.0], "bad");
            self.svg.text([RIGHT + 14.0, y + 9.0], Anchor::Start, "dim small", &grouped(error.events), 14);
        }
        self.y = bottom + 14.0;
    }

    fn never_completed(&mut self, analysis: &Analysis) {
        const ROW: f64 = 20.0;
        let never = &analysis.never_completed;
        let shown = &never.kept[..never.kept.len().min(ROWS_MAX)];
        if shown.is_empty() {
            return;
        }
        let height = 50.0 + ROW * shown.len() as f64;
        let bottom = self.y + height;
        self.panel(&format!("Never completed: {}, the oldest first", grouped(never.total)), height);
        for open in shown {
            self.y += ROW;
            self.svg.text([MARGIN, self.y], Anchor::Start, "ink", &open.operation, NAME_CHARS);
            let text = format!("{}, from {}", open.correlation_id, open.source);
            self.svg.text([LEFT, self.y], Anchor::Start, "dim", &text, 84);
            self.svg.text([RIGHT + 14.0, self.y], Anchor::Start, "dim small", &length(open.age_ns), 14);
        }
        self.y = bottom + 14.0;
    }
}

fn is_of_failure(event_type: &str) -> bool {
    let last = event_type.rsplit('.').next().unwrap_or(event_type);
    ["error", "failed"].contains(&last)
}

fn exponent(ns: u64) -> f64 {
    (ns.max(1) as f64).log10()
}

/// Lengths that people know, from the last that is no longer than the shortest to the first that is no shorter than the
/// longest: at least two.
fn marks_around(shortest: u64, longest: u64) -> &'static [u64] {
    const SECOND: u64 = 1_000_000_000;
    const DAY: u64 = 86_400 * SECOND;
    const MARKS: [u64; 19] = [
        1,
        10,
        100,
        1_000,
        10_000,
        100_000,
        1_000_000,
        10_000_000,
        100_000_000,
        SECOND,
        10 * SECOND,
        60 * SECOND,
        600 * SECOND,
        3_600 * SECOND,
        DAY,
        10 * DAY,
        100 * DAY,
        1_000 * DAY,
        u64::MAX,
    ];
    let first = MARKS.partition_point(|mark| *mark <= shortest).saturating_sub(1).min(MARKS.len() - 2);
    let last = MARKS.partition_point(|mark| *mark < longest).max(first + 1);
    &MARKS[first..=last]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_around_all_times() {
        for (shortest, longest) in
            [(0, 0), (1, 1), (5, 5), (10, 10), (7, 99_999), (u64::MAX, u64::MAX), (0, u64::MAX)]
        {
            let marks = marks_around(shortest, longest);
            assert!(marks.len() >= 2 && marks[0] <= shortest.max(1), "{shortest} to {longest}: {marks:?}");
            assert!(marks[marks.len() - 1] >= longest);
        }
    }
}
