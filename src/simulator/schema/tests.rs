//! Tests of the generator: named cases, and a family of schemas drawn by proptest. Must not know:
//! the wire.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn prepared(schema: &Value) -> Prepared {
    Prepared::new(&schema.to_string()).unwrap()
}

/// Every seed must give a fitting value.
fn check(schema: &Value) {
    let prepared = prepared(schema);
    for seed in 0..200 {
        let made = prepared.make(seed);
        assert_eq!(made.misfit, None, "{schema} {}", made.value);
        assert!(prepared.fits(&made.value));
        assert_eq!(made, prepared.make(seed));
    }
}

#[test]
fn scalars_keep_their_bounds() {
    for schema in [
        json!({"type": "string", "minLength": 40, "maxLength": 60}),
        json!({"type": "string", "maxLength": 2}),
        json!({"type": "string", "maxLength": 0}),
        json!({"type": "integer", "minimum": -3, "maximum": -3}),
        json!({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 2}),
        json!({"type": "integer", "multipleOf": 7, "minimum": 50, "maximum": 60}),
        json!({"type": "integer", "minimum": 1_000_000_000_000_i64}),
        json!({"type": "number", "exclusiveMinimum": 0, "maximum": 0.001}),
        json!({"type": "number", "multipleOf": 0.1, "minimum": 0, "maximum": 5}),
        json!({"type": "number", "multipleOf": 0.25}),
        json!({"type": ["integer", "null"]}),
        json!({"type": "boolean"}),
        json!({"type": "null"}),
        json!({"const": {"a": [1]}}),
        json!({"enum": ["x", 2, null]}),
        json!({}),
        json!(true),
    ] {
        check(&schema);
    }
}

#[test]
fn formats_are_kept() {
    for format in [
        "date",
        "time",
        "date-time",
        "duration",
        "email",
        "hostname",
        "uri",
        "ipv4",
        "ipv6",
        "uuid",
        "json-pointer",
        "regex",
        "no-such-format",
    ] {
        check(&json!({"type": "string", "format": format}));
    }
}

#[test]
fn patterns_are_matched() {
    for schema in [
        json!({"type": "string", "pattern": "^[A-Z]{3}-\\d{4}$"}),
        json!({"type": "string", "pattern": "^(foo|bar)+\\s?$"}),
        json!({"type": "string", "pattern": "\\w+@\\w+"}),
        json!({"type": "string", "pattern": "^[^a-z]{2,5}$"}),
        json!({"type": "string", "pattern": "^[a-z]+$", "minLength": 30, "maxLength": 35}),
        json!({"type": "string", "pattern": "^.*$", "maxLength": 3}),
        json!({"type": "string", "pattern": "ab", "minLength": 10}),
        json!({"type": "string", "pattern": "^\\p{L}+$"}),
    ] {
        check(&schema);
    }
}

#[test]
fn a_pattern_that_cannot_be_followed_is_admitted_to() {
    let prepared = prepared(&json!({"type": "string", "pattern": "^(?=.*\\d)(?=.*[a-z])\\S{8}$"}));
    let made = prepared.make(1);
    assert!(made.misfit.unwrap().contains("no draw fits"));
}

#[test]
fn objects_keep_their_rules() {
    for schema in [
        json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
               "required": ["a", "c"], "additionalProperties": {"type": "boolean"}}),
        json!({"type": "object", "minProperties": 3, "maxProperties": 3}),
        json!({"type": "object", "additionalProperties": {"type": "integer"}}),
        json!({"type": "object", "additionalProperties": false}),
        json!({"type": "object", "patternProperties": {"^x_[a-z]{3}$": {"type": "integer"}},
               "additionalProperties": false, "minProperties": 2}),
        json!({"type": "object", "propertyNames": {"pattern": "^k\\d$"}, "minProperties": 2}),
        json!({"type": "object", "properties": {"a": {}, "b": {}, "c": {"type": "integer"}},
               "dependentRequired": {"a": ["b"], "b": ["c"]}}),
        json!({"properties": {"a": {"type": "string"}}, "required": ["a"]}),
    ] {
        check(&schema);
    }
}

