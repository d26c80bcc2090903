//! Reads a `config::Value` as a type, with key paths and plain messages in its errors.
//!
//! Text becomes a number, a truth value or a list where one is demanded (environment variables are text), and nothing
//! else is converted: the `config` crate's own deserializer rounds 30.7 to 31, reads "on" as 1 and -5 as 0.

use std::fmt;

use config::{Value, ValueKind};
use serde::de::{self, DeserializeSeed, IntoDeserializer, Unexpected, Visitor};

use super::suggest;

/// Where and why reading stopped.
#[derive(Debug)]
pub(super) struct Misread {
    /// From the innermost key outwards.
    path: Vec<String>,
    /// What was found and what was expected.
    pub(super) message: String,
}

impl Misread {
    fn new(message: impl Into<String>) -> Self {
        Self { path: Vec::new(), message: message.into() }
    }

    fn within(mut self, key: String) -> Self {
        self.path.push(key);
        self
    }

    /// Keys from the outermost inwards.
    pub(super) fn path(&self) -> impl Iterator<Item = &str> {
        self.path.iter().rev().map(String::as_str)
    }
}

impl fmt::Display for Misread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Misread {}

impl de::Error for Misread {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("{} where {} was expected", describe(found), plain(&expected.to_string())))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!(
            "{} is out of range: expected {}",
            describe(found),
            plain(&expected.to_string()).trim_end_matches(',')
        ))
    }

    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!(
            "{found:?} is not one of {}{}",
            expected.join(", "),
            suggest::one_of(found, expected)
        ))
    }

    fn unknown_field(found: &str, expected: &'static [&'static str]) -> Self {
        Self::new(suggest::unknown_key(found, expected))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("{field} is missing"))
    }
}

fn describe(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Unsigned(value) => value.to_string(),
        Unexpected::Signed(value) => value.to_string(),
        Unexpected::Float(value) => value.to_string(),
        Unexpected::Str(value) => format!("{value:?}"),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a table".into(),
        Unexpected::Unit => "nothing".into(),
        other => other.to_string(),
    }
}

/// Says what serde's visitors expect in words of the configuration.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" | "u128" => "a whole number, 0 or more,",
        "i8" | "i16" | "i32" | "i64" | "isize" | "i128" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" => "text in quotes",
        "a sequence" => "a list",
        "path string" => "a path in quotes",
        other if other.starts_with("struct ") || other == "a map" => "a table",
        other => other,
    }
}

/// The deserializer.
pub(super) struct De(pub(super) Value);

impl De {
    fn mismatch(&self, expected: &str) -> Misread {
        de::Error::invalid_type(unexpected(&self.0.kind), &expected)
    }

    fn integer(&self, expected: &str) -> Result<i128, Misread> {
        let number = match &self.0.kind {
            ValueKind::I64(value) => Some(i128::from(*value)),
            ValueKind::U64(value) => Some(i128::from(*value)),
            ValueKind::I128(value) => Some(*value),
            ValueKind::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| self.mismatch(expected))
    }

    fn unsigned<'de, V: Visitor<'de>>(self, bits: u32, visitor: V) -> Result<V::Value, Misread> {
        let number = self.integer("u64")?;
        let max = u64::MAX >> (64 - bits);
        match u64::try_from(number) {
            Ok(value) if value <= max => visitor.visit_u64(value),
            _ if max == u64::MAX => {
                Err(Misread::new(format!("{number} is out of range: expected 0 or more")))
            }
            _ => Err(Misread::new(format!("{number} is out of range: expected 0 to {max}"))),
        }
    }

    fn signed<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misread> {
        let number = self.integer("i64")?;
        let value = i64::try_from(number)
            .map_err(|_| Misread::new(format!("{number} is out of range: expected a smaller number")))?;
        visitor.visit_i64(value)
    }

    fn float<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misread> {
        let number = match &self.0.kind {
            ValueKind::Float(value) => Some(*value),
            #[expect(
                clippy::cast_precision_loss,
                reason = "a setting that large is no exact number to anyone"
            )]
            ValueKind::I64(value) => Some(*value as f64),
            ValueKind::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number {
            Some(value) if value.is_finite() => visitor.visit_f64(value),
            _ => Err(self.mismatch("f64")),
        }
    }
}

