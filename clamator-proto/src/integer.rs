//! Integers that a peer may have written as floats: Python sends `5.0` where TypeScript sends `5`.
//!
//! For fields: `#[serde(with = "clamator_proto::integer")]` takes `5`, `5.0` and `1e3` for every
//! integer type and refuses `2.5` and `"2"`. Not for integers wider than 64 bits: a JSON number
//! beyond that has been rounded by the time it gets here, so it is refused.
//!
//! Optional fields: [`option`].

use alloc::format;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::Number;

/// Writes the integer as an integer.
///
/// # Errors
///
/// Those of the serializer.
pub fn serialize<T: Serialize, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    value.serialize(serializer)
}

/// Reads an integer that may be written as a float.
///
/// # Errors
///
/// When the value is no number, has a fraction, or is out of the type's range.
pub fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: TryFrom<i128>,
    D: Deserializer<'de>,
{
    convert(&Number::deserialize(deserializer)?)
}

/// The same for `Option`: absent and null are `None`, and `None` is never written.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize)]
/// struct Params {
///     #[serde(
///         default,
///         skip_serializing_if = "Option::is_none",
///         with = "clamator_proto::integer::option"
///     )]
///     limit: Option<u32>,
/// }
/// ```
///
/// Without `default` an absent field is an error; without `skip_serializing_if` a `None` is written
/// as null, which the TypeScript peer refuses.
pub mod option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Number;

    /// Writes the integer as an integer and `None` as null.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<T, S>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error>
    where
        T: Serialize,
        S: Serializer,
    {
        value.serialize(serializer)
    }

    /// Reads null as `None` and an integer that may be written as a float.
    ///
    /// # Errors
    ///
    /// When the value is neither null nor a number, has a fraction, or is out of range.
    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: TryFrom<i128>,
        D: Deserializer<'de>,
    {
        let number = Option::<Number>::deserialize(deserializer)?;
        number.as_ref().map(super::convert).transpose()
    }
}

fn convert<T: TryFrom<i128>, E: Error>(number: &Number) -> Result<T, E> {
    let Some(value) = number.as_i128().or_else(|| whole(number.as_f64()?)) else {
        return Err(E::custom(format_args!("invalid value: {number}, expected an integer")));
    };
    T::try_from(value).map_err(|_| E::custom(format_args!("integer {value} out of range")))
}

/// The float as an integer; `None` when it has a fraction or may have been rounded from an integer.
fn whole(float: f64) -> Option<i128> {
    // `serde_json` reads integers of up to 64 bits exactly and makes wider ones floats, of which
    // the smallest in size become exactly these two.
    if float <= i64::MIN as f64 || float >= u64::MAX as f64 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "in range, and the next line compares")]
    let whole = float as i128;
    (whole as f64 == float).then_some(whole)
}

