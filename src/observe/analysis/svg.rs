//! The few shapes that a picture is made of, as SVG.
//!
//! Written by hand: it is a handful of elements, and all of foreign texts passes one function. Colours are classes with plain
//! values and no CSS variables, which not every program that shows SVG knows.

use super::words::shown;
use std::fmt::Write;

const STYLE: &str = "\
.page{fill:#fff}.panel{fill:#f6f8fa}.ink{fill:#1f2328}.dim{fill:#656d76}.grid{stroke:#d1d9e0;stroke-width:1}\
.event{fill:#3b82c4}.bad{fill:#d1483f}.range{stroke:#3b82c4;stroke-width:3;stroke-linecap:round}\
.max{stroke:#8b5fbf;stroke-width:2}.p50{fill:#3b82c4}.p99{fill:#e08b1f}.up{fill:#e08b1f}.down{fill:#8b5fbf}\
.silence{stroke:#8c959f;stroke-width:1;stroke-dasharray:2 3}\
text{font:12px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif}\
.title{font-size:19px;font-weight:600}.head{font-size:14px;font-weight:600}.small{font-size:11px}\
@media (prefers-color-scheme:dark){.page{fill:#0d1117}.panel{fill:#161b22}.ink{fill:#e6edf3}.dim{fill:#8d96a0}\
.grid{stroke:#30363d}.event,.p50{fill:#58a6ff}.range{stroke:#58a6ff}.bad{fill:#f4645c}.max{stroke:#b48ef0}\
.p99,.up{fill:#f0a742}.down{fill:#b48ef0}.silence{stroke:#6e7681}}";

/// Where a text's x is.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A picture in the making.
#[derive(Default)]
pub(super) struct Svg {
    body: String,
}

// Writing to a String cannot fail.
impl Svg {
    pub(super) fn rect(&mut self, [x, y, width, height]: [f64; 4], class: &str) {
        let _ = writeln!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" class="{class}"/>"#
        );
    }

    pub(super) fn panel(&mut self, [x, y, width, height]: [f64; 4]) {
        let _ = writeln!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="8" class="panel"/>"#
        );
    }

    pub(super) fn line(&mut self, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2], class: &str) {
        let _ = writeln!(
            self.body,
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" class="{class}"/>"#
        );
    }

    pub(super) fn circle(&mut self, [x, y]: [f64; 2], radius: f64, class: &str) {
        let _ = writeln!(self.body, r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius:.1}" class="{class}"/>"#);
    }

    /// A shape with these corners.
    pub(super) fn polygon(&mut self, corners: &[[f64; 2]], class: &str) {
        let corners: Vec<String> = corners.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(self.body, r#"<polygon points="{}" class="{class}"/>"#, corners.join(" "));
    }

    pub(super) fn triangle(&mut self, [x, y]: [f64; 2], is_up: bool) {
        let (tip, class) = if is_up { (-5.0, "up") } else { (5.0, "down") };
        self.polygon(&[[x - 4.5, y - tip / 2.0], [x + 4.5, y - tip / 2.0], [x, y + tip]], class);
    }

    pub(super) fn diamond(&mut self, [x, y]: [f64; 2]) {
        self.polygon(&[[x - 6.0, y], [x, y - 6.0], [x + 6.0, y], [x, y + 6.0]], "p99");
    }

    /// A text of at most so many characters, in full as a tool tip if it is longer.
    pub(super) fn text(
        &mut self,
        [x, y]: [f64; 2],
        anchor: Anchor,
        class: &str,
        text: &str,
        chars_max: usize,
    ) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (all, short) = (shown(text, 600), shown(text, chars_max));
        let tip = if all == short { String::new() } else { format!("<title>{}</title>", escaped(&all)) };
        let _ = writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" class="{class}">{tip}{}</text>"#,
            escaped(&short)
        );
    }

    /// The whole picture. `title` is for those who cannot see it.
    pub(super) fn finish(self, width: f64, height: f64, title: &str) -> String {
        let title = escaped(&shown(title, 600));
        let Svg { body } = self;
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}" viewBox="0 0 {width:.0} {height:.0}" role="img">
<title>{title}</title>
<style>{STYLE}</style>
<rect width="{width:.0}" height="{height:.0}" class="page"/>
{body}</svg>
"#
        )
    }
}

/// What is markup in XML as references, and what XML cannot hold as U+FFFD. Control characters are escaped before.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_texts_are_texts_and_nothing_else() {
        let mut svg = Svg::default();
        svg.text([0.0, 0.0], Anchor::Start, "ink", "</text><script>\"'&\u{1b}\u{ffff}\n", 99);
        assert!(
            svg.body.contains("&lt;/text&gt;&lt;script&gt;&quot;&#39;&amp;\\u{1b}\u{fffd}\\n</text>"),
            "{}",
            svg.body
        );
        let mut svg = Svg::default();
        svg.text([0.0, 0.0], Anchor::Start, "ink", "<a>&b", 3);
        assert!(svg.body.contains("<title>&lt;a&gt;&amp;b</title>&lt;a…</text>"), "{}", svg.body);
    }
}
