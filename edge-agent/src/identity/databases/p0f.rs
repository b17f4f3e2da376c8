//! p0f's database, `p0f.fp` (its README, section 4): of it the signatures of connections' first segments.

use std::path::Path;

use super::{Entry, Trait, written};
use crate::identity::p0f;
use crate::sources::file::{self, Provenance, SourceError};

const WAY_OUT: &str = "install Debian's package p0f and set `identity.p0f: /etc/p0f/p0f.fp` in agent.yaml, or leave that key out";
/// The section that is read.
const SECTION: &str = "[tcp:request]";
/// In a class's place: a program with a TCP of its own, on whatever system.
const PROGRAM: &str = "!";

pub fn read(path: &Path) -> Result<(Vec<Entry>, Provenance), SourceError> {
    let (bytes, mut provenance) = file::read(path, "p0f's signatures", WAY_OUT)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut entries: Vec<Entry> = Vec::new();
    let mut is_read = false;
    for (index, line) in text.lines().enumerate() {
        let wrong = |expected| SourceError::Format { path: path.to_owned(), line: index + 1, expected, way_out: WAY_OUT };
        let line = line.trim();
        if line.is_empty() || line.starts_with(';') {
            continue;
        }
        if line.starts_with('[') {
            is_read = line == SECTION;
            entries.retain(|entry| !entry.traits.is_empty());
            continue;
        }
        let (key, value) = line.split_once('=').ok_or_else(|| wrong("a line `key = value`"))?;
        match (is_read, key.trim()) {
            (true, "label") => entries.push(label(value).ok_or_else(|| wrong("a label `s:class:name:flavor`, or with g"))?),
            (true, "sig") => {
                let patterns = p0f::parse(value).map_err(wrong)?;
                let entry = entries.last_mut().ok_or_else(|| wrong("a label, which comes before its signatures"))?;
                entry.traits.extend(patterns.into_iter().map(Trait::Syn));
                provenance.entries += 1;
            }
            (true, "sys") | (false, _) => {}
            (true, _) => return Err(wrong("a line with label, sys or sig")),
        }
    }
    Ok((entries, provenance))
}

fn label(value: &str) -> Option<Entry> {
    let mut parts = value.trim().splitn(4, ':');
    let generic = match parts.next()? {
        "s" => false,
        "g" => true,
        _ => return None,
    };
    let (class, name) = (parts.next()?, parts.next()?);
    let called = written(&format!("{name} {}", parts.next().unwrap_or_default()))?;
    let (os, class) = if class == PROGRAM { (None, Some(called)) } else { (Some(called), written(class)) };
    Some(Entry { os, class, vendor: None, generic, traits: Vec::new() })
}
