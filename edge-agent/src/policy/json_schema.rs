//! A [`Shape`] as JSON Schema (draft 2020-12), for editors that complete and check while one types.

use serde_json::{Map, Value, json};

use super::shape::{Object, Shape};

/// The whole schema of a kind of file.
pub fn json_schema(title: &str, root: &Object) -> Value {
    let mut definitions = Map::new();
    let reference = object(root, &mut definitions);
    json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, "$ref": reference, "$defs": definitions})
}

/// Defines an object unless that is done, and returns the reference to it.
fn object(object: &Object, definitions: &mut Map<String, Value>) -> String {
    let reference = format!("#/$defs/{}", object.name);
    if definitions.contains_key(object.name) {
        return reference;
    }
    // The place is taken before the keys are walked: an expression contains expressions.
    definitions.insert(object.name.to_owned(), Value::Null);
    let mut properties = Map::new();
    for key in object.keys {
        let mut schema = value(key.shape, definitions);
        if let Some(fields) = schema.as_object_mut() {
            fields.insert("description".to_owned(), json!(key.about));
        }
        properties.insert(key.name.to_owned(), schema);
    }
    let mut schema = json!({"type": "object", "additionalProperties": false, "properties": properties});
    if let Some(fields) = schema.as_object_mut() {
        let required: Vec<_> = object.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
        if !required.is_empty() {
            fields.insert("required".to_owned(), json!(required));
        }
        if object.choice {
            fields.insert("minProperties".to_owned(), json!(1));
            fields.insert("maxProperties".to_owned(), json!(1));
        }
    }
    definitions.insert(object.name.to_owned(), schema);
    reference
}

fn value(shape: &Shape, definitions: &mut Map<String, Value>) -> Value {
    match shape {
        Shape::Text(text) if text.pattern.is_empty() => json!({"type": "string", "examples": [text.example]}),
        Shape::Text(text) => json!({"type": "string", "pattern": text.pattern, "examples": [text.example]}),
        Shape::Word(words) => json!({"enum": words}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Integer(first, last) => json!({"type": "integer", "minimum": first, "maximum": last}),
        Shape::IntegerOr(first, last, inner) => {
            json!({"anyOf": [{"type": "integer", "minimum": first, "maximum": last}, value(inner, definitions)]})
        }
        Shape::OrNull(inner) => json!({"anyOf": [value(inner, definitions), {"type": "null"}]}),
        Shape::List(least, inner) => json!({"type": "array", "minItems": least, "items": value(inner, definitions)}),
        Shape::OneOrMany(inner) => {
            let one = value(inner, definitions);
            json!({"anyOf": [one, {"type": "array", "minItems": 1, "items": one}]})
        }
        Shape::OneOrManyLists(inner) => {
            let one = value(inner, definitions);
            json!({"anyOf": [one, {"type": "array", "minItems": 1, "items": one}]})
        }
        Shape::ObjectOr(map, inner) => json!({"anyOf": [{"$ref": object(map, definitions)}, value(inner, definitions)]}),
        Shape::Named(inner) => json!({"type": "object", "additionalProperties": value(inner, definitions)}),
        Shape::Object(inner) => json!({"$ref": object(inner, definitions)}),
    }
}
