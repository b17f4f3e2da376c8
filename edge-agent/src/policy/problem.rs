//! What is wrong in a file, with the place and the way out: printed for people like a compiler's message, for programs as JSON.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

/// A file as it was read.
#[derive(PartialEq, Eq, Debug)]
pub struct Source {
    pub path: PathBuf,
    pub text: String,
}

/// A stretch of one line of a file, and the keys that lead there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub source: Arc<Source>,
    /// From 1; 0 for the file as a whole.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// In characters, at least 1.
    pub width: usize,
    /// Such as `spec.rules[0].from`.
    pub key: String,
}

impl Place {
    /// The file as a whole, for what has no line: it cannot be read, or it does not exist.
    pub fn file(path: &Path) -> Self {
        let source = Arc::new(Source { path: path.to_owned(), text: String::new() });
        Self { source, line: 0, column: 0, width: 0, key: String::new() }
    }

    /// One whole line of a file that is not YAML.
    pub fn line(source: &Arc<Source>, line: usize) -> Self {
        let mut place = Self { source: source.clone(), line, column: 1, width: 1, key: String::new() };
        place.width = place.line_text().chars().count().max(1);
        place
    }

    pub fn path(&self) -> &Path {
        &self.source.path
    }

    fn line_text(&self) -> &str {
        self.line.checked_sub(1).and_then(|index| self.source.text.lines().nth(index)).unwrap_or_default()
    }
}

/// As compilers write it: `file:line:column`.
impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.path().display())?;
        if self.line > 0 {
            write!(out, ":{}:{}", self.line, self.column)?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is loaded while there is one.
    Error,
    Warning,
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    pub severity: Severity,
    pub place: Place,
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// A second place that has part in it, and what it is.
    pub related: Option<(Place, String)>,
}

impl Problem {
    pub fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn related(&mut self, place: &Place, what: impl Into<String>) -> &mut Self {
        self.related = Some((place.clone(), what.into()));
        self
    }

    /// One JSON object, without a line break.
    pub fn json(&self) -> String {
        let Self { severity, place, message, hint, related } = self;
        let related = related.as_ref().map(
            |(place, message)| serde_json::json!({"file": place.path(), "line": place.line, "column": place.column, "message": message}),
        );
        serde_json::json!({
            "severity": severity, "file": place.path(), "line": place.line, "column": place.column,
            "key": place.key, "message": message, "hint": hint, "related": related,
        })
        .to_string()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, place, message, hint, related } = self;
        writeln!(out, "{}: {message}", severity.name())?;
        let last = related.as_ref().map_or(place.line, |(other, _)| other.line.max(place.line));
        let margin = last.to_string().len();
        excerpt(out, place, margin)?;
        if let Some((other, what)) = related {
            writeln!(out, "{:margin$} = note: {what}", "")?;
            excerpt(out, other, margin)?;
        }
        if let Some(hint) = hint {
            writeln!(out, "{:margin$} = help: {hint}", "")?;
        }
        Ok(())
    }
}

/// The place's line with carets below it, right of a margin as wide as the longest line number.
fn excerpt(out: &mut fmt::Formatter<'_>, place: &Place, margin: usize) -> fmt::Result {
    writeln!(out, "{:margin$}--> {place}", "")?;
    if place.line == 0 {
        return Ok(());
    }
    // A tab counts as one column, so it must be shown as one.
    let line = place.line_text().replace('\t', " ");
    writeln!(out, "{:margin$} |", "")?;
    writeln!(out, "{:>margin$} | {}", place.line, line.trim_end())?;
    let marks = format!("{:indent$}{:^>width$} {}", "", "", place.key, indent = place.column.saturating_sub(1), width = place.width.max(1));
    writeln!(out, "{:margin$} | {}", "", marks.trim_end())
}

/// What a parser of one text found wrong with it; the decoder knows the place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    pub message: String,
    pub hint: String,
}

impl Fault {
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

/// Everything found wrong so far, in all files.
#[derive(Clone, Default, Debug)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub fn error(&mut self, place: &Place, message: impl Into<String>) -> &mut Problem {
        self.add(Severity::Error, place, message.into())
    }

    pub fn warning(&mut self, place: &Place, message: impl Into<String>) -> &mut Problem {
        self.add(Severity::Warning, place, message.into())
    }

    pub fn fault(&mut self, place: &Place, fault: Fault) -> &mut Problem {
        self.error(place, fault.message).hint(fault.hint)
    }

    /// The value, or `None` and a problem at this place.
    pub fn take<T>(&mut self, place: &Place, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.fault(place, fault)).ok()
    }

    fn add(&mut self, severity: Severity, place: &Place, message: String) -> &mut Problem {
        let index = self.0.len();
        self.0.push(Problem { severity, place: place.clone(), message, hint: None, related: None });
        &mut self.0[index]
    }

    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Problem> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn errors(&self) -> usize {
        self.0.iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    pub fn warnings(&self) -> usize {
        self.0.len() - self.errors()
    }

    /// In the order of a reader: by file, then by line. What is reported twice, for an alias, stays once.
    pub fn sort(&mut self) {
        self.0.sort_by(|a, b| {
            let key = |problem: &Problem| (problem.place.source.path.clone(), problem.place.line, problem.place.column);
            key(a).cmp(&key(b))
        });
        self.0.dedup();
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            write!(out, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The candidate that was probably meant.
pub fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = written.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(written.chars().count()) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

/// "did you mean `x`?", or else all that is possible.
pub fn suggest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    if let Some(candidate) = nearest(written, candidates.clone()) {
        return format!("did you mean `{candidate}`?");
    }
    let list: Vec<String> = candidates.into_iter().map(|candidate| format!("`{candidate}`")).collect();
    format!("possible here: {}", list.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_carets_stand_below_the_characters_they_mean() {
        let source = Arc::new(Source { path: "p.yaml".into(), text: "a: 1\n\tß: wörd\n".into() });
        let place = Place { source, line: 2, column: 5, width: 4, key: "ß".into() };
        let mut problems = Problems::default();
        problems.error(&place, "no such word").hint("write another");
        let expected = "error: no such word\n --> p.yaml:2:5\n  |\n2 |  ß: wörd\n  |     ^^^^ ß\n  = help: write another\n";
        assert_eq!(problems.to_string(), expected);
    }

    #[test]
    fn a_suggestion_is_near_or_is_not_made() {
        assert_eq!(nearest("dvices", ["devices", "destinations"]), Some("devices"));
        assert_eq!(nearest("xiaomi", ["XIAOMI"]), Some("XIAOMI"));
        assert_eq!(nearest("frobnicate", ["devices", "destinations"]), None);
    }
}
