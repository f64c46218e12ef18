//! A serializer in front of another one, which refuses what JSON cannot hold.
//!
//! `serde_json` writes NaN as null, lets integers grow beyond what readers take, and nests as deep as it is asked to.
//! An accepted payload must mean the same to everyone who reads it, so those are errors here, with the JSON pointer
//! of the place. Everything else passes through untouched.

use std::{cell::RefCell, fmt::Display};

use serde::{
    Serialize, Serializer,
    ser::{
        Error, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
        SerializeTupleStruct, SerializeTupleVariant,
    },
};

use super::PayloadError;
use crate::event::scan::{PAYLOAD_DEPTH_MAX, Reason};

/// Serialises a Rust value with `serializer`, checked.
pub(super) fn serialize<T: Serialize, S: Serializer>(rust: &T, serializer: S) -> Result<S::Ok, PayloadError> {
    let way = Way::default();
    let checked = Checked { inner: serializer, at: At { way: &way, depth_left: PAYLOAD_DEPTH_MAX } };
    rust.serialize(checked).map_err(|error| PayloadError::in_value(way.pointer(), error))
}

/// The way to the place of an error, innermost step first: each level adds its own as the error passes by.
#[derive(Default)]
struct Way(RefCell<Vec<String>>);

impl Way {
    fn pointer(&self) -> String {
        let escaped = |step: &String| format!("/{}", step.replace('~', "~0").replace('/', "~1"));
        // serde_json wraps a `RawValue` in a struct that is no part of the JSON.
        let own = |step: &&String| !step.starts_with("$serde_json::");
        self.0.borrow().iter().rev().filter(own).map(escaped).collect()
    }
}

#[derive(Clone, Copy)]
struct At<'w> {
    way: &'w Way,
    depth_left: usize,
}

impl<'w> At<'w> {
    fn inside<T: ?Sized>(self, value: &T) -> Inside<'w, '_, T> {
        Inside { value, at: self }
    }

    /// One array or object further in.
    fn deeper<E: Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left, ..self }),
            None => Err(E::custom(Reason::Depth)),
        }
    }

    fn step<E>(self, error: E, step: impl Display) -> E {
        self.way.0.borrow_mut().push(step.to_string());
        error
    }
}

/// A part of the value, to be checked in its turn.
struct Inside<'w, 'v, T: ?Sized> {
    value: &'v T,
    at: At<'w>,
}

impl<T: Serialize + ?Sized> Serialize for Inside<'_, '_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Checked { inner: serializer, at: self.at })
    }
}

struct Checked<'w, S> {
    inner: S,
    at: At<'w>,
}

/// An array or object that is being written.
struct Parts<'w, C> {
    inner: C,
    at: At<'w>,
    index: usize,
}

impl<'w, C> Parts<'w, C> {
    fn new(inner: C, at: At<'w>) -> Self {
        Self { inner, at, index: 0 }
    }
}

macro_rules! pass_on {
    ($($method:ident($($arg:ident: $type:ty),*);)*) => {$(
        fn $method(self, $($arg: $type),*) -> Result<S::Ok, S::Error> {
            self.inner.$method($($arg),*)
        }
    )*};
}

