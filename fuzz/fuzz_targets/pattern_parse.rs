//! Any text is a pattern or is refused for its length; a pattern keeps its text, and its quoted form matches it.
#![no_main]

use codomyrmex_events::{PATTERN_BYTES_MAX, Pattern, PatternSet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let pattern = match Pattern::parse(text) {
        Ok(pattern) => pattern,
        Err(error) => {
            assert!(text.len() > PATTERN_BYTES_MAX, "refused: {text:?}");
            assert_eq!(error.bytes(), text.len());
            return;
        }
    };
    assert!(text.len() <= PATTERN_BYTES_MAX, "taken: {} bytes", text.len());
    assert_eq!(pattern.as_str(), text);
    assert_eq!(pattern.to_string().parse(), Ok(pattern.clone()));
    assert_eq!(PatternSet::build(std::slice::from_ref(&pattern)).len(), 1);
    let is_plain = !text.contains(['*', '?', '[']);
    assert!(pattern.matches(text) || !is_plain, "{text:?} must match itself");

    let quoted: String = text.chars().map(quote).collect();
    if let Ok(quoted) = Pattern::parse(&quoted) {
        assert!(quoted.matches(text), "{quoted:?} must match {text:?}");
    }
});

fn quote(c: char) -> String {
    if matches!(c, '*' | '?' | '[') { format!("[{c}]") } else { c.to_string() }
}
