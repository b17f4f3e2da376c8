//! Which keys a file may have, of which kind: one description that both checks files and becomes their JSON Schema.

use super::problem::{Problems, suggest};
use super::yaml::{Node, Value};

/// What a value has to look like. Texts with a grammar of their own (addresses, services, …) are read by the decoder.
pub enum Shape {
    Text(Text),
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Bool,
    /// A number from the first to the last, both included.
    Integer(i64, i64),
    /// A number from the first to the last, or the other.
    IntegerOr(i64, i64, &'static Shape),
    /// The value or `null`.
    OrNull(&'static Shape),
    /// A list of at least so many.
    List(usize, &'static Shape),
    /// A list of at least one, or the one without brackets.
    OneOrMany(&'static Shape),
    /// A list, or a list of such lists.
    OneOrManyLists(&'static Shape),
    /// A map with these keys, or the other.
    ObjectOr(&'static Object, &'static Shape),
    /// Names of the user's choice, each with such a value.
    Named(&'static Shape),
    Object(&'static Object),
}

pub struct Text {
    /// With an article: "a date".
    pub what: &'static str,
    /// For editors; empty where only the decoder can tell.
    pub pattern: &'static str,
    pub example: &'static str,
}

pub struct Object {
    /// Name of its definition in the JSON Schema.
    pub name: &'static str,
    pub keys: &'static [Key],
    /// Exactly one of the keys, instead of all the required ones.
    pub choice: bool,
    /// Keys of the design that this version does not have yet.
    pub later: &'static [&'static str],
}

pub struct Key {
    pub name: &'static str,
    pub about: &'static str,
    pub required: bool,
    pub shape: &'static Shape,
}

impl Key {
    pub const fn required(name: &'static str, shape: &'static Shape, about: &'static str) -> Self {
        Self { name, about, required: true, shape }
    }
    pub const fn optional(name: &'static str, shape: &'static Shape, about: &'static str) -> Self {
        Self { name, about, required: false, shape }
    }
}

impl Shape {
    /// Reports all that has another shape: unknown, missing and unsupported keys, wrong kinds, unknown words, numbers out of range.
    pub fn check(&self, node: &Node, problems: &mut Problems) {
        match (self, &node.value) {
            (Self::Text(_), Value::Text(_)) | (Self::OrNull(_), Value::Null) | (Self::Bool, Value::Bool(_)) => {}
            (Self::Text(_), Value::Bool(_) | Value::Integer(_) | Value::Float(_)) => {
                let hint = format!("{}; put it in quotes if it is meant as it is written", self.advice());
                problems.error(&node.place, self.mismatch(node)).hint(hint);
            }
            (Self::Word(words), Value::Text(text)) => {
                if !words.contains(&text.as_str()) {
                    problems.error(&node.place, format!("`{text}` is not possible here")).hint(suggest(text, words.iter().copied()));
                }
            }
            (Self::Integer(first, last), Value::Integer(number)) => {
                if !(first..=last).contains(&number) {
                    problems.error(&node.place, format!("{number} is out of range")).hint(format!("from {first} to {last}"));
                }
            }
            (Self::IntegerOr(first, last, _), Value::Integer(_)) => Self::Integer(*first, *last).check(node, problems),
            (Self::OrNull(inner) | Self::IntegerOr(_, _, inner), _) => inner.check(node, problems),
            (Self::List(least, inner), Value::List(items)) => check_items(items, *least, inner, node, problems),
            (Self::OneOrMany(inner), Value::List(items)) => check_items(items, 1, inner, node, problems),
            (Self::OneOrMany(inner), _) => inner.check(node, problems),
            (Self::OneOrManyLists(inner), Value::List(items)) if items.iter().any(|item| matches!(item.value, Value::List(_))) => {
                check_items(items, 1, inner, node, problems);
            }
            (Self::OneOrManyLists(inner), _) => inner.check(node, problems),
            (Self::Named(inner), Value::Map(entries)) => entries.iter().for_each(|entry| inner.check(&entry.value, problems)),
            (Self::Object(object) | Self::ObjectOr(object, _), Value::Map(_)) => object.check(node, problems),
            (Self::ObjectOr(_, inner), Value::Text(_)) => inner.check(node, problems),
            (Self::List(_, Self::Text(_) | Self::Integer(..) | Self::IntegerOr(..)), Value::Text(_) | Value::Integer(_)) => {
                problems.error(&node.place, self.mismatch(node)).hint("put brackets around it: `[…]`");
            }
            _ => {
                problems.error(&node.place, self.mismatch(node)).hint(self.advice());
            }
        }
    }

    fn mismatch(&self, node: &Node) -> String {
        format!("{} is expected here, this is {}", self.what(), node.kind())
    }

    fn what(&self) -> String {
        match self {
            Self::Text(text) => text.what.to_owned(),
            Self::Word(_) => "a word".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Integer(..) => "a number".to_owned(),
            Self::OrNull(inner) | Self::IntegerOr(_, _, inner) | Self::OneOrManyLists(inner) => inner.what(),
            Self::ObjectOr(_, inner) => format!("a map or {}", inner.what()),
            Self::List(..) => "a list".to_owned(),
            Self::OneOrMany(inner) => format!("{} or a list", inner.what()),
            Self::Named(_) | Self::Object(_) => "a map".to_owned(),
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Text(text) => format!("such as `{}`", text.example),
            Self::Word(words) => format!("one of: {}", ticked(words.iter().copied())),
            Self::Bool => "`true` or `false`".to_owned(),
            Self::Integer(first, last) => format!("from {first} to {last}"),
            Self::OrNull(inner) | Self::OneOrMany(inner) | Self::OneOrManyLists(inner) | Self::IntegerOr(_, _, inner) => inner.advice(),
            Self::ObjectOr(object, inner) => format!("{}; or {}", Self::Object(object).advice(), inner.advice()),
            Self::List(_, inner) => match inner {
                Self::Text(text) | Self::IntegerOr(_, _, Self::Text(text)) => format!("such as `[{}]`", text.example),
                Self::Integer(..) => "such as `[1, 3, 6]`".to_owned(),
                _ => "one item a line, each after `- `".to_owned(),
            },
            Self::Named(_) => "a name, a colon and the value: `name: …`".to_owned(),
            Self::Object(object) => format!("with the keys {}", ticked(object.keys.iter().map(|key| key.name))),
        }
    }
}

fn ticked<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn check_items(items: &[Node], least: usize, inner: &Shape, node: &Node, problems: &mut Problems) {
    if items.len() < least {
        problems.error(&node.place, "the list is empty").hint("name at least one, or remove the key");
    }
    items.iter().for_each(|item| inner.check(item, problems));
}

impl Object {
    fn check(&self, node: &Node, problems: &mut Problems) {
        let names = || self.keys.iter().map(|key| key.name);
        for entry in node.entries() {
            if let Some(key) = self.keys.iter().find(|key| key.name == entry.key) {
                key.shape.check(&entry.value, problems);
            } else if self.later.contains(&entry.key.as_str()) {
                let hint = format!("remove it; possible here: {}", ticked(names()));
                problems.error(&entry.place, format!("`{}` is not supported by this version", entry.key)).hint(hint);
            } else {
                let hint = suggest(&entry.key, names().collect::<Vec<_>>());
                problems.error(&entry.place, format!("unknown key `{}`", entry.key)).hint(hint);
            }
        }
        let missing = |key: &&Key| key.required && node.get(key.name).is_none();
        for key in self.keys.iter().filter(missing) {
            problems.error(&node.place, format!("the key `{}` is missing", key.name)).hint(format!("{}: {}", key.name, key.about));
        }
        if self.choice && node.entries().len() != 1 {
            let several = if names().any(|name| name == "any") { "`any` and `all` combine several" } else { "several are several items" };
            problems
                .error(&node.place, format!("exactly one key is expected here, this map has {}", node.entries().len()))
                .hint(format!("one of {}; {several}", ticked(names())));
        }
    }
}
