//! Numbers as JSON has them.

use serde_json::{Number, Value};

/// A double as JSON has it: an integer where it is one, so that a JSON Schema's `minLength: 3` does
/// not become 3.0. What JSON cannot hold (NaN, infinity) becomes null, which no rule accepts.
pub fn from_double(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "integral and within 2^53")]
        return Value::Number(Number::from(number as i64));
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_become_what_json_has() {
        assert_eq!(from_double(3.0), json!(3));
        assert_eq!(from_double(-0.0), json!(0));
        assert_eq!(from_double(9_007_199_254_740_992.0), json!(9_007_199_254_740_992_i64));
        assert_eq!(from_double(1e300), json!(1e300));
        assert_eq!(from_double(f64::NAN), Value::Null);
        assert_eq!(from_double(f64::INFINITY), Value::Null);
    }
}