impl<'w, S: Serializer> Serializer for Checked<'w, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Parts<'w, S::SerializeSeq>;
    type SerializeTuple = Parts<'w, S::SerializeTuple>;
    type SerializeTupleStruct = Parts<'w, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Parts<'w, S::SerializeTupleVariant>;
    type SerializeMap = Parts<'w, S::SerializeMap>;
    type SerializeStruct = Parts<'w, S::SerializeStruct>;
    type SerializeStructVariant = Parts<'w, S::SerializeStructVariant>;

    pass_on! {
        serialize_bool(v: bool);
        serialize_i8(v: i8);
        serialize_i16(v: i16);
        serialize_i32(v: i32);
        serialize_i64(v: i64);
        serialize_u8(v: u8);
        serialize_u16(v: u16);
        serialize_u32(v: u32);
        serialize_u64(v: u64);
        serialize_char(v: char);
        serialize_str(v: &str);
        serialize_bytes(v: &[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: &'static str);
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str);
    }

    fn serialize_i128(self, v: i128) -> Result<S::Ok, S::Error> {
        match (i64::try_from(v), u64::try_from(v)) {
            (Ok(small), _) => self.inner.serialize_i64(small),
            (_, Ok(large)) => self.inner.serialize_u64(large),
            _ => Err(S::Error::custom("the integer needs more than 64 bits")),
        }
    }

    fn serialize_u128(self, v: u128) -> Result<S::Ok, S::Error> {
        match u64::try_from(v) {
            Ok(small) => self.inner.serialize_u64(small),
            Err(_) => Err(S::Error::custom("the integer needs more than 64 bits")),
        }
    }

    /// By way of the shortest decimal, so that 0.1 is 0.1 in the text and in the tree.
    fn serialize_f32(self, v: f32) -> Result<S::Ok, S::Error> {
        let exact = f64::from(v);
        self.serialize_f64(v.to_string().parse().unwrap_or(exact))
    }

    fn serialize_f64(self, v: f64) -> Result<S::Ok, S::Error> {
        if !v.is_finite() {
            return Err(S::Error::custom(format_args!("{v} is not a JSON number")));
        }
        self.inner.serialize_f64(v)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.serialize_some(&self.at.inside(value))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_newtype_struct(name, &self.at.inside(value))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let at = self.at.deeper()?;
        let written = self.inner.serialize_newtype_variant(name, index, variant, &at.inside(value));
        written.map_err(|error| at.step(error, variant))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        let at = self.at.deeper()?;
        Ok(Parts::new(self.inner.serialize_seq(len)?, at))
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        let at = self.at.deeper()?;
        Ok(Parts::new(self.inner.serialize_tuple(len)?, at))
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        let at = self.at.deeper()?;
        Ok(Parts::new(self.inner.serialize_tuple_struct(name, len)?, at))
    }

    /// The variant's name is an object around the array.
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        let at = self.at.deeper()?.deeper()?;
        Ok(Parts::new(self.inner.serialize_tuple_variant(name, index, variant, len)?, at))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        let at = self.at.deeper()?;
        Ok(Parts::new(self.inner.serialize_map(len)?, at))
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        let at = self.at.deeper()?;
        Ok(Parts::new(self.inner.serialize_struct(name, len)?, at))
    }

    /// The variant's name is an object around the object.
    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        let at = self.at.deeper()?.deeper()?;
        Ok(Parts::new(self.inner.serialize_struct_variant(name, index, variant, len)?, at))
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// The four kinds of array differ in their trait and its method's name only.
macro_rules! array_parts {
    ($($kind:ident $method:ident;)*) => {$(
        impl<C: $kind> $kind for Parts<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
                let (at, index) = (self.at, self.index);
                self.index += 1;
                self.inner.$method(&at.inside(value)).map_err(|error| at.step(error, index))
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }
        }
    )*};
}

array_parts! {
    SerializeSeq serialize_element;
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
}

macro_rules! struct_parts {
    ($($kind:ident)*) => {$(
        impl<C: $kind> $kind for Parts<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), C::Error> {
                let at = self.at;
                self.inner.serialize_field(key, &at.inside(value)).map_err(|error| at.step(error, key))
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.inner.end()
            }
        }
    )*};
}

struct_parts! { SerializeStruct SerializeStructVariant }

impl<C: SerializeMap> SerializeMap for Parts<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), C::Error> {
        self.inner.serialize_key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        self.inner.serialize_value(&self.at.inside(value))
    }

    fn serialize_entry<K, V>(&mut self, key: &K, value: &V) -> Result<(), C::Error>
    where
        K: Serialize + ?Sized,
        V: Serialize + ?Sized,
    {
        let at = self.at;
        self.inner.serialize_entry(key, &at.inside(value)).map_err(|error| match serde_json::to_value(key) {
            Ok(serde_json::Value::String(key)) => at.step(error, key),
            Ok(key) => at.step(error, key),
            Err(_) => error,
        })
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.inner.end()
    }
}
