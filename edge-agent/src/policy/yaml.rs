//! YAML as a tree in which each node knows its place.
//!
//! Scalars follow the core schema of YAML 1.2 (section 10.3.2), so `NO` is a country and not `false`.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::problem::{Place, Problems, Source};

/// Deeper nesting is a mistake or an attack on the stack.
const MAX_DEPTH: usize = 64;
/// Aliases of aliases grow exponentially.
const MAX_NODES: usize = 200_000;

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

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::List(items) => items.iter().map(Self::size).sum(),
            Value::Map(entries) => entries.iter().map(|entry| entry.value.size()).sum(),
            _ => 0,
        }
    }
}

/// The documents of a file, empty ones left out. What comes after a syntax error is not read.
pub fn read(source: &Arc<Source>, problems: &mut Problems) -> Vec<Node> {
    let mut reader = Reader { source, problems, anchors: HashMap::new(), stack: Vec::new(), documents: Vec::new(), nodes: 0 };
    for event in Parser::new_from_str(&source.text) {
        let proceed = match event {
            Ok((event, span)) => reader.event(event, span),
            Err(error) => {
                let mark = error.marker();
                let place = Place { source: source.clone(), line: mark.line(), column: mark.col() + 1, width: 1, key: String::new() };
                reader.problems.error(&place, format!("not valid YAML: {}", error.info())).hint(
                    "look here or before for a bracket or quote that is missing, a tab, or a line that is not aligned with its neighbours",
                );
                Err(Stop)
            }
        };
        if proceed.is_err() {
            break;
        }
    }
    reader.documents
}

/// A problem after which the rest of the file has no meaning.
struct Stop;

struct Reader<'a> {
    source: &'a Arc<Source>,
    problems: &'a mut Problems,
    anchors: HashMap<usize, Node>,
    /// The collections that are open.
    stack: Vec<Open>,
    documents: Vec<Node>,
    nodes: usize,
}

struct Open {
    place: Place,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    /// `key` is the one whose value comes next; `merged` are the maps of `<<`.
    Map {
        entries: Vec<Entry>,
        merged: Vec<Entry>,
        key: Option<(String, Place, bool)>,
    },
}

