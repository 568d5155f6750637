//! How much work a schema can make: its references resolved within the document and followed.
//! Must not know: the validator, values.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::Limits;
use super::schema::SchemaError;

/// Keywords that hold one subschema (`items` may also hold a list).
const ONE: [&str; 12] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords that hold a list of subschemas.
const LIST: [&str; 5] = ["allOf", "anyOf", "items", "oneOf", "prefixItems"];
/// Keywords that hold subschemas by name.
const BY_NAME: [&str; 4] = ["dependencies", "dependentSchemas", "patternProperties", "properties"];
/// Keywords whose subschemas count only where a reference leads to them.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];
/// Keywords that refer to another place.
const REFERENCES: [&str; 3] = ["$dynamicRef", "$recursiveRef", "$ref"];
/// Keywords that name their place, so that a reference can lead there.
const ANCHORS: [&str; 2] = ["$anchor", "$dynamicAnchor"];

/// What following all references of a schema comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Unfolded {
    /// Keywords and listed values that one value can meet, each cycle gone through once.
    pub(super) nodes: u64,
    /// Subschemas on the longest way down, each cycle gone through once.
    pub(super) depth: usize,
    /// Whether some subschema leads back to itself.
    pub(super) recursive: bool,
}

/// A subschema and where it stands.
struct Sub<'a> {
    pointer: String,
    schema: &'a Value,
    /// Met wherever its parent is met; a definition is met only by reference.
    met: bool,
}

/// Follows all references and measures the whole; refuses what leaves the document or a limit.
/// The schema's raw nesting must have been held to a limit before.
pub(super) fn unfold(root: &Value, limits: &Limits) -> Result<Unfolded, SchemaError> {
    let mut walk = Walk {
        root,
        limits,
        anchors: HashMap::new(),
        open: HashSet::new(),
        done: HashMap::new(),
        recursive: false,
    };
    walk.note_anchors()?;
    let cost = walk.measure(root, "", 0)?;
    Ok(Unfolded { nodes: cost.nodes, depth: cost.depth, recursive: walk.recursive })
}

#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    nodes: u64,
    depth: usize,
}

struct Walk<'a> {
    root: &'a Value,
    limits: &'a Limits,
    anchors: HashMap<&'a str, (String, &'a Value)>,
    /// Subschemas on the way from the root to the present one, by address.
    open: HashSet<*const Value>,
    done: HashMap<*const Value, Cost>,
    recursive: bool,
}

impl<'a> Walk<'a> {
    /// Visits every subschema once, definitions too: notes anchors, refuses nested identifiers.
    fn note_anchors(&mut self) -> Result<(), SchemaError> {
        let mut waiting = vec![Sub { pointer: String::new(), schema: self.root, met: true }];
        while let Some(sub) = waiting.pop() {
            let Value::Object(keywords) = sub.schema else {
                continue;
            };
            if !sub.pointer.is_empty() && keywords.get("$id").is_some_and(Value::is_string) {
                return Err(SchemaError::NestedId { pointer: sub.pointer });
            }
            for name in ANCHORS.iter().filter_map(|key| keywords.get(*key)?.as_str()) {
                self.anchors.insert(name, (sub.pointer.clone(), sub.schema));
            }
            for (keyword, reference) in references(keywords) {
                // Also where no value ever meets it: the compiler would try to fetch it.
                fragment(reference, || join(&sub.pointer, keyword))?;
            }
            waiting.extend(subschemas(keywords, &sub.pointer));
        }
        Ok(())
    }

