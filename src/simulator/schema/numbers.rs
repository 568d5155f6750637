//! Numbers inside their bounds. Must not know: other types, schemas around them.

use serde_json::{Map, Number, Value};

use super::super::draw::Draw;

/// How far numbers reach where the schema sets no bound.
const REACH: f64 = 100.0;
/// Beyond this, not every whole number is a float.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// An integer that keeps `minimum`, `maximum`, their exclusive forms and `multipleOf`.
pub(super) fn integer(schema: &Map<String, Value>, draw: &mut Draw) -> Value {
    let step = schema.get("multipleOf").and_then(Value::as_f64);
    let step = step.filter(|step| *step > 0.0).unwrap_or(1.0);
    let (low, high) = bounds(schema, 1.0);
    // Multiples of 2.5 that are integers are the multiples of 5: the first tries look for one.
    for _ in 0..32 {
        let drawn = multiple(low, high, step, draw);
        if let Some(whole) = whole(drawn).filter(|_| drawn.fract() == 0.0) {
            return Value::from(whole);
        }
    }
    whole(low.ceil()).map_or(Value::from(0), Value::from)
}

/// A number that keeps the same keywords; two decimals where nothing else is asked for.
pub(super) fn number(schema: &Map<String, Value>, draw: &mut Draw) -> Value {
    let step = schema.get("multipleOf").and_then(Value::as_f64);
    let (low, high) = bounds(schema, 0.0);
    let drawn = if let Some(step) = step.filter(|step| *step > 0.0) {
        multiple(low, high, step, draw)
    } else {
        let exact = low + (high - low) * (draw.unit() * 0.98 + 0.01);
        let rounded = (exact * 100.0).round() / 100.0;
        if (low..=high).contains(&rounded) && (high - low) > 0.1 { rounded } else { exact }
    };
    match whole(drawn).filter(|_| drawn.fract() == 0.0) {
        Some(whole) => Value::from(whole),
        None => Number::from_f64(drawn).map_or(Value::from(0), Value::Number),
    }
}

/// The bounds, with `margin` taken off an exclusive one.
fn bounds(schema: &Map<String, Value>, margin: f64) -> (f64, f64) {
    let get = |key: &str| schema.get(key).and_then(Value::as_f64);
    // Draft 4 wrote exclusive bounds as booleans beside the bound.
    let flag = |key: &str| schema.get(key) == Some(&Value::Bool(true));
    let exclusive_low =
        get("exclusiveMinimum").or(get("minimum").filter(|_| flag("exclusiveMinimum")));
    let exclusive_high =
        get("exclusiveMaximum").or(get("maximum").filter(|_| flag("exclusiveMaximum")));
    let above = |bound: f64| {
        if margin > 0.0 { bound.floor() + margin } else { bound }
    };
    let below = |bound: f64| {
        if margin > 0.0 { bound.ceil() - margin } else { bound }
    };
    let low = [get("minimum"), exclusive_low.map(above)];
    let high = [get("maximum"), exclusive_high.map(below)];
    let low = low.into_iter().flatten().reduce(f64::max);
    let high = high.into_iter().flatten().reduce(f64::min);
    match (low, high) {
        (Some(low), Some(high)) => (low, high.max(low)),
        (Some(low), None) => (low, low + REACH),
        (None, Some(high)) => (high - REACH, high),
        (None, None) => (1.0, REACH),
    }
}

/// A multiple of `step` within the bounds, or the nearest above `low`.
fn multiple(low: f64, high: f64, step: f64, draw: &mut Draw) -> f64 {
    let first = (low / step).ceil();
    let last = (high / step).floor().max(first);
    let chosen = first + ((last - first + 1.0) * draw.unit()).floor().min(last - first);
    // Dividing by 10 is exact to the last bit where multiplying by 0.1 is not.
    let inverse = (1.0 / step).round();
    if step < 1.0 && (inverse * step - 1.0).abs() < 1e-12 {
        chosen / inverse
    } else {
        chosen * step
    }
}

/// A float as a whole number, where it is one that floats hold exactly.
fn whole(value: f64) -> Option<i64> {
    if !value.is_finite() || value.abs() > WHOLE_MAX {
        return None;
    }
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        reason = "the value was just found to lie within 2^53, and its fraction is not wanted"
    )]
    Some(value as i64)
}
