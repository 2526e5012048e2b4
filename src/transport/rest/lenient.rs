//! Forms in which SDKs send the same thing: null or nothing for what is absent, `[]` for an empty map
//! (PHP), `12.0` for an integer (.NET). Everything else of a wrong type is refused, and so is a map
//! that has a key twice.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor,
        value::MapAccessDeserializer,
    },
};
use serde_json::{Map, Value};

use super::time::parse_time;
use crate::{
    domain::{
        event_draft::TimeDraft,
        organization_draft::{Change, MetadataChanges},
    },
    transport::numbers::from_double,
};

/// A text; null is the empty one.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}

/// A boolean; null is false.
pub fn boolean<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<bool>::deserialize(deserializer)?.unwrap_or_default())
}

/// A list of texts; null is the empty one.
pub fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default())
}

/// A time; null and the empty text are none.
pub fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TimeDraft, D::Error> {
    Ok(parse_time(&text(deserializer)?))
}

/// An integer; null is 0.
pub fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Ok(present_integer(deserializer)?.unwrap_or_default())
}

/// The same, where 0 is not the same as none.
pub fn present_integer<'de, D>(deserializer: D) -> Result<Option<i64>, D::Error>
where
    D: Deserializer<'de>,
{
    struct Integer;
    impl Visitor<'_> for Integer {
        type Value = Option<i64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an integer")
        }

        fn visit_unit<E>(self) -> Result<Option<i64>, E> {
            Ok(None)
        }

        fn visit_i64<E>(self, number: i64) -> Result<Option<i64>, E> {
            Ok(Some(number))
        }

        fn visit_u64<E>(self, number: u64) -> Result<Option<i64>, E> {
            Ok(Some(i64::try_from(number).unwrap_or(i64::MAX)))
        }

        fn visit_f64<E: de::Error>(self, number: f64) -> Result<Option<i64>, E> {
            let integer = from_double(number).as_i64();
            let wrong = || E::invalid_type(de::Unexpected::Float(number), &self);
            integer.map(Some).ok_or_else(wrong)
        }
    }
    deserializer.deserialize_any(Integer)
}

/// A text to be set; null removes what is there.
pub fn change<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Change<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map_or(Change::Clear, Change::Set))
}

/// Metadata to be set; null removes what is there.
pub fn metadata_changes<'de, D>(deserializer: D) -> Result<MetadataChanges, D::Error>
where
    D: Deserializer<'de>,
{
    Ok(match present_map(deserializer)? {
        None => MetadataChanges { clear: true, entries: Map::new() },
        Some(entries) => MetadataChanges { clear: false, entries },
    })
}

/// An object with known members; null and the empty list are none. Unlike a derived struct alone, it
/// takes no list of values in the order of the members.
pub fn object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    struct Members<T>(PhantomData<T>);
    impl<'de, T: DeserializeOwned> Visitor<'de> for Members<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_unit<E>(self) -> Result<Option<T>, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Option<T>, A::Error> {
            nothing_in(items, &self).map(|()| None)
        }

        fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Option<T>, A::Error> {
            T::deserialize(MapAccessDeserializer::new(members)).map(Some)
        }
    }
    deserializer.deserialize_any(Members(PhantomData))
}

/// Fails unless a list is empty.
fn nothing_in<'de, A: SeqAccess<'de>>(
    mut items: A,
    expected: &dyn de::Expected,
) -> Result<(), A::Error> {
    match items.next_element::<IgnoredAny>()? {
        None => Ok(()),
        Some(_) => Err(de::Error::invalid_type(de::Unexpected::Seq, expected)),
    }
}

/// An object with known members, where one must be.
struct Members<T>(T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer)?
            .map(Members)
            .ok_or_else(|| de::Error::invalid_type(de::Unexpected::Other("nothing"), &"an object"))
    }
}

/// A list of objects with known members; null is the empty one.
pub fn objects<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    Ok(present_objects(deserializer)?.unwrap_or_default())
}

/// The same, where a list that is empty is not the same as none.
pub fn present_objects<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let sent = Option::<Vec<Members<T>>>::deserialize(deserializer)?;
    Ok(sent.map(|items| items.into_iter().map(|Members(item)| item).collect()))
}

/// A map of any JSON; null and the empty list are empty.
pub fn map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    Ok(present_map(deserializer)?.unwrap_or_default())
}

/// The same, where a map that is empty is not the same as none.
pub fn present_map<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Map<String, Value>>, D::Error> {
    struct Entries;
    impl<'de> Visitor<'de> for Entries {
        type Value = Option<Map<String, Value>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
            nothing_in(items, &self).map(|()| Some(Map::new()))
        }

        fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
            read_map(entries).map(Some)
        }
    }
    deserializer.deserialize_any(Entries)
}

fn read_map<'de, A: MapAccess<'de>>(mut entries: A) -> Result<Map<String, Value>, A::Error> {
    let mut map = Map::new();
    while let Some((key, Json(value))) = entries.next_entry::<String, Json>()? {
        if map.insert(key, value).is_some() {
            return Err(de::Error::custom("duplicate key"));
        }
    }
    Ok(map)
}

/// Any JSON, with integers where numbers are integers, and without a key twice.
struct Json(Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor).map(Json)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(from_double(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Json(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Value, A::Error> {
        read_map(entries).map(Value::Object)
    }
}
