//! One draw of a value for a schema: objects, arrays and the choice between branches. Must not
//! know: whether the draw fits (the caller asks a validator).

use std::collections::HashMap;

use regex_syntax::hir::Hir;
use serde_json::{Map, Value};

use super::super::draw::Draw;
use super::merge::merge;
use super::{numbers, strings};

/// From this depth on, only what is required is made.
const DEPTH_LEAN: usize = 6;
/// At this depth nothing more is made.
const DEPTH_MAX: usize = 48;
/// Values made in one draw before it turns lean.
const VALUES_MAX: usize = 4_000;
/// Items tried until they differ from each other.
const UNIQUE_DRAWS_MAX: usize = 20;
/// The longest array or object made, whatever the schema asks for.
const LENGTH_MAX: u64 = 2_000;
/// References followed one after the other.
const HOPS_MAX: usize = 16;
/// Keywords that describe and do not constrain.
const ANNOTATIONS: [&str; 9] = [
    "title",
    "description",
    "default",
    "examples",
    "$comment",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$schema",
];

type Schema = Map<String, Value>;

/// Makes one draw.
pub(super) struct Generator<'a> {
    root: &'a Value,
    patterns: &'a HashMap<String, Hir>,
    draw: Draw,
    /// The probability that something optional is there.
    optional: f64,
    values: usize,
}

impl<'a> Generator<'a> {
    pub(super) fn new(
        root: &'a Value,
        patterns: &'a HashMap<String, Hir>,
        draw: Draw,
        optional: f64,
    ) -> Self {
        Self {
            root,
            patterns,
            draw,
            optional,
            values: 0,
        }
    }

    /// A value for the whole schema.
    pub(super) fn root_value(mut self) -> Value {
        self.value(self.root, "answer", 0)
    }

    fn lean(&self, depth: usize) -> bool {
        depth >= DEPTH_LEAN || self.values >= VALUES_MAX
    }

    fn value(&mut self, schema: &Value, name: &str, depth: usize) -> Value {
        self.values += 1;
        if depth >= DEPTH_MAX || self.values > VALUES_MAX * 4 {
            return Value::Null;
        }
        match schema {
            Value::Object(schema) => self.composed(schema, name, depth),
            Value::Bool(true) => {
                Value::from(format!("simulated {name} {}", self.draw.within(1, 99)))
            }
            _ => Value::Null,
        }
    }

