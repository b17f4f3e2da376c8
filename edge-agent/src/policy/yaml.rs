//! YAML as a tree in which each node knows its place.
//!
//! The values are those of `serde_yaml`, which knows no places; the places come from the events of `saphyr-parser`, as an outline of
//! the same text. Both are walked together. Scalars follow the core schema of YAML 1.2 (section 10.3.2), so `NO` is a country and not
//! `false`.

mod outline;

use std::sync::Arc;

use serde::Deserialize;

use self::outline::{Key, Outline, Part, SYNTAX_HINT, outlines};
use super::problem::{Place, Problems, Source};

#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    /// No key takes one; kept to say so.
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    pub key: String,
    /// Of the key.
    pub place: Place,
    pub value: Node,
}

impl Node {
    /// The value of a key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// A map's entries; of anything else none.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// A list's items; of anything else none.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// A list's items, or the node itself where one may stand for a list of one.
    pub fn items_or_self(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one and fits.
    pub fn integer<T: TryFrom<i64>>(&self) -> Option<T> {
        match self.value {
            Value::Integer(number) => number.try_into().ok(),
            _ => None,
        }
    }

    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Integer(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// The documents of a file, empty ones left out. What comes after a syntax error is not read.
pub fn read(source: &Arc<Source>, problems: &mut Problems) -> Vec<Node> {
    let outlines = outlines(source, problems);
    let mut nodes = Vec::new();
    for (document, outline) in serde_yaml::Deserializer::from_str(&source.text).zip(outlines) {
        // It has been reported why this one cannot be read.
        let Some(outline) = outline else { continue };
        let node = match serde_yaml::Value::deserialize(document) {
            Ok(value) => combine(&outline, value),
            Err(error) => Err(refused(source, &error)),
        };
        match node {
            Ok(Node { value: Value::Null, .. }) => {}
            Ok(node) => nodes.push(node),
            Err(Refusal { place, message, hint }) => {
                problems.error(&place, message).hint(hint);
            }
        }
    }
    nodes
}

/// Why a document has values but no places for them, or places but no values.
struct Refusal {
    place: Place,
    message: String,
    hint: &'static str,
}

fn refused(source: &Arc<Source>, error: &serde_yaml::Error) -> Refusal {
    let place = match error.location() {
        Some(at) => Place { source: source.clone(), line: at.line(), column: at.column(), width: 1, key: String::new() },
        None => Place::file(&source.path),
    };
    Refusal { place, message: format!("not valid YAML: {error}"), hint: SYNTAX_HINT }
}

/// The values of a document, each at its place. The two come from two parsers, which may differ about a text that is hardly YAML.
fn combine(outline: &Outline, value: serde_yaml::Value) -> Result<Node, Refusal> {
    use serde_yaml::Value as Data;
    let value = match (&outline.part, value) {
        (_, Data::Tagged(tagged)) => return combine(outline, tagged.value),
        (Part::Scalar, Data::Null) => Value::Null,
        (Part::Scalar, Data::Bool(value)) => Value::Bool(value),
        (Part::Scalar, Data::Number(number)) => match number.as_i64() {
            Some(number) => Value::Integer(number),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        (Part::Scalar, Data::String(text)) => Value::Text(text),
        (Part::List(outlines), Data::Sequence(values)) if outlines.len() == values.len() => {
            Value::List(outlines.iter().zip(values).map(|(outline, value)| combine(outline, value)).collect::<Result<_, _>>()?)
        }
        (Part::Map(outlines), Data::Mapping(values)) if outlines.len() == values.len() => {
            let (mut entries, mut merged) = (Vec::new(), Vec::new());
            for (Key { text, place, merges, value: outline }, (key, value)) in outlines.iter().zip(values) {
                if key.as_str().is_some_and(|key| key != text) {
                    return Err(disagreement(place));
                }
                let value = combine(outline, value)?;
                if *merges {
                    merged.extend(value.items_or_self().iter().flat_map(Node::entries).cloned());
                } else {
                    entries.push(Entry { key: text.clone(), place: place.clone(), value });
                }
            }
            for entry in merged {
                if !entries.iter().any(|own| own.key == entry.key) {
                    entries.push(entry);
                }
            }
            Value::Map(entries)
        }
        _ => return Err(disagreement(&outline.place)),
    };
    Ok(Node { place: outline.place.clone(), value })
}

fn disagreement(place: &Place) -> Refusal {
    Refusal {
        place: place.clone(),
        message: "this YAML can be read in two ways".to_owned(),
        hint: "write it more plainly: quote the text, or put each key on a line of its own",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> (Vec<Node>, Problems) {
        let mut problems = Problems::default();
        let source = Arc::new(Source { path: "t.yaml".into(), text: text.to_owned() });
        (read(&source, &mut problems), problems)
    }

    fn at<'a>(mut node: &'a Node, path: &[&str]) -> &'a Node {
        for key in path {
            node = node.get(key).unwrap();
        }
        node
    }

    #[test]
    fn places_are_those_of_the_file() {
        let (documents, problems) = parse("# comment\na:\n  b: [x, 'y z']\n---\nc: 1\n");
        assert!(problems.is_empty(), "{problems}");
        let item = &at(&documents[0], &["a", "b"]).items()[1];
        assert_eq!((item.place.line, item.place.column, item.place.width, item.place.key.as_str()), (3, 10, 5, "a.b[1]"));
        assert_eq!(item.text(), Some("y z"));
        assert_eq!(at(&documents[1], &["c"]).place.line, 5);
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        let text = "[NO, yes, null, ~, true, 12, 0x1F, 0o17, 1.5, 64:09:80, 2014-10-24, '12', !!str 12, 00:11:22:33:44:55]";
        let (documents, _) = parse(text);
        let values: Vec<_> = documents[0].items().iter().map(|node| node.value.clone()).collect();
        let text = |text: &str| Value::Text(text.to_owned());
        let expected = [
            text("NO"),
            text("yes"),
            Value::Null,
            Value::Null,
            Value::Bool(true),
            Value::Integer(12),
            Value::Integer(31),
            Value::Integer(15),
            Value::Float(1.5),
            text("64:09:80"),
            text("2014-10-24"),
            text("12"),
            text("12"),
            text("00:11:22:33:44:55"),
        ];
        assert_eq!(values, expected);
    }

    #[test]
    fn aliases_and_merges_give_the_values_and_own_keys_win() {
        let (documents, problems) = parse("base: &b {x: 1, y: 2}\nother:\n  <<: *b\n  y: 3\nlist: [*b, *b]\n");
        assert!(problems.is_empty(), "{problems}");
        assert_eq!(at(&documents[0], &["other", "x"]).value, Value::Integer(1));
        assert_eq!(at(&documents[0], &["other", "y"]).value, Value::Integer(3));
        assert_eq!(at(&documents[0], &["list"]).items().len(), 2);
    }

    #[test]
    fn what_only_the_values_parser_refuses_has_its_place_too() {
        let (documents, problems) = parse("a: 1\n---\nb:\n  c: !!int x\n---\nd: 2\n");
        let keys: Vec<_> = documents.iter().flat_map(Node::entries).map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["a", "d"], "the other documents are read");
        let [problem] = problems.iter().collect::<Vec<_>>()[..] else { panic!("{problems}") };
        assert_eq!((problem.place.line, problem.message.contains("integer")), (4, true), "{problem}");
    }

    #[test]
    fn values_and_places_that_differ_in_shape_are_a_problem() {
        let source = Arc::new(Source { path: "t.yaml".into(), text: "{a: [1, 2], b: 3}".to_owned() });
        let outline = outlines(&source, &mut Problems::default()).remove(0).expect("an outline");
        for (text, column) in [("{a: [1], b: 3}", 5), ("{a: 1, b: 3}", 5), ("{a: [1, 2], c: 3}", 13), ("{a: [1, 2], b: {}}", 16), ("x", 1)]
        {
            let Err(refusal) = combine(&outline, serde_yaml::from_str(text).unwrap()) else { panic!("{text} was taken") };
            assert_eq!(refusal.place.column, column, "{text}");
        }
        assert!(combine(&outline, serde_yaml::from_str("{a: [x, {}], b: 4}").unwrap()).is_err());
        assert!(combine(&outline, serde_yaml::from_str("{a: [x, y], b: 4}").unwrap()).is_ok());
    }

    #[test]
    fn aliases_that_multiply_are_stopped() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let before = level - 1;
            text += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{before}"); 10].join(", "));
        }
        let (_, problems) = parse(&text);
        assert!(problems.to_string().contains("aliases make more than"), "{problems}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[ -~\n\t]{0,80}") {
            parse(&text);
        }

        #[test]
        fn texts_built_of_yaml_marks_are_read_or_refused(marks in proptest::collection::vec(
            prop_oneof![Just("- "), Just(": "), Just("\n"), Just("  "), Just("{"), Just("}"), Just("["), Just("]"), Just("&a "),
                Just("*a "), Just("!t "), Just("|\n"), Just("'"), Just("\""), Just("x"), Just("<<"), Just("---\n"), Just("? ")], 0..40)) {
            parse(&marks.concat());
        }
    }
}