    /// The cost of one subschema, references followed. `above` subschemas lead to it.
    ///
    /// Recursion is held to `schema_depth_max`, and each subschema is measured once.
    fn measure(
        &mut self,
        schema: &'a Value,
        pointer: &str,
        above: usize,
    ) -> Result<Cost, SchemaError> {
        let Value::Object(keywords) = schema else {
            return Ok(Cost { nodes: 1, depth: 1 });
        };
        let address = std::ptr::from_ref(schema);
        if self.open.contains(&address) {
            self.recursive = true;
            return Ok(Cost { nodes: 1, depth: 1 });
        }
        let depth_max = self.limits.schema_depth_max;
        let done = self.done.get(&address).copied();
        if above.saturating_add(done.map_or(1, |cost| cost.depth)) > depth_max {
            return Err(SchemaError::TooDeep { pointer: pointer.to_owned(), depth_max });
        }
        if let Some(cost) = done {
            return Ok(cost);
        }
        self.open.insert(address);
        let mut cost = Cost { nodes: own_nodes(keywords), depth: 0 };
        let subs = subschemas(keywords, pointer).into_iter().filter(|sub| sub.met).map(Ok);
        let targets: Vec<_> = references(keywords)
            .map(|(keyword, reference)| self.target(reference, join(pointer, keyword)))
            .collect();
        for sub in subs.chain(targets) {
            let sub = sub?;
            let below = self.measure(sub.schema, &sub.pointer, above.saturating_add(1))?;
            cost.nodes = cost.nodes.saturating_add(below.nodes);
            cost.depth = cost.depth.max(below.depth);
        }
        self.open.remove(&address);
        let unfolded_max = self.limits.schema_unfolded_max;
        if cost.nodes > unfolded_max {
            return Err(SchemaError::TooManyNodes { pointer: pointer.to_owned(), unfolded_max });
        }
        cost.depth = cost.depth.saturating_add(1);
        self.done.insert(address, cost);
        Ok(cost)
    }

    /// The subschema that a reference leads to; `pointer` is where the reference stands.
    fn target(&self, reference: &str, pointer: String) -> Result<Sub<'a>, SchemaError> {
        let place = percent_decoded(fragment(reference, || pointer.clone())?);
        let found = if place.is_empty() || place.starts_with('/') {
            self.root.pointer(&place).map(|schema| (place.clone(), schema))
        } else {
            self.anchors.get(place.as_str()).cloned()
        };
        let Some((target, schema)) = found else {
            return Err(SchemaError::DanglingReference {
                pointer,
                reference: reference.to_owned(),
            });
        };
        Ok(Sub { pointer: target, schema, met: true })
    }
}

fn references(keywords: &Map<String, Value>) -> impl Iterator<Item = (&'static str, &str)> {
    REFERENCES.into_iter().filter_map(|keyword| Some((keyword, keywords.get(keyword)?.as_str()?)))
}

/// The part after `#` of a reference that stays in the document.
fn fragment(reference: &str, pointer: impl FnOnce() -> String) -> Result<&str, SchemaError> {
    reference.strip_prefix('#').ok_or_else(|| SchemaError::RemoteReference {
        pointer: pointer(),
        reference: reference.to_owned(),
    })
}

/// Keywords, and the values of lists such as `enum` and `required`.
fn own_nodes(keywords: &Map<String, Value>) -> u64 {
    let listed = keywords.values().filter_map(Value::as_array).map(Vec::len).sum::<usize>();
    let nodes = listed.saturating_add(keywords.len()).saturating_add(1);
    u64::try_from(nodes).unwrap_or(u64::MAX)
}

fn subschemas<'a>(keywords: &'a Map<String, Value>, pointer: &str) -> Vec<Sub<'a>> {
    let mut subs = Vec::new();
    for (keyword, value) in keywords {
        let keyword = keyword.as_str();
        let here = || join(pointer, keyword);
        match value {
            Value::Object(named)
                if BY_NAME.contains(&keyword) || DEFINITIONS.contains(&keyword) =>
            {
                let met = BY_NAME.contains(&keyword);
                subs.extend(named.iter().map(|(name, schema)| Sub {
                    pointer: join(&here(), name),
                    schema,
                    met,
                }));
            }
            Value::Array(listed) if LIST.contains(&keyword) => {
                subs.extend(listed.iter().enumerate().map(|(index, schema)| Sub {
                    pointer: join(&here(), &index.to_string()),
                    schema,
                    met: true,
                }));
            }
            Value::Object(_) if ONE.contains(&keyword) => {
                subs.push(Sub { pointer: here(), schema: value, met: true });
            }
            _ => {}
        }
    }
    subs
}

/// A JSON pointer one step longer.
pub(super) fn join(pointer: &str, step: &str) -> String {
    format!("{pointer}/{}", step.replace('~', "~0").replace('/', "~1"))
}

/// The text that a URI fragment stands for; a broken escape stays as it is.
fn percent_decoded(fragment: &str) -> String {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let digits = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(digits.unwrap_or(b'%'));
        rest = after.get(if digits.is_some() { 2.. } else { 0.. }).unwrap_or("");
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}