#[test]
fn arrays_keep_their_rules() {
    for schema in [
        json!({"type": "array", "items": {"type": "string"}, "minItems": 4, "maxItems": 6}),
        json!({"type": "array", "maxItems": 0}),
        json!({"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 3, "uniqueItems": true}),
        json!({"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": false}),
        json!({"type": "array", "prefixItems": [{"const": 1}], "items": {"type": "null"}, "minItems": 3}),
        json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "array",
               "items": [{"const": 1}], "additionalItems": {"type": "boolean"}, "minItems": 2}),
        json!({"type": "array", "items": {"type": "integer"}, "contains": {"type": "integer", "minimum": 500}}),
    ] {
        check(&schema);
    }
}

#[test]
fn references_and_branches_are_followed() {
    for schema in [
        json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {
            "name": {"type": "string"},
            "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}, "required": ["name", "children"]}}}),
        json!({"$defs": {"e": {"oneOf": [{"type": "integer"}, {"type": "array", "minItems": 2,
            "items": {"$ref": "#/$defs/e"}}]}}, "$ref": "#/$defs/e"}),
        json!({"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
                         {"properties": {"a": {"minimum": 7}, "b": {"const": 1}}, "required": ["b"]}]}),
        json!({"type": "integer", "allOf": [{"minimum": 3}, {"maximum": 5}]}),
        json!({"anyOf": [{"type": "string"}, {"type": "integer"}], "description": "either"}),
        json!({"oneOf": [{"type": "object", "properties": {"kind": {"const": "a"}}, "required": ["kind"]},
                         {"type": "object", "properties": {"kind": {"const": "b"}, "n": {"type": "integer"}},
                          "required": ["kind", "n"]}]}),
        json!({"type": "object", "properties": {"k": {"enum": ["x", "y"]}, "n": {"type": "integer"}},
               "required": ["k"], "if": {"properties": {"k": {"const": "x"}}}, "then": {"required": ["n"]}}),
        json!({"type": "integer", "minimum": 1, "maximum": 4, "not": {"const": 2}}),
        json!({"definitions": {"p": {"type": "number"}}, "properties": {"x": {"$ref": "#/definitions/p",
               "minimum": 3}}, "required": ["x"]}),
    ] {
        check(&schema);
    }
}

#[test]
fn what_cannot_be_satisfied_ends_and_says_so() {
    for schema in [
        json!(false),
        json!({"allOf": [{"type": "string"}, {"type": "integer"}]}),
        json!({"$ref": "#"}),
        json!({"$defs": {"a": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}},
               "required": ["a"]}}, "$ref": "#/$defs/a"}),
    ] {
        let Ok(prepared) = Prepared::new(&schema.to_string()) else {
            continue;
        };
        let made = prepared.make(1);
        assert_eq!(made.misfit.is_none(), prepared.fits(&made.value), "{schema}");
    }
}

#[test]
fn references_to_the_outside_and_broken_schemas_are_refused() {
    for schema in ["{", "3", "{\"type\": 12}", "{\"$ref\": \"https://example.com/s.json\"}"] {
        assert!(Prepared::new(schema).is_err(), "{schema}");
    }
}

#[test]
fn a_wrong_value_does_not_fit_where_any_can_be_found() {
    let one = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]});
    let one = prepared(&one);
    for seed in 0..50 {
        assert!(!one.fits(&one.make_wrong(seed).unwrap()));
    }
    assert_eq!(prepared(&json!({})).make_wrong(1), None);
}

