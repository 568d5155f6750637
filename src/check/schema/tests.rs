//! Tests of what schemas are accepted, and of how much work they may make.

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

#[track_caller]
fn check(schema: &Value, expected: &Expect) {
    let limits = Limits::default();
    let shown = match compile(schema, &limits) {
        Ok(schema) => format!("{:?}", schema.unfolded),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&shown);
}

fn compiled(schema: &Value) -> Schema {
    compile(schema, &Limits::default()).unwrap()
}

/// A chain of definitions, each of which refers `times` times to the next.
fn chain(links: usize, times: usize) -> Value {
    let mut definitions = serde_json::Map::new();
    for link in 0..links {
        let next = json!({"$ref": format!("#/$defs/d{}", link + 1)});
        definitions.insert(format!("d{link}"), json!({"allOf": vec![next; times]}));
    }
    definitions.insert(format!("d{links}"), json!({"type": "object"}));
    json!({"$ref": "#/$defs/d0", "$defs": definitions})
}

#[test]
fn a_compiled_schema_is_shared_between_threads() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    shared::<Schema>();
}

#[test]
fn objects_and_booleans_are_schemas() {
    check(&json!(true), &expect!["Unfolded { nodes: 1, depth: 1, recursive: false }"]);
    check(&json!({}), &expect!["Unfolded { nodes: 1, depth: 1, recursive: false }"]);
    check(&json!([]), &expect!["schema: must be a JSON object or a boolean, not an array"]);
    check(&json!("string"), &expect!["schema: must be a JSON object or a boolean, not a string"]);
}

#[test]
fn a_schema_that_is_not_json_schema_is_refused_with_its_place() {
    check(
        &json!({"properties": {"a": {"type": "strnig"}}}),
        &expect![[
            r#"schema at "/properties/a/type": "strnig" is not valid under any of the schemas listed in the 'anyOf' keyword"#
        ]],
    );
    check(
        &json!({"required": "name"}),
        &expect![[r#"schema at "/required": "name" is not of type "array""#]],
    );
}

#[test]
fn references_never_leave_the_document() {
    for reference in ["https://example.com/a.json", "other.json#/a", "file:///etc/passwd", "urn:x"]
    {
        let schema = json!({"properties": {"a/b": {"$ref": reference}}});
        let error = compile(&schema, &Limits::default()).unwrap_err();
        assert!(matches!(error, SchemaError::RemoteReference { .. }), "{error}");
    }
    check(
        &json!({"items": {"$ref": "https://example.com/a.json"}}),
        &expect![[
            r##"schema at "/items/$ref": the reference "https://example.com/a.json" leaves the document, and nothing is ever fetched; copy its target into "$defs" and refer to "#/$defs/...""##
        ]],
    );
    check(
        &json!({"$defs": {"unused": {"$ref": "https://example.com/"}}}),
        &expect![[
            r##"schema at "/$defs/unused/$ref": the reference "https://example.com/" leaves the document, and nothing is ever fetched; copy its target into "$defs" and refer to "#/$defs/...""##
        ]],
    );
    check(
        &json!({"$schema": "https://example.com/my-own"}),
        &expect![[
            r#"schema at "": Unknown meta-schema: 'https://example.com/my-own'. Custom meta-schemas must be registered in the registry before use"#
        ]],
    );
    check(
        &json!({"$ref": "#/$defs/nothing"}),
        &expect![[
            r##"schema at "/$ref": the reference "#/$defs/nothing" leads nowhere; define its target in this document"##
        ]],
    );
    check(
        &json!({"properties": {"a": {"$id": "https://example.com/a"}}}),
        &expect![[
            r##"schema at "/properties/a": "$id" below the root is not supported; remove it and refer to "#/$defs/...""##
        ]],
    );
}

#[test]
fn references_within_the_document_are_followed() {
    check(
        &json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": "https://example.com/root",
            "properties": {
                "a": {"$ref": "#/$defs/a%20b"},
                "b": {"$ref": "#named"},
                "$ref": {"type": "string"},
                "$id": {"type": "string"},
            },
            "$defs": {"a b": {"type": "string"}, "c": {"$anchor": "named", "type": "integer"}},
        }),
        &expect!["Unfolded { nodes: 18, depth: 3, recursive: false }"],
    );
    check(
        &json!({"const": {"$ref": "https://example.com/data"}}),
        &expect!["Unfolded { nodes: 2, depth: 1, recursive: false }"],
    );
}

#[test]
fn a_recursive_schema_is_allowed_and_known_as_such() {
    let tree = json!({
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["children"],
    });
    check(&tree, &expect!["Unfolded { nodes: 11, depth: 4, recursive: true }"]);
    let schema = compiled(&tree);
    assert!(schema.fits(&json!({"children": [{"children": []}]})));
    assert!(!schema.fits(&json!({"children": [{}]})));
}

