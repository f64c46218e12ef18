//! A JSON text in which some values are replaced. Whatever else it says stays as it was written: numbers that a tree would
//! round, the order of fields, and fields that are named twice, of which a tree shows the last alone.

use std::borrow::Cow;

/// Replaces the values of fields that `is_secret` says yes to, and what stands where `pointers` (RFC 6901) lead. `None` if
/// there is nothing to replace. The text has passed the scanner, so it nests no deeper than 127.
pub(super) fn rewrite(
    text: &str,
    pointers: &[String],
    is_secret: impl Fn(&str) -> bool,
    replacement: &str,
) -> Option<String> {
    let mut rewriter = Rewriter { text, at: 0, copied: 0, out: String::new(), is_secret, replacement };
    let ways: Vec<&str> = pointers.iter().map(String::as_str).collect();
    rewriter.value(&ways);
    (rewriter.copied != 0).then(|| rewriter.out + &text[rewriter.copied..])
}

struct Rewriter<'t, F> {
    text: &'t str,
    at: usize,
    /// Up to where the text is in `out`.
    copied: usize,
    out: String,
    is_secret: F,
    replacement: &'t str,
}

impl<'t, F: Fn(&str) -> bool> Rewriter<'t, F> {
    /// The next value; `ways` are what is left of the pointers that have led here.
    fn value(&mut self, ways: &[&str]) {
        match self.peek() {
            _ if ways.contains(&"") => self.replace(),
            b'{' => self.object(ways),
            b'[' => self.array(ways),
            _ => self.skip(),
        }
    }

    fn object(&mut self, ways: &[&str]) {
        self.at += 1;
        while self.peek() == b'"' {
            let name = self.name();
            self.pass(b':');
            if (self.is_secret)(&name) {
                self.replace();
            } else {
                self.value(&beyond(ways, &name));
            }
            self.pass(b',');
        }
        self.pass(b'}');
    }

    fn array(&mut self, ways: &[&str]) {
        self.at += 1;
        let mut index = 0_usize;
        while !matches!(self.peek(), b']' | END) {
            let ways = if ways.is_empty() { Vec::new() } else { beyond(ways, &index.to_string()) };
            self.value(&ways);
            self.pass(b',');
            index += 1;
        }
        self.pass(b']');
    }

    /// Puts the replacement in the place of the next value.
    fn replace(&mut self) {
        self.peek();
        self.out.push_str(&self.text[self.copied..self.at]);
        self.out.push_str(self.replacement);
        self.skip();
        self.copied = self.at;
    }

    /// Goes behind the next value.
    fn skip(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                b'"' => drop(self.string()),
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    self.at += 1;
                }
                b',' | b':' => self.at += 1,
                END => return,
                _ => {
                    let is_end =
                        |char: char| matches!(char, ',' | ':' | '}' | ']') || char.is_ascii_whitespace();
                    self.at += self.rest().find(is_end).unwrap_or(self.rest().len());
                }
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> u8 {
        self.at = self.text.len() - self.rest().trim_ascii_start().len();
        self.rest().bytes().next().unwrap_or(END)
    }

    fn pass(&mut self, byte: u8) {
        self.at += usize::from(self.peek() == byte);
    }

    /// The string that begins here, in its quotes.
    fn string(&mut self) -> &'t str {
        let begin = self.at;
        self.at += 1;
        while let Some(found) = self.rest().find(['"', '\\']) {
            let is_escape = self.rest().as_bytes()[found] == b'\\';
            self.at += found + 1 + usize::from(is_escape);
            if !is_escape {
                break;
            }
        }
        &self.text[begin..self.at]
    }

    fn name(&mut self) -> Cow<'t, str> {
        let quoted = self.string();
        if quoted.contains('\\') {
            Cow::Owned(serde_json::from_str(quoted).unwrap_or_default())
        } else {
            Cow::Borrowed(quoted.trim_matches('"'))
        }
    }
}

/// Behind the text. It is in no JSON outside of strings.
const END: u8 = 0;

/// What is left of those pointers that lead to the field or index of this name.
fn beyond<'w>(ways: &[&'w str], name: &str) -> Vec<&'w str> {
    let rest_of = |way: &&'w str| {
        let way = way.strip_prefix('/')?;
        let (step, rest) = way.split_at(way.find('/').unwrap_or(way.len()));
        (step.replace("~1", "/").replace("~0", "~") == name).then_some(rest)
    };
    ways.iter().filter_map(rest_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_replaced_stays_as_it_was_written() {
        let pointers = ["/card/number".to_owned(), "/list/1".to_owned(), "/a~1b/~0".to_owned()];
        let rows = [
            (r#"{"a":1.10,"b":[{"n":1e2}]}"#, None),
            (r#""token""#, None),
            (r#"["token",{},[],-0]"#, None),
            (r#"{"z":1.10,"token":[{"a":"}"},2],"a":1e2}"#, Some(r#"{"z":1.10,"token":*,"a":1e2}"#)),
            (
                r#"{"n":123456789012345678901234567890,"token":1}"#,
                Some(r#"{"n":123456789012345678901234567890,"token":*}"#),
            ),
            (r#"{"a":{"token":"s"},"a":2}"#, Some(r#"{"a":{"token":*},"a":2}"#)),
            (r#"{"token":"s","token":1}"#, Some(r#"{"token":*,"token":*}"#)),
            (r#"{"tok\u0065n":"a\\","b":"\"token\":1"}"#, Some(r#"{"tok\u0065n":*,"b":"\"token\":1"}"#)),
            (r#" { "token" : 12 , "b" : [ ] } "#, Some(r#" { "token" : * , "b" : [ ] } "#)),
            (r#"[{"token":null},[{"token":true}]]"#, Some(r#"[{"token":*},[{"token":*}]]"#)),
            (r#"{"card":{"number":{"token":1},"year":2}}"#, Some(r#"{"card":{"number":*,"year":2}}"#)),
            (r#"{"card":{"number":1},"card":5}"#, Some(r#"{"card":{"number":*},"card":5}"#)),
            (r#"{"list":["é",[1,"]"],3]}"#, Some(r#"{"list":["é",*,3]}"#)),
            (r#"{"list":{"1":{"1":4}}}"#, Some(r#"{"list":{"1":*}}"#)),
            (r#"{"a/b":{"~":1,"~0":2}}"#, Some(r#"{"a/b":{"~":*,"~0":2}}"#)),
        ];
        for (text, expected) in rows {
            let is_secret = |name: &str| name == "token";
            assert_eq!(rewrite(text, &pointers, is_secret, "*").as_deref(), expected, "{text}");
        }
        for whole in ["1", "{}", "\"a\"", " [1, {}]"] {
            assert_eq!(rewrite(whole, &[String::new()], |_| false, "*").unwrap().trim(), "*");
        }
    }
}
