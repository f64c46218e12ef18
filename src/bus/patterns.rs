//! What can be subscribed to: one pattern or many, in whatever form they come.

use crate::event::EventType;
use crate::matcher::{Pattern, PatternError};
use smol_str::SmolStr;

/// One glob, or the exact name of an event type.
pub trait IntoPattern {
    /// Reads the pattern.
    ///
    /// # Errors
    /// A glob that is over 1,024 bytes.
    fn into_pattern(self) -> Result<Pattern, PatternError>;
}

impl IntoPattern for Pattern {
    fn into_pattern(self) -> Result<Pattern, PatternError> {
        Ok(self)
    }
}

impl IntoPattern for &Pattern {
    fn into_pattern(self) -> Result<Pattern, PatternError> {
        Ok(self.clone())
    }
}

impl IntoPattern for EventType {
    fn into_pattern(self) -> Result<Pattern, PatternError> {
        (&self).into_pattern()
    }
}

/// Exactly this type: what looks like a glob in its name is taken literally.
impl IntoPattern for &EventType {
    fn into_pattern(self) -> Result<Pattern, PatternError> {
        let name = self.as_str();
        if !name.contains(['*', '?', '[']) {
            return Pattern::parse(name);
        }
        let mut literal = String::with_capacity(name.len() + 8);
        for character in name.chars() {
            match character {
                '*' | '?' | '[' => literal.extend(['[', character, ']']),
                other => literal.push(other),
            }
        }
        Pattern::parse(&literal)
    }
}

macro_rules! from_text {
    ($($text:ty),*) => {$(
        impl IntoPattern for $text {
            fn into_pattern(self) -> Result<Pattern, PatternError> {
                Pattern::parse(self.as_ref())
            }
        }
    )*};
}

from_text!(&str, String, &String, &&str, SmolStr);

/// One pattern or many, in any mix: `"build.*"`, `EventType::BuildStart`, `["build.*", "deploy.*"]`,
/// `vec![...]`, `("build.*", EventType::SystemError)`.
pub trait IntoPatterns {
    /// Reads the patterns, in order.
    ///
    /// # Errors
    /// The first that is no pattern.
    fn into_patterns(self) -> Result<Vec<Pattern>, PatternError>;
}

impl<P: IntoPattern> IntoPatterns for P {
    fn into_patterns(self) -> Result<Vec<Pattern>, PatternError> {
        Ok(vec![self.into_pattern()?])
    }
}

impl<P: IntoPattern, const N: usize> IntoPatterns for [P; N] {
    fn into_patterns(self) -> Result<Vec<Pattern>, PatternError> {
        self.into_iter().map(P::into_pattern).collect()
    }
}

impl<P: IntoPattern> IntoPatterns for Vec<P> {
    fn into_patterns(self) -> Result<Vec<Pattern>, PatternError> {
        self.into_iter().map(P::into_pattern).collect()
    }
}

impl<'a, P> IntoPatterns for &'a [P]
where
    &'a P: IntoPattern,
{
    fn into_patterns(self) -> Result<Vec<Pattern>, PatternError> {
        self.iter().map(IntoPattern::into_pattern).collect()
    }
}

impl<'a, P> IntoPatterns for &'a Vec<P>
where
    &'a P: IntoPattern,
{
    fn into_patterns(self) -> Result<Vec<Pattern>, PatternError> {
        self.as_slice().into_patterns()
    }
}

impl<'a, P, const N: usize> IntoPatterns for &'a [P; N]
where
    &'a P: IntoPattern,
{
    fn into_patterns(self) -> Result<Vec<Pattern>, PatternError> {
        self.as_slice().into_patterns()
    }
}

macro_rules! from_tuple {
    ($($part:ident),+) => {
        impl<$($part: IntoPattern),+> IntoPatterns for ($($part,)+) {
            #[allow(non_snake_case)] // Each variable is named as its type.
            fn into_patterns(self) -> Result<Vec<Pattern>, PatternError> {
                let ($($part,)+) = self;
                Ok(vec![$($part.into_pattern()?),+])
            }
        }
    };
}

from_tuple!(A);
from_tuple!(A, B);
from_tuple!(A, B, C);
from_tuple!(A, B, C, D);
from_tuple!(A, B, C, D, E);
from_tuple!(A, B, C, D, E, F);