#[test]
fn a_schema_that_only_leads_to_itself_does_not_hang() {
    for schema in [
        json!({"$ref": "#"}),
        json!({"allOf": [{"$ref": "#"}], "anyOf": [{"$ref": "#"}]}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
        json!({"not": {"$ref": "#"}}),
    ] {
        if let Ok(schema) = compile(&schema, &Limits::default()) {
            let value = json!({"a": [1]});
            let _fits = schema.fits(&value);
            drop(schema.mismatch(&value, &Limits::default()));
        }
    }
}

#[test]
fn deep_nesting_is_refused() {
    let mut schema = json!(true);
    for _ in 0..63 {
        schema = json!({"not": schema});
    }
    assert!(compile(&schema, &Limits::default()).is_ok());
    check(
        &json!({"items": {"items": {"items": schema}}}),
        &expect![[
            r#"schema at "/items/items/items/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not/not": nested deeper than schema_depth_max (64) subschemas, references followed; flatten it, or raise the limit"#
        ]],
    );
    check(
        &chain(70, 1),
        &expect![[
            r#"schema at "/$defs/d31/allOf/0": nested deeper than schema_depth_max (64) subschemas, references followed; flatten it, or raise the limit"#
        ]],
    );
}

#[test]
fn references_that_multiply_are_refused() {
    check(&chain(10, 2), &expect!["Unfolded { nodes: 10235, depth: 22, recursive: false }"]);
    check(
        &chain(60, 2),
        &expect![[
            r#"schema at "/$defs/d31/allOf/0": nested deeper than schema_depth_max (64) subschemas, references followed; flatten it, or raise the limit"#
        ]],
    );
}

#[test]
fn a_long_schema_is_refused() {
    check(
        &json!({"description": "x".repeat(300_000)}),
        &expect![
            "schema: 300018 bytes long, more than schema_bytes_max (262144); shorten descriptions and enums, or raise the limit"
        ],
    );
}

#[test]
fn patterns_run_in_linear_time_or_are_refused() {
    check(
        &json!({"pattern": "^(?=.*a).*$"}),
        &expect![[
            r#"schema at "/pattern": "^(?=.*a).*$" is not a "regex"; patterns run on a linear-time engine: leave out look-around, back-references and large repetitions"#
        ]],
    );
    check(
        &json!({"pattern": "(a)\\1"}),
        &expect![[
            r#"schema at "/pattern": "(a)\\1" is not a "regex"; patterns run on a linear-time engine: leave out look-around, back-references and large repetitions"#
        ]],
    );
    check(
        &json!({"pattern": "(((a{100}){100}){100}){100}"}),
        &expect![[
            r#"schema at "/pattern": "(((a{100}){100}){100}){100}" is not a "regex"; patterns run on a linear-time engine: leave out look-around, back-references and large repetitions"#
        ]],
    );
    check(
        &json!({"patternProperties": {"(": true}}),
        &expect![[
            r#"schema at "/patternProperties/(": "(" is not a "regex"; patterns run on a linear-time engine: leave out look-around, back-references and large repetitions"#
        ]],
    );
    let hostile = compiled(&json!({"pattern": "^(a+)+$"}));
    assert!(!hostile.fits(&json!("a".repeat(100_000) + "!")));
}

#[test]
fn formats_are_asserted_and_unknown_ones_ignored() {
    let date = compiled(&json!({"format": "date"}));
    assert!(date.fits(&json!("2026-02-28")) && !date.fits(&json!("2026-02-30")));
    assert!(compiled(&json!({"format": "uint32"})).fits(&json!("anything")));
}

/// Validates on a thread with half of the stack that worker threads have.
fn on_a_small_stack(check: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(1 << 20).spawn(check).unwrap().join().unwrap();
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!({}), |inner, _| json!({"a": inner}))
}

#[test]
fn no_accepted_answer_overflows_the_stack() {
    on_a_small_stack(|| {
        let limits = Limits::default();
        for links in [1, 5, 10, 20, 30] {
            let mut schema = chain(links, 1);
            let last = format!("/$defs/d{links}");
            *schema.pointer_mut(&last).unwrap() =
                json!({"properties": {"a": {"$ref": "#/$defs/d0"}}, "maxProperties": 0});
            let schema = compiled(&schema);
            for levels in 0..=126 {
                let value = nested(levels);
                if schema.pass_work(&value, &limits).is_ok() {
                    assert_eq!(schema.fits(&value), levels == 0);
                    drop(schema.mismatch(&value, &limits));
                }
            }
        }
    });
}

#[test]
fn a_schema_that_doubles_with_every_level_is_still_quick() {
    let limits = Limits::default();
    let branch = json!({"properties": {"a": {"$ref": "#"}}});
    for keyword in ["allOf", "anyOf", "oneOf"] {
        for extra in ["maxProperties", "unevaluatedProperties"] {
            let limit = if extra == "maxProperties" { json!(5) } else { json!(false) };
            let schema = compiled(&json!({keyword: [branch, branch], extra: limit}));
            let value = nested(120);
            assert!(schema.pass_work(&value, &limits).is_ok());
            let _fits = schema.fits(&value);
            drop(schema.mismatch(&value, &limits));
        }
    }
}

#[test]
fn an_answer_that_would_take_too_many_steps_is_refused() {
    let limits = Limits { validation_steps_max: 1_000, ..Limits::default() };
    let schema = compiled(&json!({"items": {"enum": vec![0; 50]}}));
    assert!(schema.pass_work(&json!(vec![0; 10]), &limits).is_ok());
    let failed = schema.pass_work(&json!(vec![0; 30]), &limits).unwrap_err();
    assert_eq!(failed.kind, ErrorKind::AnswerTooLarge);
    assert!(failed.message.contains("validation_steps_max is 1000"));
}

#[test]
fn a_long_list_of_errors_is_cut_to_the_first() {
    let schema = compiled(&json!({"items": {"enum": vec![0; 1_000]}}));
    let failed = schema.mismatch(&json!(vec![1; 5_000]), &Limits::default());
    assert_eq!(failed.errors.len(), 1);
    assert_eq!(failed.errors[0].pointer, "/0");
}
