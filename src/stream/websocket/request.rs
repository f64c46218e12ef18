//! What a client may say.

use super::super::query::{StreamQueryError, parse_globs};
use super::super::token::ResumeToken;
use crate::matcher::Pattern;
use serde::Deserialize;
use serde_json::value::RawValue;

/// How long a client's own word in a ping may be, in bytes.
const PING_BYTES_MAX: usize = 256;

/// One message. What it says is done in this order.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    subscribe: Option<Vec<String>>,
    add: Option<Vec<String>>,
    remove: Option<Vec<String>>,
    after: Option<String>,
    ping: Option<Box<RawValue>>,
}

/// What is to be done for a client.
pub(super) enum Wish {
    /// Other globs, and where to start if not where it stands.
    Globs(Vec<Pattern>, Option<ResumeToken>),
    /// An answer.
    Pong(String),
}

impl Request {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        // A list of values in the order of the fields would do as well.
        if !text.trim_start().starts_with('{') {
            return Err("a message is a JSON object".to_owned());
        }
        let request: Request = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let Request { subscribe, add, remove, after, ping } = &request;
        let globs = [subscribe, add, remove].iter().filter(|globs| globs.is_some()).count();
        match (globs, after.is_some(), ping) {
            (0, false, None) => {
                Err("a message has `subscribe`, `add`, `remove`, `after` or `ping`".to_owned())
            }
            (0, false, Some(ping)) if ping.get().len() > PING_BYTES_MAX => {
                Err(format!("a ping has {PING_BYTES_MAX} bytes at most"))
            }
            (0, false, Some(_)) | (0 | 1, _, None) => Ok(request),
            (_, _, Some(_)) => Err("a `ping` comes alone".to_owned()),
            (_, _, None) => Err("`subscribe`, `add` and `remove` come one at a time".to_owned()),
        }
    }

    /// What it comes to for a client that has these globs.
    pub(super) fn wish(self, has: &[Pattern], globs_max: usize) -> Result<Wish, StreamQueryError> {
        if let Some(ping) = self.ping {
            return Ok(Wish::Pong(ping.get().to_owned()));
        }
        let mut globs = has.to_vec();
        if let Some(all) = self.subscribe {
            globs = parse_globs(&all, globs_max)?;
        } else if let Some(more) = self.add {
            let more = parse_globs(&more, globs_max)?;
            globs.extend(more.into_iter().filter(|glob| !has.contains(glob)));
        } else if let Some(fewer) = self.remove {
            // Those that it does not have are no fault.
            let fewer = parse_globs(&fewer, globs_max)?;
            globs.retain(|glob| !fewer.contains(glob));
        }
        if globs.len() > globs_max {
            return Err(StreamQueryError::TooManyGlobs { given: globs.len(), limit: globs_max });
        }
        let after = self.after.map(|token| token.parse()).transpose()?;
        if after.is_some() && globs.is_empty() {
            return Err(StreamQueryError::NoGlobs);
        }
        Ok(Wish::Globs(globs, after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_one_thing_and_a_bad_one_is_told_why() {
        let has: Vec<Pattern> = ["a.*", "b.*"].map(|glob| Pattern::parse(glob).unwrap()).into();
        let told = |text: &str| match Request::parse(text)
            .and_then(|request| request.wish(&has, 3).map_err(|error| error.to_string()))
        {
            Ok(Wish::Globs(globs, after)) => {
                let globs: Vec<&str> = globs.iter().map(Pattern::as_str).collect();
                format!("{} {}", globs.join(","), after.map(|token| token.to_string()).unwrap_or_default())
            }
            Ok(Wish::Pong(ping)) => format!("pong {ping}"),
            Err(error) => error,
        };
        let rows = [
            (r#"{"subscribe":["c","c"]}"#, "c "),
            (r#"{"subscribe":[]}"#, " "),
            (r#"{"add":["a.*","c"]}"#, "a.*,b.*,c "),
            (r#"{"remove":["a.*","x"]}"#, "b.* "),
            (r#"{"after":"bus-4"}"#, "a.*,b.* bus-4"),
            (r#"{"subscribe":["*"],"after":"bus-4"}"#, "* bus-4"),
            (r#"{"ping":{"n":1}}"#, r#"pong {"n":1}"#),
            (r#"{"ping":0}"#, "pong 0"),
            (r#"{"subscribe":[],"after":"bus-4"}"#, "there has to be at least one glob"),
            (r#"{"add":["c","d"]}"#, "4 globs, and a client may have 3"),
            (r#"{"subscribe":["a","b","c","d"]}"#, "4 globs, and a client may have 3"),
            ("{}", "a message has `subscribe`, `add`, `remove`, `after` or `ping`"),
            (r#"{"add":["c"],"remove":["c"]}"#, "`subscribe`, `add` and `remove` come one at a time"),
            (r#"{"add":["c"],"ping":1}"#, "a `ping` comes alone"),
        ];
        for (text, expected) in rows {
            assert_eq!(told(text), expected, "{text}");
        }
        let refused = [
            "",
            "[]",
            "null",
            "7",
            "{",
            r#"{"subscribe":"c"}"#,
            r#"{"subscribe":[1]}"#,
            r#"{"publish":{}}"#,
            r#"[["*"],null,null,null,null]"#,
            r#"{"after":"no token"}"#,
            r#"{"add":["c"],"add":["d"]}"#,
        ];
        for text in refused {
            let answer =
                Request::parse(text).and_then(|request| request.wish(&has, 3).map_err(|e| e.to_string()));
            assert!(answer.is_err(), "{text}");
        }
        let long = format!(r#"{{"ping":"{}"}}"#, "x".repeat(300));
        assert!(told(&long).contains("256 bytes"));
    }
}