#[test]
fn the_cache_gives_one_schema_once_and_stays_bounded() {
    let cache = SchemaCache::default();
    let first = cache.get("{}").unwrap();
    assert!(Arc::ptr_eq(&first, &cache.get("{}").unwrap()));
    for number in 0..SCHEMAS_MAX * 2 {
        cache.get(&json!({"const": number}).to_string()).unwrap();
    }
    assert!(cache.compiled.lock().unwrap().len() <= SCHEMAS_MAX);
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0..20_u64, 0..20_u64).prop_map(|(low, more)| {
            json!({"type": "string", "minLength": low, "maxLength": low + more})
        }),
        (-50..50_i64, 0..50_i64).prop_map(
            |(low, more)| json!({"type": "integer", "minimum": low, "maximum": low + more})
        ),
        (-50..50_i64, 1..50_i64).prop_map(|(low, more)| {
            json!({"type": "number", "exclusiveMinimum": low, "maximum": low + more})
        }),
        (1..9_u64).prop_map(|step| json!({"type": "integer", "multipleOf": step, "minimum": 0})),
        (1..6_u64, 1..6_u64).prop_map(|(letters, digits)| {
            json!({"type": "string", "pattern": format!("^[a-f]{{{letters}}}_\\d{{{digits},9}}$")})
        }),
        Just(json!({"type": "boolean"})),
        Just(json!({"type": ["string", "null"], "format": "date-time"})),
        proptest::collection::vec("[a-z]{1,6}", 1..5).prop_map(|words| json!({"enum": words})),
        any::<i32>().prop_map(|number| json!({"const": number})),
    ]
}

fn family() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            (
                proptest::collection::btree_map("[a-z]{1,8}", inner.clone(), 0..5),
                any::<u8>(),
                any::<bool>(),
            )
                .prop_map(|(properties, mask, closed)| {
                    let names = properties.keys().enumerate();
                    let required: Vec<_> = names
                        .filter(|(index, _)| mask & (1 << index) != 0)
                        .map(|(_, name)| name.clone())
                        .collect();
                    json!({"type": "object", "properties": properties, "required": required,
                           "additionalProperties": !closed})
                }),
            (inner.clone(), 0..4_u64, 0..4_u64).prop_map(|(items, low, more)| {
                json!({"type": "array", "items": items, "minItems": low, "maxItems": low + more})
            }),
            proptest::collection::vec(inner.clone(), 1..4)
                .prop_map(|branches| json!({"anyOf": branches})),
            proptest::collection::vec(inner.clone(), 1..4)
                .prop_map(|prefix| json!({"type": "array", "prefixItems": prefix, "items": false})),
            inner
                .prop_map(|schema| json!({"allOf": [schema, {"description": "and nothing else"}]})),
        ]
    })
}

proptest! {
    #[test]
    fn every_schema_of_the_family_is_answered_by_a_value_that_fits(schema in family(), seed in any::<u64>()) {
        let prepared = prepared(&schema);
        let made = prepared.make(seed);
        prop_assert_eq!(&made.misfit, &None, "{} {}", schema, made.value);
        prop_assert!(jsonschema::is_valid(&schema, &made.value));
        if let Some(wrong) = prepared.make_wrong(seed) {
            prop_assert!(!jsonschema::is_valid(&schema, &wrong));
        }
    }

    #[test]
    fn no_schema_whatever_makes_it_panic_or_run_on(
        keyword in "type|enum|items|required|properties|allOf|anyOf|minItems|minLength|pattern|multipleOf|minimum|\\$ref|contains|prefixItems|minProperties",
        value in prop_oneof![
            Just(json!(null)), Just(json!(true)), Just(json!(-1)), Just(json!(1e300)), Just(json!(u64::MAX)),
            Just(json!("")), Just(json!("#/x")), Just(json!([])), Just(json!({})), Just(json!([{}, 1])),
            Just(json!({"a": {"minItems": 5000}})),
        ],
        seed in any::<u64>(),
    ) {
        let mut schema = json!({"properties": {"a": {"type": "array"}}, "required": ["a"]});
        schema[keyword] = value;
        if let Ok(prepared) = Prepared::new(&schema.to_string()) {
            let made = prepared.make(seed);
            prop_assert_eq!(made.misfit.is_none(), prepared.fits(&made.value));
        }
    }
}
