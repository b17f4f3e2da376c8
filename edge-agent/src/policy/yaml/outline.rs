//! Where the nodes of a text stand, and what makes it no policy whatever its values are: tags, keys that are no words, endless aliases.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use crate::policy::problem::{Place, Problems, Source};

/// Deeper nesting is a mistake or an attack on the stack.
const MAX_DEPTH: usize = 64;
/// Aliases of aliases grow exponentially.
const MAX_NODES: usize = 200_000;

pub const SYNTAX_HINT: &str =
    "look here or before for a bracket or quote that is missing, a tab, or a line that is not aligned with its neighbours";

/// A node without its value. What an alias names is in its stead, at its own place.
#[derive(Clone, Debug)]
pub struct Outline {
    pub place: Place,
    pub part: Part,
}

#[derive(Clone, Debug)]
pub enum Part {
    Scalar,
    List(Vec<Outline>),
    Map(Vec<Key>),
}

#[derive(Clone, Debug)]
pub struct Key {
    pub text: String,
    pub place: Place,
    /// It is `<<`: the value's entries are the map's own.
    pub merges: bool,
    pub value: Outline,
}

impl Outline {
    fn size(&self) -> usize {
        1 + match &self.part {
            Part::Scalar => 0,
            Part::List(items) => items.iter().map(Self::size).sum(),
            Part::Map(keys) => keys.iter().map(|key| key.value.size()).sum(),
        }
    }

    fn is_map(&self) -> bool {
        matches!(self.part, Part::Map(_))
    }
}

/// The documents of a file, up to a syntax error; `None` for one that cannot be read, which has been reported.
pub fn outlines(source: &Arc<Source>, problems: &mut Problems) -> Vec<Option<Outline>> {
    let mut reader =
        Reader { source, problems, anchors: HashMap::new(), stack: Vec::new(), documents: Vec::new(), unreadable: false, nodes: 0 };
    for event in Parser::new_from_str(&source.text) {
        let proceed = match event {
            Ok((event, span)) => reader.event(event, span),
            Err(error) => {
                let mark = error.marker();
                let place = Place { source: source.clone(), line: mark.line(), column: mark.col() + 1, width: 1, key: String::new() };
                reader.problems.error(&place, format!("not valid YAML: {}", error.info())).hint(SYNTAX_HINT);
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
    anchors: HashMap<usize, Outline>,
    /// The collections that are open.
    stack: Vec<Open>,
    documents: Vec<Option<Outline>>,
    /// The document that is open has been reported as one that cannot be read.
    unreadable: bool,
    nodes: usize,
}

struct Open {
    place: Place,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Outline>),
    /// `next` is the key whose value comes next: its text, its place, and whether it merges.
    Map {
        keys: Vec<Key>,
        next: Option<(String, Place, bool)>,
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
                self.check_tag(tag.as_deref(), &place);
                self.node(Outline { place, part: Part::Scalar }, anchor)
            }
            Event::SequenceStart(anchor, tag) => self.open(anchor, tag.as_deref(), &span, Content::List(Vec::new())),
            Event::MappingStart(anchor, tag) => self.open(anchor, tag.as_deref(), &span, Content::Map { keys: Vec::new(), next: None }),
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
        matches!(self.stack.last(), Some(Open { content: Content::Map { next: None, .. }, .. }))
    }

    fn open(&mut self, anchor: usize, tag: Option<&Tag>, span: &Span, content: Content) -> Result<(), Stop> {
        let mut place = self.place(span);
        place.width = 1;
        self.check_tag(tag, &place);
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

    fn check_tag(&mut self, tag: Option<&Tag>, place: &Place) {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            self.problems.error(place, format!("the tag `{tag}` has no meaning here")).hint("remove the tag");
        }
    }

    fn close(&mut self) -> Result<(), Stop> {
        let Some(Open { place, anchor, content }) = self.stack.pop() else { return Err(Stop) };
        let part = match content {
            Content::List(items) => Part::List(items),
            Content::Map { keys, .. } => Part::Map(keys),
        };
        self.node(Outline { place, part }, anchor)
    }

    fn key(&mut self, text: &str, plain: bool, mut place: Place) {
        place.key = if place.key.is_empty() { text.to_owned() } else { format!("{}.{text}", place.key) };
        if let Some(Open { content: Content::Map { next, .. }, .. }) = self.stack.last_mut() {
            *next = Some((text.to_owned(), place, plain && text == "<<"));
        }
    }

    /// A complete node: into the collection that is open, or a document of its own.
    fn node(&mut self, node: Outline, anchor: usize) -> Result<(), Stop> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            self.problems.error(&node.place, format!("aliases make more than {MAX_NODES} nodes of this file")).hint("use fewer aliases");
            return Err(Stop);
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.stack.last_mut() else {
            self.documents.push((!std::mem::take(&mut self.unreadable)).then_some(node));
            return Ok(());
        };
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Map { keys, next } => {
                let Some((text, place, merges)) = next.take() else { return Err(Stop) };
                let maps = || match &node.part {
                    Part::Scalar => false,
                    Part::List(items) => items.iter().all(Outline::is_map),
                    Part::Map(_) => true,
                };
                if merges && !maps() {
                    self.problems.error(&place, "`<<` takes a map, or a list of maps").hint("give it an alias of a map: `<<: *name`");
                }
                if let Some(first) = keys.iter().find(|key| key.text == text) {
                    self.problems
                        .error(&place, format!("the key `{text}` stands here twice"))
                        .related(&first.place, "the first is here")
                        .hint("remove one of them");
                    self.unreadable = true;
                } else {
                    keys.push(Key { text, place, merges, value: node });
                }
            }
        }
        Ok(())
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
            Content::Map { next: Some((key, ..)), .. } if open.place.key.is_empty() => key.clone(),
            Content::Map { next: Some((key, ..)), .. } => format!("{}.{key}", open.place.key),
            Content::Map { next: None, .. } => open.place.key.clone(),
        }
    }
}