    /// Reduces a schema with references and branches to one without, then makes it.
    fn composed(&mut self, schema: &Schema, name: &str, depth: usize) -> Value {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let Some(target) = self.resolve(reference) else {
                return Value::Null;
            };
            let alone = schema
                .keys()
                .all(|key| key == "$ref" || ANNOTATIONS.contains(&key.as_str()));
            return match target {
                Value::Object(target) if !alone => {
                    let joined = merge(target, &without(schema, &["$ref"]));
                    self.composed(&joined, name, depth + 1)
                }
                target => self.value(target, name, depth + 1),
            };
        }
        if let Some(Value::Array(branches)) = schema.get("allOf") {
            let mut joined = without(schema, &["allOf"]);
            for branch in branches {
                joined = merge(&joined, &self.dereferenced(branch));
            }
            return self.composed(&joined, name, depth + 1);
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(Value::Array(branches)) = schema.get(key) {
                let branch = self.branch(branches, depth);
                let joined = merge(&without(schema, &[key]), &branch);
                return self.composed(&joined, name, depth + 1);
            }
        }
        if let Some(condition) = schema.get("if") {
            let rest = without(schema, &["if", "then", "else"]);
            let met = self.draw.chance(0.5);
            let branch = schema.get(if met { "then" } else { "else" });
            let mut joined = rest;
            if met {
                joined = merge(&joined, &self.dereferenced(condition));
            }
            if let Some(branch) = branch {
                joined = merge(&joined, &self.dereferenced(branch));
            }
            return self.composed(&joined, name, depth + 1);
        }
        if let Some(value) = schema.get("const") {
            return value.clone();
        }
        if let Some(Value::Array(values)) = schema.get("enum") {
            return self.draw.pick(values).cloned().unwrap_or(Value::Null);
        }
        self.typed(schema, name, depth)
    }

    fn typed(&mut self, schema: &Schema, name: &str, depth: usize) -> Value {
        match self.chosen_type(schema, depth) {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, name, depth),
            "integer" => numbers::integer(schema, &mut self.draw),
            "number" => numbers::number(schema, &mut self.draw),
            "boolean" => Value::Bool(self.draw.chance(0.5)),
            "null" => Value::Null,
            _ => Value::from(strings::string(schema, self.patterns, name, &mut self.draw)),
        }
    }

    fn chosen_type<'s>(&mut self, schema: &'s Schema, depth: usize) -> &'s str {
        match schema.get("type") {
            Some(Value::String(one)) => {
                let nullable = schema.get("nullable") == Some(&Value::Bool(true));
                if nullable && self.lean(depth) {
                    "null"
                } else {
                    one
                }
            }
            Some(Value::Array(several)) => {
                let names: Vec<&str> = several.iter().filter_map(Value::as_str).collect();
                let solid: Vec<&str> = names.iter().copied().filter(|n| *n != "null").collect();
                let may_be_null = solid.len() < names.len();
                if may_be_null && (solid.is_empty() || self.lean(depth) || self.draw.chance(0.1)) {
                    return "null";
                }
                self.draw.pick(&solid).copied().unwrap_or("null")
            }
            _ => implied_type(schema),
        }
    }

    fn object(&mut self, schema: &Schema, depth: usize) -> Value {
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
        let additional = schema
            .get("additionalProperties")
            .unwrap_or(&Value::Bool(true));
        for name in required {
            if !made.contains_key(name) {
                let value = self.value(additional, name, depth + 1);
                made.insert(name.to_owned(), value);
            }
        }
        let open = properties.is_empty()
            && (additional.is_object() || schema.contains_key("patternProperties"));
        let wanted = if open && !self.lean(depth) {
            self.draw.within(1, 3)
        } else {
            0
        };
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
        let additional = schema
            .get("additionalProperties")
            .unwrap_or(&Value::Bool(true));
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

    fn array(&mut self, schema: &Schema, name: &str, depth: usize) -> Value {
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
        let usual = if prefix.is_empty() {
            self.draw.within(1, 3)
        } else {
            size(prefix.len())
        };
        let closed = rest == &Value::Bool(false);
        let usual = if self.lean(depth) || (closed && prefix.is_empty()) {
            0
        } else {
            usual
        };
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

    /// One of the branches; deep down one that does not go deeper, where there is one.
    fn branch(&mut self, branches: &[Value], depth: usize) -> Schema {
        let flat = |branch: &&Value| {
            let kind = branch.get("type").and_then(Value::as_str);
            branch.get("const").is_some()
                || branch.get("enum").is_some()
                || kind.is_some_and(|kind| kind != "object" && kind != "array")
        };
        let shallow: Vec<&Value> = branches.iter().filter(flat).collect();
        let chosen = if self.lean(depth) && !shallow.is_empty() {
            self.draw.pick(&shallow).copied()
        } else {
            self.draw.pick(branches)
        };
        chosen
            .map(|branch| self.dereferenced(branch))
            .unwrap_or_default()
    }

    /// A branch as keywords of its own, references followed.
    fn dereferenced(&self, branch: &Value) -> Schema {
        let mut schema = match branch {
            Value::Object(schema) => schema.clone(),
            Value::Bool(false) => return impossible(),
            _ => return Schema::new(),
        };
        for _ in 0..HOPS_MAX {
            let Some(Value::String(reference)) = schema.get("$ref") else {
                break;
            };
            let Some(Value::Object(target)) = self.resolve(reference) else {
                return impossible();
            };
            schema = merge(target, &without(&schema, &["$ref"]));
        }
        schema
    }

    /// The part of the schema that a local reference means.
    fn resolve(&self, reference: &str) -> Option<&'a Value> {
        let pointer = reference.strip_prefix('#')?;
        self.root
            .pointer(&pointer.replace("%24", "$").replace("%25", "%"))
    }
}

fn impossible() -> Schema {
    let mut schema = Schema::new();
    schema.insert("enum".to_owned(), Value::Array(Vec::new()));
    schema
}

fn without(schema: &Schema, keys: &[&str]) -> Schema {
    let kept = schema
        .iter()
        .filter(|(key, _)| !keys.contains(&key.as_str()));
    kept.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn with_type_string(names: &Value) -> Value {
    let mut schema = names.as_object().cloned().unwrap_or_default();
    schema.insert("type".to_owned(), Value::from("string"));
    Value::Object(schema)
}

fn implied_type(schema: &Schema) -> &'static str {
    let has = |keys: &[&str]| keys.iter().any(|key| schema.contains_key(*key));
    if has(&[
        "properties",
        "required",
        "additionalProperties",
        "patternProperties",
        "minProperties",
    ]) {
        "object"
    } else if has(&[
        "items",
        "prefixItems",
        "minItems",
        "maxItems",
        "uniqueItems",
        "contains",
    ]) {
        "array"
    } else if has(&[
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
    ]) {
        "number"
    } else {
        "string"
    }
}

fn length(schema: &Schema, key: &str) -> Option<u64> {
    schema.get(key).and_then(Value::as_u64)
}

fn size(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
