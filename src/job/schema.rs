//! What the job document's published JSON Schema says beyond the fields' types.
//! Must not know: how a document is read or checked.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::MetadataMap;

/// A name: not blank, and without control characters.
pub(super) const NAME: &str = concat!(
    r"^[^\u0000-\u001f\u007f-\u009f]*",
    r"[^\s\u0000-\u001f\u007f-\u009f]",
    r"[^\u0000-\u001f\u007f-\u009f]*$"
);

/// A name without blanks.
pub(super) const WORD: &str = r"^[^\s\u0000-\u001f\u007f-\u009f]+$";

/// A text that is not blank.
pub(super) const NOT_BLANK: &str = r"\S";

/// Any JSON Schema, or none.
pub(super) fn any_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["object", "boolean", "null"] })
}

/// A field that must not be given.
pub(super) fn nothing(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "null" })
}

/// How many labels there may be, how long their names, and what they may say.
pub(super) fn labels(schema: &mut Schema) {
    let value = json!({ "type": "string", "maxLength": 256, "pattern": NAME });
    schema.insert("additionalProperties".to_owned(), value);
    schema.insert("maxProperties".to_owned(), json!(64));
    schema.insert("propertyNames".to_owned(), json!({ "maxLength": 256 }));
}

/// What holds for the whole document; and the form in which people like to read it.
pub(super) fn finish(schema: &mut Schema) {
    let exactly_one = json!([
        { "required": ["prompt"], "properties": { "prompt": { "type": "string" } } },
        { "required": ["messages"], "properties": { "messages": { "type": "array" } } },
    ]);
    schema.insert("oneOf".to_owned(), exactly_one);
    let fields = schema.get_mut("properties").and_then(Value::as_object_mut);
    for field in fields.into_iter().flat_map(|fields| fields.values_mut()) {
        if let Some(field) = field.as_object_mut() {
            // Other formats only say how Rust keeps a number.
            field.retain(|key, value| key != "format" || value == "date-time");
            readable(field);
        }
    }
    readable(schema.ensure_object());
}

/// What it is comes first, on one line.
fn readable(schema: &mut MetadataMap) {
    for key in ["description", "title"] {
        if let Some(Value::String(text)) = schema.shift_remove(key) {
            schema.shift_insert(0, key.to_owned(), text.replace('\n', " ").into());
        }
    }
}
