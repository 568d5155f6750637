//! Compiled schemas, kept, because the jobs of a batch share a few.
//! Must not know: jobs.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::check::{self, Limits, Schema, SchemaError};

/// How many compiled schemas are kept; when there are more, all go and those in use come back.
const KEPT_MAX: usize = 256;

/// Compiled schemas by their text. A std mutex: nothing is awaited while it is held.
#[derive(Debug, Default)]
pub(super) struct Schemas(Mutex<HashMap<String, Schema>>);

impl Schemas {
    /// True if it is compiled already.
    pub(super) fn knows(&self, schema: &Value) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&schema.to_string())
    }

    pub(super) fn compile(&self, schema: &Value, limits: &Limits) -> Result<Schema, SchemaError> {
        let text = schema.to_string();
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept().get(&text) {
            return Ok(found.clone());
        }
        let compiled = check::compile(schema, limits)?;
        let mut kept = kept();
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(text, compiled.clone());
        Ok(compiled)
    }
}