/// Reads a JSON number that is an integer in whatever notation, without rounding.
///
/// `None` when it has a fraction or does not fit.
pub(crate) fn exact(json: &str) -> Option<i64> {
    if let Ok(integer) = json.parse() {
        return Some(integer);
    }
    let (sign, number) = json.strip_prefix('-').map_or(("", json), |number| ("-", number));
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{integer}{fraction}");
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    // The value is `significant` times ten to the `power`.
    let shift = i64::try_from(integer.len()).ok()? - i64::try_from(significant.len()).ok()?;
    let power = u32::try_from(exponent.parse::<i64>().ok()?.checked_add(shift)?).ok()?;
    format!("{sign}{significant}").parse::<i64>().ok()?.checked_mul(10_i64.checked_pow(power)?)
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};
    use core::fmt::Debug;

    use serde::de::DeserializeOwned;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    #[serde(bound = "T: Serialize + DeserializeOwned + TryFrom<i128>")]
    struct Field<T> {
        #[serde(with = "crate::integer")]
        n: T,
    }

    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    struct Optional {
        #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::integer::option")]
        n: Option<u8>,
    }

    fn read<T>(number: &str) -> Result<T, String>
    where
        T: Serialize + DeserializeOwned + TryFrom<i128>,
    {
        serde_json::from_str::<Field<T>>(&format!(r#"{{"n":{number}}}"#))
            .map(|field| field.n)
            .map_err(|error| error.to_string())
    }

    fn reads_five<T>()
    where
        T: Serialize + DeserializeOwned + TryFrom<i128> + PartialEq + Debug + From<u8>,
    {
        for five in ["5", "5.0", "5.000", "5e0", "0.5e1", "50E-1"] {
            assert_eq!(read::<T>(five), Ok(T::from(5)), "{five}");
        }
    }

    #[test]
    fn every_integer_type_takes_integral_floats() {
        reads_five::<u8>();
        reads_five::<u16>();
        reads_five::<u32>();
        reads_five::<u64>();
        reads_five::<u128>();
        reads_five::<usize>();
        reads_five::<i16>();
        reads_five::<i32>();
        reads_five::<i64>();
        reads_five::<i128>();
        assert_eq!(read::<i8>("-5.0"), Ok(-5));
        assert_eq!(read::<isize>("1e3"), Ok(1000));
        assert_eq!(read::<u8>("-0.0"), Ok(0));
    }

    #[test]
    fn what_is_no_integer_is_refused() {
        for text in ["2.5", "1e-1", r#""2""#, "true", "null", "[]", "{}"] {
            assert!(read::<i64>(text).is_err(), "{text}");
        }
        assert!(
            read::<i64>("2.5").unwrap_err().contains("invalid value: 2.5, expected an integer")
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_and_never_wrapped() {
        assert!(read::<u8>("256").unwrap_err().contains("integer 256 out of range"));
        assert!(read::<u8>("256.0").is_err());
        assert!(read::<u8>("-1.0").is_err());
        assert!(read::<i64>("9223372036854775808").is_err());
        assert!(read::<i64>("1e300").is_err());
    }

    #[test]
    fn integers_of_64_bits_are_exact_and_wider_ones_are_refused_instead_of_rounded() {
        assert_eq!(read::<u64>("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(read::<i64>("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(read::<i64>("1e18"), Ok(1_000_000_000_000_000_000));
        assert!(read::<i128>("-9223372036854775809").is_err());
        assert!(read::<u128>("18446744073709551616").is_err());
        assert!(read::<u128>("123456789012345678901234567890").is_err());
    }

    #[test]
    fn an_optional_integer_reads_absent_and_null_as_none_and_never_writes_none() {
        let read = |text| serde_json::from_str::<Optional>(text).map(|optional| optional.n);
        assert_eq!(read("{}").unwrap(), None);
        assert_eq!(read(r#"{"n":null}"#).unwrap(), None);
        assert_eq!(read(r#"{"n":7.0}"#).unwrap(), Some(7));
        assert!(read(r#"{"n":2.5}"#).is_err());
        assert!(read(r#"{"n":"2"}"#).is_err());
        assert_eq!(serde_json::to_string(&Optional { n: None }).unwrap(), "{}");
        assert_eq!(serde_json::to_string(&Optional { n: Some(7) }).unwrap(), r#"{"n":7}"#);
        assert_eq!(serde_json::to_string(&Field { n: 7_u64 }).unwrap(), r#"{"n":7}"#);
    }

    #[test]
    fn exact_reads_every_notation_of_an_integer() {
        let rows = [
            ("1", 1),
            ("1.0", 1),
            ("-32000", -32000),
            ("-32000.0", -32000),
            ("1e3", 1000),
            ("1E+3", 1000),
            ("100e-2", 1),
            ("0.0032e4", 32),
            ("-0", 0),
            ("-0.0", 0),
            ("0e99999999999999999999", 0),
            ("9223372036854775807", i64::MAX),
            ("9223372036854775807.0", i64::MAX),
            ("-9223372036854775808.0", i64::MIN),
            ("9007199254740993.0", 9_007_199_254_740_993),
        ];
        for (text, value) in rows {
            assert_eq!(exact(text), Some(value), "{text}");
        }
    }

    #[test]
    fn exact_refuses_fractions_and_what_does_not_fit() {
        let rows = [
            "1.5",
            "1e-1",
            "15e-1",
            "9223372036854775808",
            "-9223372036854775809.0",
            "1e19",
            "1e999",
            "1e99999999999999999999",
            "1e-99999999999999999999",
            "1e9223372036854775807",
            "1e-9223372036854775808",
        ];
        for text in rows {
            assert_eq!(exact(text), None, "{text}");
        }
    }
}