impl Reader<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let place = self.place(&span);
                if self.takes_key() {
                    self.key(&text, style == ScalarStyle::Plain, place);
                    return Ok(());
                }
                let value = self.scalar(&text, style, tag.as_deref(), &place);
                self.node(Node { place, value }, anchor)
            }
            Event::SequenceStart(anchor, tag) => self.open(anchor, tag.as_deref(), &span, Content::List(Vec::new())),
            Event::MappingStart(anchor, tag) => {
                let content = Content::Map { entries: Vec::new(), merged: Vec::new(), key: None };
                self.open(anchor, tag.as_deref(), &span, content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => {
                let place = self.place(&span);
                match self.anchors.get(&anchor).cloned() {
                    _ if self.takes_key() => {
                        self.problems.error(&place, "an alias cannot be a key").hint("write the key itself");
                        Err(Stop)
                    }
                    Some(node) => {
                        self.nodes += node.size();
                        self.node(node, 0)
                    }
                    None => {
                        self.problems.error(&place, "an alias stands inside the anchor that it names").hint("write the value itself");
                        Err(Stop)
                    }
                }
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => Ok(()),
        }
    }

    fn takes_key(&self) -> bool {
        matches!(self.stack.last(), Some(Open { content: Content::Map { key: None, .. }, .. }))
    }

    fn open(&mut self, anchor: usize, tag: Option<&Tag>, span: &Span, content: Content) -> Result<(), Stop> {
        let mut place = self.place(span);
        place.width = 1;
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            self.problems.error(&place, format!("the tag `{tag}` has no meaning here")).hint("remove the tag");
        }
        if self.takes_key() {
            self.problems.error(&place, "a list or map cannot be a key").hint("a key is a word");
            return Err(Stop);
        }
        if self.stack.len() >= MAX_DEPTH {
            self.problems.error(&place, format!("nested more than {MAX_DEPTH} deep")).hint("no key needs that");
            return Err(Stop);
        }
        self.stack.push(Open { place, anchor, content });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Stop> {
        let Some(Open { place, anchor, content }) = self.stack.pop() else { return Err(Stop) };
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Map { mut entries, merged, .. } => {
                for entry in merged {
                    if !entries.iter().any(|own| own.key == entry.key) {
                        entries.push(entry);
                    }
                }
                Value::Map(entries)
            }
        };
        self.node(Node { place, value }, anchor)
    }

    fn key(&mut self, text: &str, plain: bool, mut place: Place) {
        place.key = if place.key.is_empty() { text.to_owned() } else { format!("{}.{text}", place.key) };
        if let Some(Open { content: Content::Map { key, .. }, .. }) = self.stack.last_mut() {
            *key = Some((text.to_owned(), place, plain && text == "<<"));
        }
    }

    /// A complete node: into the collection that is open, or a document of its own.
    fn node(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            self.problems.error(&node.place, format!("aliases make more than {MAX_NODES} nodes of this file")).hint("use fewer aliases");
            return Err(Stop);
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.stack.last_mut() else {
            if node.value != Value::Null {
                self.documents.push(node);
            }
            return Ok(());
        };
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, merged, key } => {
                let Some((key, place, is_merge)) = key.take() else { return Err(Stop) };
                if is_merge {
                    if !node.items_or_self().iter().all(|map| matches!(map.value, Value::Map(_))) {
                        self.problems.error(&place, "`<<` takes a map, or a list of maps").hint("give it an alias of a map: `<<: *name`");
                    }
                    merged.extend(node.items_or_self().iter().flat_map(Node::entries).cloned());
                } else if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                    self.problems
                        .error(&place, format!("the key `{key}` stands here twice"))
                        .related(&first.place, "the first is here")
                        .hint("remove one of them");
                } else {
                    entries.push(Entry { key, place, value: node });
                }
            }
        }
        Ok(())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, place: &Place) -> Value {
        match tag {
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Value::Text(text.to_owned()),
            Some(tag) if !tag.is_yaml_core_schema() => {
                self.problems.error(place, format!("the tag `{tag}` has no meaning here")).hint("remove the tag");
                Value::Text(text.to_owned())
            }
            _ if style == ScalarStyle::Plain => plain(text),
            _ => Value::Text(text.to_owned()),
        }
    }

    fn place(&self, span: &Span) -> Place {
        let (line, column) = (span.start.line(), span.start.col() + 1);
        let width = if span.end.line() == line { span.end.col().saturating_sub(span.start.col()) } else { 1 };
        Place { source: self.source.clone(), line, column, width: width.max(1), key: self.key_path() }
    }

    /// The keys that lead to the node that begins now; for a key those of its map.
    fn key_path(&self) -> String {
        let Some(open) = self.stack.last() else { return String::new() };
        match &open.content {
            Content::List(items) => format!("{}[{}]", open.place.key, items.len()),
            Content::Map { key: Some((key, ..)), .. } if open.place.key.is_empty() => key.clone(),
            Content::Map { key: Some((key, ..)), .. } => format!("{}.{key}", open.place.key),
            Content::Map { key: None, .. } => open.place.key.clone(),
        }
    }
}

/// An unquoted scalar by the core schema.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let integer = match text.as_bytes() {
        [b'0', b'x', ..] => i64::from_str_radix(&text[2..], 16),
        [b'0', b'o', ..] => i64::from_str_radix(&text[2..], 8),
        _ => text.parse(),
    };
    if let Ok(number) = integer {
        return Value::Integer(number);
    }
    // Rust also takes `inf` and `nan` for numbers, which YAML writes with a dot; those stay texts.
    if text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
        && let Ok(number) = text.parse()
    {
        return Value::Float(number);
    }
    Value::Text(text.to_owned())
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
