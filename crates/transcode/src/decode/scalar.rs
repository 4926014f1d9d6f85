//! Values without structure.

use std::borrow::Cow;
use std::str::FromStr;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost_reflect::{EnumDescriptor, Kind, MapKey, Value};

use super::number::{NotInteger, integer};
use super::well_known::wrapped;
use crate::bad_request::{At, BadRequest, shown};
use crate::enums::{self, NULL_VALUE};
use crate::json::{Json, is_number};

/// Both alphabets are read, padded or not (proto-JSON).
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Reads a value of any kind but a message.
///
/// # Errors
/// `INVALID_ARGUMENT` naming the place, if the value is of another type or out of its range.
pub(crate) fn scalar(kind: &Kind, json: &Json<'_>, at: At<'_>) -> Result<Value, BadRequest> {
    Ok(match kind {
        Kind::Bool => {
            let Json::Bool(value) = json else {
                return Err(expected("a boolean", json, at));
            };
            Value::Bool(*value)
        }
        Kind::String => Value::String(text(json, at)?.to_owned()),
        Kind::Bytes => Value::Bytes(bytes(json, at)?.into()),
        Kind::Enum(kind) => Value::EnumNumber(enum_number(kind, json, at)?),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(ranged(json, at, "a 32-bit integer")?),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(ranged(json, at, "a 64-bit integer")?),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(ranged(json, at, "an unsigned 32-bit integer")?),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(ranged(json, at, "an unsigned 64-bit integer")?),
        Kind::Float => Value::F32(float(json, at, f32::is_infinite)?),
        Kind::Double => Value::F64(float(json, at, f64::is_infinite)?),
        Kind::Message(message) => {
            return Err(at.bad(format!("a {} cannot stand here", message.full_name())));
        }
    })
}

/// Reads a key of a map; JSON writes all of them as strings.
pub(crate) fn map_key(kind: &Kind, key: &str, at: At<'_>) -> Result<MapKey, BadRequest> {
    let json = if *kind == Kind::Bool {
        plain(kind, key)
    } else {
        Json::String(Cow::Borrowed(key))
    };
    let value = scalar(kind, &json, at)?;
    value
        .into_map_key()
        .ok_or_else(|| at.bad("no map has keys of this type"))
}

/// Returns the JSON that plain text in a path or query stands for, where a field of this kind is expected.
pub(crate) fn plain<'a>(kind: &Kind, text: &'a str) -> Json<'a> {
    match (kind, text) {
        (Kind::Bool, "true") => Json::Bool(true),
        (Kind::Bool, "false") => Json::Bool(false),
        (Kind::Enum(_), number) if is_number(number) => Json::Number(number),
        (Kind::Message(message), text) => match wrapped(message) {
            Some(inner) => plain(&inner, text),
            None => Json::String(Cow::Borrowed(text)),
        },
        (_, text) => Json::String(Cow::Borrowed(text)),
    }
}

/// Reads a string.
pub(crate) fn text<'a>(json: &'a Json<'_>, at: At<'_>) -> Result<&'a str, BadRequest> {
    let Json::String(text) = json else {
        return Err(expected("a string", json, at));
    };
    without_nul(text, at)
}

/// Refuses U+0000, which no text column takes.
pub(crate) fn without_nul<'a>(text: &'a str, at: At<'_>) -> Result<&'a str, BadRequest> {
    if text.contains('\0') {
        Err(at.bad("the character U+0000 is not allowed"))
    } else {
        Ok(text)
    }
}

/// Makes the error for a value of another type.
pub(crate) fn expected(what: &str, found: &Json<'_>, at: At<'_>) -> BadRequest {
    match found {
        Json::String(text) => at.bad(format!("{what} is expected, not {}", shown(text))),
        Json::Number(text) => at.bad(format!(
            "{what} is expected, not {}",
            shown(text).trim_matches('"')
        )),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => {
            at.bad(format!("{what} is expected, not {}", found.kind()))
        }
    }
}

fn bytes(json: &Json<'_>, at: At<'_>) -> Result<Vec<u8>, BadRequest> {
    let Json::String(text) = json else {
        return Err(expected("a base64 string", json, at));
    };
    let engine = if text.contains(['-', '_']) {
        BASE64_URL
    } else {
        BASE64
    };
    engine
        .decode(text.as_bytes())
        .map_err(|_| expected("base64", json, at))
}

fn enum_number(kind: &EnumDescriptor, json: &Json<'_>, at: At<'_>) -> Result<i32, BadRequest> {
    let number = match json {
        Json::Null if kind.full_name() == NULL_VALUE => Some(0),
        Json::String(name) => enums::by_name(kind, name),
        Json::Number(text) => integer(text)
            .ok()
            .and_then(|number| i32::try_from(number).ok())
            .filter(|number| kind.get_value(*number).is_some()),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
    };
    number.ok_or_else(|| {
        let names: Vec<_> = enums::short_names(kind).take(20).collect();
        expected(&format!("one of {}", names.join(", ")), json, at)
    })
}

/// Reads an integer, as a number or as a string that holds one.
fn ranged<T: TryFrom<i128>>(json: &Json<'_>, at: At<'_>, what: &str) -> Result<T, BadRequest> {
    let Some(text) = number_text(json) else {
        return Err(expected(what, json, at));
    };
    match integer(text).and_then(|value| T::try_from(value).map_err(|_| NotInteger::Range)) {
        Ok(value) => Ok(value),
        Err(NotInteger::Fraction) => Err(at.bad(format!("{what} has no fraction"))),
        Err(NotInteger::Range) => Err(at.bad(format!("the number is out of the range of {what}"))),
    }
}

/// Reads a floating-point number, rounded to the nearest. What rounds to infinity is out of range; infinity itself and
/// NaN are given as strings.
fn float<T: FromStr + Copy>(json: &Json<'_>, at: At<'_>, infinite: fn(T) -> bool) -> Result<T, BadRequest> {
    if let Json::String(name) = json
        && matches!(name.as_ref(), "NaN" | "Infinity" | "-Infinity")
    {
        return name.parse().map_err(|_| expected("a number", json, at));
    }
    let parsed = number_text(json).and_then(|text| text.parse::<T>().ok());
    match parsed {
        Some(value) if infinite(value) => Err(at.bad("the number is out of range")),
        Some(value) => Ok(value),
        None => Err(expected("a number", json, at)),
    }
}

fn number_text<'a>(json: &'a Json<'_>) -> Option<&'a str> {
    match json {
        Json::Number(text) => Some(text),
        Json::String(text) if is_number(text) => Some(text),
        Json::Null | Json::Bool(_) | Json::String(_) | Json::Array(_) | Json::Object(_) => None,
    }
}
