//! One draw of a value for a schema: references, the choice between branches, the types. Must not
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

pub(super) type Schema = Map<String, Value>;

/// Makes one draw.
pub(super) struct Generator<'a> {
    root: &'a Value,
    pub(super) patterns: &'a HashMap<String, Hir>,
    pub(super) draw: Draw,
    /// The probability that something optional is there.
    pub(super) optional: f64,
    values: usize,
}

impl<'a> Generator<'a> {
    pub(super) fn new(
        root: &'a Value,
        patterns: &'a HashMap<String, Hir>,
        draw: Draw,
        optional: f64,
    ) -> Self {
        Self { root, patterns, draw, optional, values: 0 }
    }

    /// A value for the whole schema.
    pub(super) fn root_value(mut self) -> Value {
        self.value(self.root, "answer", 0)
    }

    pub(super) fn lean(&self, depth: usize) -> bool {
        depth >= DEPTH_LEAN || self.values >= VALUES_MAX
    }

    pub(super) fn value(&mut self, schema: &Value, name: &str, depth: usize) -> Value {
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
            let alone =
                schema.keys().all(|key| key == "$ref" || ANNOTATIONS.contains(&key.as_str()));
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
                if nullable && self.lean(depth) { "null" } else { one }
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
        chosen.map(|branch| self.dereferenced(branch)).unwrap_or_default()
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
        self.root.pointer(&pointer.replace("%24", "$").replace("%25", "%"))
    }
}

fn impossible() -> Schema {
    let mut schema = Schema::new();
    schema.insert("enum".to_owned(), Value::Array(Vec::new()));
    schema
}

fn without(schema: &Schema, keys: &[&str]) -> Schema {
    let kept = schema.iter().filter(|(key, _)| !keys.contains(&key.as_str()));
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
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
    } else if has(&["items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"]) {
        "array"
    } else if has(&["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]) {
        "number"
    } else {
        "string"
    }
}
