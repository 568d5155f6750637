//! Joins two schemas into one that asks for both, as far as keywords can be joined. What cannot be
//! joined is kept beside as a branch of `allOf`. Must not know: how values are made.

use serde_json::{Map, Value};

type Schema = Map<String, Value>;

/// Keywords that steer a choice: two of them cannot be joined into one.
const BRANCHING: [&str; 6] = ["anyOf", "oneOf", "not", "if", "then", "else"];

/// A schema that asks for what `left` and `right` ask for.
pub(super) fn merge(left: &Schema, right: &Schema) -> Schema {
    let mut joined = left.clone();
    let mut beside = Schema::new();
    for (key, value) in right {
        let Some(before) = joined.get(key).cloned() else {
            joined.insert(key.clone(), value.clone());
            continue;
        };
        if BRANCHING.contains(&key.as_str()) || key == "$ref" {
            beside.insert(key.clone(), value.clone());
            continue;
        }
        joined.insert(key.clone(), merge_keyword(key, &before, value));
    }
    if !beside.is_empty() {
        let all_of = joined.entry("allOf").or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(branches) = all_of {
            branches.push(Value::Object(beside));
        }
    }
    joined
}

fn merge_keyword(key: &str, left: &Value, right: &Value) -> Value {
    match (key, left, right) {
        (
            "properties" | "patternProperties" | "$defs" | "definitions",
            Value::Object(l),
            Value::Object(r),
        ) => {
            let mut joined = l.clone();
            for (name, schema) in r {
                let both = match joined.get(name) {
                    Some(before) => merge_schemas(before, schema),
                    None => schema.clone(),
                };
                joined.insert(name.clone(), both);
            }
            Value::Object(joined)
        }
        ("items" | "additionalProperties" | "propertyNames" | "contains", l, r) => {
            merge_schemas(l, r)
        }
        ("required" | "allOf", Value::Array(l), Value::Array(r)) => {
            let mut joined = l.clone();
            joined.extend(r.iter().filter(|item| !l.contains(item)).cloned());
            Value::Array(joined)
        }
        ("enum", Value::Array(l), Value::Array(r)) => {
            Value::Array(l.iter().filter(|item| r.contains(item)).cloned().collect())
        }
        ("type", l, r) => merge_types(l, r),
        (
            "minimum" | "exclusiveMinimum" | "minLength" | "minItems" | "minProperties"
            | "minContains",
            l,
            r,
        ) => pick(l, r, |l, r| l >= r),
        (
            "maximum" | "exclusiveMaximum" | "maxLength" | "maxItems" | "maxProperties"
            | "maxContains",
            l,
            r,
        ) => pick(l, r, |l, r| l <= r),
        ("uniqueItems", l, r) => Value::Bool(l == &Value::Bool(true) || r == &Value::Bool(true)),
        (_, _, r) => r.clone(),
    }
}

fn merge_schemas(left: &Value, right: &Value) -> Value {
    match (left, right) {
        (Value::Bool(false), _) | (_, Value::Bool(false)) => Value::Bool(false),
        (Value::Object(l), Value::Object(r)) => Value::Object(merge(l, r)),
        (Value::Bool(true), other) | (other, _) => other.clone(),
    }
}

fn merge_types(left: &Value, right: &Value) -> Value {
    let listed = |value: &Value| match value {
        Value::Array(types) => types.clone(),
        one => vec![one.clone()],
    };
    let (left, right) = (listed(left), listed(right));
    let number = Value::from("number");
    let integer = Value::from("integer");
    let mut both: Vec<Value> = Vec::new();
    for one in &left {
        // Every integer is a number, so these two meet in `integer`.
        let meets = right.contains(one) || (*one == integer && right.contains(&number));
        if meets {
            both.push(one.clone());
        } else if *one == number && right.contains(&integer) {
            both.push(integer.clone());
        }
    }
    Value::Array(both)
}

fn pick(left: &Value, right: &Value, left_wins: impl Fn(f64, f64) -> bool) -> Value {
    match (left.as_f64(), right.as_f64()) {
        (Some(l), Some(r)) if left_wins(l, r) => left.clone(),
        (Some(_), None) => left.clone(),
        _ => right.clone(),
    }
}
