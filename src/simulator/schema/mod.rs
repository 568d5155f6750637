//! Makes JSON that fits a schema, seeded, and proves that it fits. Must not know: the wire, prompts,
//! faults.

mod containers;
mod merge;
mod numbers;
mod strings;
mod values;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use regex_syntax::hir::Hir;
use serde_json::Value;

use super::draw::{Draw, join};
pub(crate) use strings::WORDS;
use values::Generator;

/// Draws tried until one fits.
const DRAWS_MAX: u64 = 24;
/// Prepared schemas kept; then the cache starts over.
const SCHEMAS_MAX: usize = 256;

/// A schema that is ready to be answered.
#[derive(Debug)]
pub(crate) struct Prepared {
    root: Value,
    /// Formats count here: what is made fits however strictly its reader looks.
    strict: jsonschema::Validator,
    /// Formats do not count here: what is made wrong is wrong however loosely its reader looks.
    loose: jsonschema::Validator,
    patterns: HashMap<String, Hir>,
}

/// A value made for a schema.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Made {
    pub(crate) value: Value,
    /// Why it does not fit, where no draw did.
    pub(crate) misfit: Option<String>,
}

impl Prepared {
    /// Compiles a schema, or says why it cannot be.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let root: Value = serde_json::from_str(text)
            .map_err(|error| format!("the schema is not JSON: {error}"))?;
        if !root.is_object() && !root.is_boolean() {
            return Err("the schema is neither an object nor a boolean".to_owned());
        }
        let compile = |formats: bool| {
            jsonschema::options()
                .should_validate_formats(formats)
                .build(&root)
                .map_err(|error| format!("the schema does not compile: {error}"))
        };
        let (strict, loose) = (compile(true)?, compile(false)?);
        let mut patterns = HashMap::new();
        strings::collect_patterns(&root, &mut patterns);
        Ok(Self { root, strict, loose, patterns })
    }

    /// A value that fits, the same for the same seed; where no draw fits, the last one and why.
    pub(crate) fn make(&self, seed: u64) -> Made {
        let mut value = Value::Null;
        for number in 0..DRAWS_MAX {
            // Later draws leave out more and more of what is optional: less to go wrong.
            let optional = match number {
                0..=7 => 0.85,
                8..=15 => 0.4,
                _ => 0.0,
            };
            let draw = Draw::new(join(seed, number));
            value = Generator::new(&self.root, &self.patterns, draw, optional).root_value();
            if self.strict.is_valid(&value) {
                return Made { value, misfit: None };
            }
        }
        let misfit = self
            .strict
            .validate(&value)
            .err()
            .map(|error| format!("no draw fits the schema; the last: {error}"));
        Made { value, misfit }
    }

    /// A value that does not fit, as near to a good one as can be found; nothing where the schema
    /// takes anything.
    pub(crate) fn make_wrong(&self, seed: u64) -> Option<Value> {
        let good = self.make(seed).value;
        let mut draw = Draw::new(join(seed, u64::MAX));
        let mut candidates = Vec::new();
        if let Value::Object(map) = &good {
            let mut keys: Vec<&String> = map.keys().collect();
            while !keys.is_empty() {
                let key = keys.swap_remove(draw.index(keys.len()));
                let mut without = map.clone();
                without.shift_remove(key);
                candidates.push(Value::Object(without));
                for odd in [Value::from("simulated mismatch"), Value::from(-1.5), Value::Null] {
                    let mut with = map.clone();
                    with.insert(key.clone(), odd);
                    candidates.push(Value::Object(with));
                }
            }
        }
        candidates.extend([
            serde_json::json!({ "simulated": "mismatch" }),
            Value::from("simulated mismatch"),
            Value::from(-1.5),
            Value::Null,
        ]);
        candidates.into_iter().find(|candidate| !self.loose.is_valid(candidate))
    }

    /// Whether a value fits.
    #[cfg(test)]
    pub(crate) fn fits(&self, value: &Value) -> bool {
        self.strict.is_valid(value)
    }
}

type Compiled = Result<Arc<Prepared>, Arc<str>>;

/// Schemas already compiled, by their text: jobs of one kind send the same one again and again, and
/// compiling costs more than all the rest of a call.
#[derive(Debug, Default)]
pub(crate) struct SchemaCache {
    compiled: Mutex<HashMap<String, Compiled>>,
}

impl SchemaCache {
    /// The schema, compiled now or before.
    pub(crate) fn get(&self, text: &str) -> Compiled {
        let known = |cache: &Self| {
            let compiled = cache.compiled.lock();
            let compiled = compiled.unwrap_or_else(PoisonError::into_inner);
            compiled.get(text).cloned()
        };
        if let Some(compiled) = known(self) {
            return compiled;
        }
        // Compiled outside the lock: two calls may compile the same schema once each.
        let fresh = Prepared::new(text).map(Arc::new).map_err(Arc::from);
        let compiled = self.compiled.lock();
        let mut compiled = compiled.unwrap_or_else(PoisonError::into_inner);
        if compiled.len() >= SCHEMAS_MAX {
            compiled.clear();
        }
        compiled.insert(text.to_owned(), fresh.clone());
        fresh
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
