//! Files of names, as lists of them are published: hosts files, plain lists, response policy zones and adblock filters, packed or not.
//!
//! Lines that name nothing that can be matched are left out and counted, each with its reason: a list of many thousands of names from
//! the outside always has some. A file without a single name is an error, since it is of another kind.

mod adblock;
mod hosts;
mod left_out;
mod plain;
mod rpz;

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use super::file::{self, Cached, SourceError};
use crate::policy::name::NameScope;
use crate::policy::name_set::{NameSet, NameSetBuilder};
pub use left_out::{LeftOut, Lines, Reason};

const WAY_OUT: &str = "put the file there (paths are relative to the policy's folder), or remove it from `domain_lists`";
const LISTS: &str = "a line of a hosts file, a plain list of names, a response policy zone or an adblock filter";

/// How a list is written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A pattern a line, as a policy's `domains` has them.
    Plain,
    /// hosts(5): an address and names, each for itself.
    Hosts,
    /// A DNS zone whose owner names are what is asked for.
    Rpz,
    /// `||example.com^`: the name and all below it.
    Adblock,
}

impl Format {
    pub const ALL: [Self; 4] = [Self::Plain, Self::Hosts, Self::Rpz, Self::Adblock];

    pub fn name(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Plain => "plain",
            Self::Rpz => "rpz",
            Self::Adblock => "adblock",
        }
    }

    /// By what most of the first lines look like. A mark that only one format has decides at once.
    fn detect(bytes: &[u8]) -> Self {
        const LINES: usize = 1000;
        let mut votes = [0; Self::ALL.len()];
        let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
        let lines = lines.filter(|line| !line.trim_start().is_empty() && !is_comment(line));
        for line in lines.take(LINES) {
            if adblock::is_header(line) {
                return Self::Adblock;
            }
            if rpz::is_header(line) {
                return Self::Rpz;
            }
            let looks = if adblock::looks_so(line) {
                Self::Adblock
            } else if rpz::looks_so(line) {
                Self::Rpz
            } else if hosts::looks_so(line) {
                Self::Hosts
            } else {
                Self::Plain
            };
            votes[looks as usize] += 1;
        }
        // Of equals the first.
        Self::ALL.into_iter().rev().max_by_key(|format| votes[*format as usize]).unwrap_or(Self::Plain)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|format| format.name() == text).ok_or(())
    }
}

/// What a file names.
#[derive(Debug)]
pub struct DomainList {
    pub names: Arc<NameSet>,
    pub format: Format,
    /// Names read; more than are in the set where some were there twice or are covered by others.
    pub entries: usize,
    pub left_out: LeftOut,
}

/// Reads a list; `None` tells the format by the file.
///
/// # Errors
/// The file cannot be read, or has lines and no name.
pub fn read(path: &Path, format: Option<Format>) -> Result<Cached<Arc<DomainList>>, SourceError> {
    let (bytes, mut file) = file::read(path, "a domain list", WAY_OUT)?;
    let list = parse(&bytes, format);
    if let Some(line) = list.left_out.first_line().filter(|_| list.entries == 0) {
        return Err(SourceError::Format { path: path.to_owned(), line, expected: LISTS, way_out: WAY_OUT });
    }
    file.entries = list.entries;
    Ok(Cached { value: Arc::new(list), files: vec![file] })
}

fn parse(bytes: &[u8], format: Option<Format>) -> DomainList {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let format = format.unwrap_or_else(|| Format::detect(bytes));
    let mut reading = Reading::default();
    let mut zone = rpz::Zone::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        reading.line += 1;
        let Ok(line) = std::str::from_utf8(line) else {
            reading.leave_out(Reason::Encoding, &String::from_utf8_lossy(line));
            continue;
        };
        if is_comment(line) {
            continue;
        }
        match format {
            Format::Hosts => hosts::read_line(line, &mut reading),
            Format::Plain => plain::read_line(line, &mut reading),
            Format::Rpz => zone.read_line(line, &mut reading),
            Format::Adblock => adblock::read_line(line, &mut reading),
        }
    }
    let Reading { names, line: _, entries, left_out } = reading;
    DomainList { names: Arc::new(names.finish()), format, entries, left_out }
}

/// Every format's mark is a comment in all of them; behind an entry only its own is.
fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with([';', '!']) || (line.starts_with('#') && !adblock::is_cosmetic(line))
}

/// A list being read.
#[derive(Default)]
struct Reading {
    names: NameSetBuilder,
    /// From 1.
    line: usize,
    entries: usize,
    left_out: LeftOut,
}

impl Reading {
    /// A name in this scope.
    fn name(&mut self, name: &str, scope: NameScope) {
        match self.names.push(name, scope) {
            Ok(()) => self.entries += 1,
            Err(error) => self.leave_out(Reason::NoName(error), name),
        }
    }

    /// A name that may be marked as in a policy; `plain` is the scope of one that is not.
    fn pattern(&mut self, text: &str, plain: NameScope) {
        let (scope, name) = NameScope::split(text, plain);
        self.name(name, scope);
    }

    fn leave_out(&mut self, reason: Reason, text: &str) {
        self.left_out.add(reason, self.line, text);
    }
}

#[cfg(test)]
mod tests;
