//! [`StreamQuery`]: what a client asks for when it connects.

use super::subscribe::StreamStart;
use super::token::{InvalidToken, ResumeToken};
use crate::matcher::{Pattern, PatternError};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use std::convert::Infallible;
use thiserror::Error;

/// What a client of a [`WebSocketStream`](super::WebSocketStream) or an [`SseStream`](super::SseStream) asks for when it
/// connects: globs, and where it stopped. An extractor of axum's, or made by hand.
///
/// Of a request it takes the parameter `globs`, once for each glob, the parameter `after`, and the header `Last-Event-ID`,
/// which beats `after`: `/live?globs=build.*&globs=deploy.*&after=00c0ffee00c0ffee-42`. Other parameters are not looked at.
/// Nothing is checked before it is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamQuery {
    globs: Vec<String>,
    after: Option<String>,
}

/// What is wrong with a client's question.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StreamQueryError {
    /// One of the globs is none.
    #[error(transparent)]
    Glob(#[from] PatternError),
    /// More globs than a client may have.
    #[error("{given} globs, and a client may have {limit}")]
    TooManyGlobs {
        /// How many there were.
        given: usize,
        /// How many there may be.
        limit: usize,
    },
    /// What the client would go on after is no token.
    #[error(transparent)]
    Token(#[from] InvalidToken),
    /// No glob, where there has to be one.
    #[error("there has to be at least one glob")]
    NoGlobs,
}

impl StreamQuery {
    /// Asks for events of these globs from now on.
    pub fn new(globs: impl IntoIterator<Item = impl Into<String>>) -> Self {
        StreamQuery { globs: globs.into_iter().map(Into::into).collect(), after: None }
    }

    /// Asks for what came after this [token](ResumeToken).
    #[must_use]
    pub fn after(mut self, token: impl Into<String>) -> Self {
        self.after = Some(token.into());
        self
    }

    /// Takes the question out of a request.
    #[must_use]
    pub fn of_request(uri: &Uri, headers: &HeaderMap) -> Self {
        let mut query = StreamQuery::default();
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            match &*name {
                "globs" => query.globs.push(value.into_owned()),
                "after" => query.after = Some(value.into_owned()),
                _ => {}
            }
        }
        if let Some(id) = headers.get("last-event-id") {
            query.after = Some(String::from_utf8_lossy(id.as_bytes()).into_owned());
        }
        query.after = query.after.filter(|after| !after.is_empty());
        query
    }

    /// The globs, or else `default`; and where to start.
    pub(super) fn parsed(
        &self,
        default: &[Pattern],
        globs_max: usize,
    ) -> Result<(Vec<Pattern>, StreamStart), StreamQueryError> {
        let patterns =
            if self.globs.is_empty() { default.to_vec() } else { parse_globs(&self.globs, globs_max)? };
        let start = match &self.after {
            Some(after) => StreamStart::After(after.parse::<ResumeToken>()?),
            None => StreamStart::Now,
        };
        Ok((patterns, start))
    }
}

/// Each once, in order.
pub(super) fn parse_globs(globs: &[String], limit: usize) -> Result<Vec<Pattern>, StreamQueryError> {
    if globs.len() > limit {
        return Err(StreamQueryError::TooManyGlobs { given: globs.len(), limit });
    }
    let mut patterns: Vec<Pattern> = Vec::new();
    for glob in globs {
        let pattern = Pattern::parse(glob)?;
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
    Ok(patterns)
}

impl<S: Send + Sync> FromRequestParts<S> for StreamQuery {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(StreamQuery::of_request(&parts.uri, &parts.headers))
    }
}
