//! Objects and arrays: which members there are, and how many. Must not know: whether the draw fits
//! (the caller asks a validator).

use serde_json::Value;

use super::strings;
use super::values::{Generator, Schema};

/// Items tried until they differ from each other.
const UNIQUE_DRAWS_MAX: usize = 20;
/// The longest array or object made, whatever the schema asks for.
const LENGTH_MAX: u64 = 2_000;

impl Generator<'_> {
    pub(super) fn object(&mut self, schema: &Schema, depth: usize) -> Value {
        let empty = Schema::new();
        let properties = schema.get("properties").and_then(Value::as_object);
        let properties = properties.unwrap_or(&empty);
        let required: Vec<&str> = match schema.get("required") {
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let at_most = length(schema, "maxProperties").unwrap_or(LENGTH_MAX);
        let mut made = Schema::new();
        for (name, property) in properties {
            let needed = required.contains(&name.as_str());
            let room = size(made.len()) + size(required.len()) < at_most;
            let wanted = room && !self.lean(depth) && self.draw.chance(self.optional);
            if needed || (wanted && property != &Value::Bool(false)) {
                made.insert(name.clone(), self.value(property, name, depth + 1));
            }
        }
        self.dependent(schema, properties, &mut made, depth);
        let additional = schema.get("additionalProperties").unwrap_or(&Value::Bool(true));
        for name in required {
            if !made.contains_key(name) {
                let value = self.value(additional, name, depth + 1);
                made.insert(name.to_owned(), value);
            }
        }
        let open = properties.is_empty()
            && (additional.is_object() || schema.contains_key("patternProperties"));
        let wanted = if open && !self.lean(depth) { self.draw.within(1, 3) } else { 0 };
        let at_least = length(schema, "minProperties").unwrap_or(0);
        let wanted = wanted.max(at_least).min(at_most).min(LENGTH_MAX);
        self.fill_up(schema, properties, &mut made, (wanted, depth));
        Value::Object(made)
    }

    /// Adds what the properties already there require beside them.
    fn dependent(&mut self, schema: &Schema, properties: &Schema, made: &mut Schema, depth: usize) {
        let Some(Value::Object(dependent)) = schema.get("dependentRequired") else {
            return;
        };
        for _ in 0..dependent.len() {
            for (name, needs) in dependent {
                let Value::Array(needs) = needs else { continue };
                for need in needs.iter().filter_map(Value::as_str) {
                    if made.contains_key(name) && !made.contains_key(need) {
                        let property = properties.get(need).unwrap_or(&Value::Bool(true));
                        let value = self.value(property, need, depth + 1);
                        made.insert(need.to_owned(), value);
                    }
                }
            }
        }
    }

    /// Adds properties until there are `wanted`: the optional named ones first, then new names.
    fn fill_up(
        &mut self,
        schema: &Schema,
        properties: &Schema,
        made: &mut Schema,
        (wanted, depth): (u64, usize),
    ) {
        for (name, property) in properties {
            if size(made.len()) < wanted && !made.contains_key(name) {
                made.insert(name.clone(), self.value(property, name, depth + 1));
            }
        }
        let by_pattern = schema.get("patternProperties").and_then(Value::as_object);
        let by_pattern = by_pattern.and_then(|patterns| patterns.iter().next());
        let additional = schema.get("additionalProperties").unwrap_or(&Value::Bool(true));
        for _ in 0..wanted.saturating_mul(4) {
            if size(made.len()) >= wanted {
                return;
            }
            let (name, property) = match (by_pattern, schema.get("propertyNames")) {
                (Some((pattern, property)), _) => {
                    let Some(hir) = self.patterns.get(pattern) else {
                        return;
                    };
                    (strings::by_pattern(hir, 1, 64, &mut self.draw), property)
                }
                (None, Some(names)) => {
                    let name = self.value(&with_type_string(names), "key", depth + 1);
                    (name.as_str().unwrap_or("key").to_owned(), additional)
                }
                (None, None) => (format!("simulated_key_{}", made.len() + 1), additional),
            };
            let value = self.value(property, "value", depth + 1);
            made.insert(name, value);
        }
    }

    pub(super) fn array(&mut self, schema: &Schema, name: &str, depth: usize) -> Value {
        let any = Value::Bool(true);
        let (prefix, rest) = match (schema.get("prefixItems"), schema.get("items")) {
            (Some(Value::Array(prefix)), items) => (prefix.as_slice(), items),
            (_, Some(Value::Array(prefix))) => (prefix.as_slice(), schema.get("additionalItems")),
            (_, items) => ([].as_slice(), items),
        };
        let rest = rest.unwrap_or(&any);
        let low = length(schema, "minItems").unwrap_or(0).min(LENGTH_MAX);
        let high = length(schema, "maxItems").unwrap_or(LENGTH_MAX);
        let contained = schema.get("contains");
        let contains = length(schema, "minContains").unwrap_or(1);
        let contains = if contained.is_some() { contains } else { 0 };
        let usual = if prefix.is_empty() { self.draw.within(1, 3) } else { size(prefix.len()) };
        let closed = rest == &Value::Bool(false);
        let usual = if self.lean(depth) || (closed && prefix.is_empty()) { 0 } else { usual };
        let wanted = low.max(usual).max(contains).min(high);
        let unique = schema.get("uniqueItems") == Some(&Value::Bool(true));
        let item_name = name.strip_suffix('s').unwrap_or(name);
        let mut made: Vec<Value> = Vec::new();
        for position in 0..usize::try_from(wanted).unwrap_or(0) {
            let item = match (prefix.get(position), contained) {
                (Some(item), _) => item,
                (None, _) if closed => break,
                (None, Some(contained)) if size(position) < contains => contained,
                (None, _) => rest,
            };
            for _ in 0..UNIQUE_DRAWS_MAX {
                let value = self.value(item, item_name, depth + 1);
                if !unique || !made.contains(&value) {
                    made.push(value);
                    break;
                }
            }
        }
        Value::Array(made)
    }
}

fn with_type_string(names: &Value) -> Value {
    let mut schema = names.as_object().cloned().unwrap_or_default();
    schema.insert("type".to_owned(), Value::from("string"));
    Value::Object(schema)
}

fn length(schema: &Schema, key: &str) -> Option<u64> {
    schema.get(key).and_then(Value::as_u64)
}

fn size(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