fn unexpected(kind: &ValueKind) -> Unexpected<'_> {
    match kind {
        ValueKind::Nil => Unexpected::Unit,
        ValueKind::Boolean(value) => Unexpected::Bool(*value),
        ValueKind::I64(value) => Unexpected::Signed(*value),
        ValueKind::U64(value) => Unexpected::Unsigned(*value),
        ValueKind::I128(_) | ValueKind::U128(_) => Unexpected::Other("a number beyond all bounds"),
        ValueKind::Float(value) => Unexpected::Float(*value),
        ValueKind::String(value) => Unexpected::Str(value),
        ValueKind::Table(_) => Unexpected::Map,
        ValueKind::Array(_) => Unexpected::Seq,
    }
}

macro_rules! unsigned {
    ($($method:ident $bits:literal)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misread> {
            self.unsigned($bits, visitor)
        })+
    };
}

macro_rules! signed {
    ($($method:ident)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misread> {
            self.signed(visitor)
        })+
    };
}

impl<'de> de::Deserializer<'de> for De {
    type Error = Misread;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misread> {
        match self.0.kind {
            ValueKind::Nil => visitor.visit_unit(),
            ValueKind::Boolean(value) => visitor.visit_bool(value),
            ValueKind::I64(value) => visitor.visit_i64(value),
            ValueKind::U64(value) => visitor.visit_u64(value),
            ValueKind::I128(value) => visitor.visit_i128(value),
            ValueKind::U128(value) => visitor.visit_u128(value),
            ValueKind::Float(value) => visitor.visit_f64(value),
            ValueKind::String(value) => visitor.visit_string(value),
            ValueKind::Array(values) => visitor.visit_seq(Elements(values.into_iter())),
            ValueKind::Table(table) => visitor.visit_map(Entries { rest: table.into_iter(), next: None }),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misread> {
        match &self.0.kind {
            ValueKind::Boolean(value) => visitor.visit_bool(*value),
            ValueKind::String(text) if text == "true" => visitor.visit_bool(true),
            ValueKind::String(text) if text == "false" => visitor.visit_bool(false),
            _ => Err(self.mismatch("a boolean")),
        }
    }

    unsigned! { deserialize_u8 8 deserialize_u16 16 deserialize_u32 32 deserialize_u64 64 }
    signed! { deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misread> {
        self.float(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misread> {
        self.float(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misread> {
        match self.0.kind {
            ValueKind::Nil => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misread> {
        match self.0.kind {
            ValueKind::String(text) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                let items: Vec<Value> = items.map(Value::from).collect();
                visitor.visit_seq(Elements(items.into_iter()))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misread> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misread> {
        match self.0.kind {
            ValueKind::String(text) => visitor.visit_enum(text.into_deserializer()),
            _ => Err(self.mismatch(&format!("one of {}", variants.join(", ")))),
        }
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier ignored_any
    }
}

struct Elements(std::vec::IntoIter<Value>);

impl<'de> de::SeqAccess<'de> for Elements {
    type Error = Misread;

    // An element's mistake is reported at the list: its message has the element.
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Misread> {
        self.0.next().map(|value| seed.deserialize(De(value))).transpose()
    }
}

struct Entries<I> {
    rest: I,
    next: Option<(String, Value)>,
}

impl<'de, I: Iterator<Item = (String, Value)>> de::MapAccess<'de> for Entries<I> {
    type Error = Misread;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misread> {
        self.next = self.rest.next();
        let Some((key, _)) = &self.next else { return Ok(None) };
        seed.deserialize(De(Value::from(key.as_str()))).map(Some).map_err(|error| error.within(key.clone()))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misread> {
        let (key, value) = self.next.take().ok_or_else(|| Misread::new("a value without a key"))?;
        seed.deserialize(De(value)).map_err(|error| error.within(key))
    }
}
