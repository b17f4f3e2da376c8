//! What of a list is not used, and why.

use std::fmt;

use serde::Serialize;

use crate::policy::name::NameError;

/// Lines that are told of one by one, for each reason.
const MAX_LINES: usize = 5;
/// Characters of a line that are shown.
const MAX_EXCERPT: usize = 60;

/// Why an entry of a list is not used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Where a name should stand is none.
    NoName(NameError),
    /// Bytes that are no UTF-8.
    Encoding,
    /// Another grammar than the rest of the file.
    NoEntry,
    /// Adblock: an option narrows it to some requests, which a name does not tell.
    Option,
    /// Adblock `@@`, RPZ `rpz-passthru`: lets a name pass that others block. Sets of names only grow.
    Exception,
    /// Adblock: about paths, page elements, or parts of labels.
    OtherRule,
    /// RPZ: about addresses, name servers or clients.
    OtherTrigger,
    /// RPZ: answers with data instead of refusing.
    OtherRecord,
    /// RPZ: an owner that is not in the zone.
    OutsideZone,
    /// RPZ: `$INCLUDE`, `$GENERATE`.
    Directive,
    /// Hosts: names of the machine itself, such as `localhost`.
    OwnName,
}

impl Reason {
    const KINDS: usize = 11;

    fn kind(self) -> usize {
        match self {
            Self::NoName(_) => 0,
            Self::Encoding => 1,
            Self::NoEntry => 2,
            Self::Option => 3,
            Self::Exception => 4,
            Self::OtherRule => 5,
            Self::OtherTrigger => 6,
            Self::OtherRecord => 7,
            Self::OutsideZone => 8,
            Self::Directive => 9,
            Self::OwnName => 10,
        }
    }

    /// What such entries are.
    fn about(self) -> &'static str {
        match self {
            Self::NoName(_) => "no name",
            Self::Encoding => "not UTF-8",
            Self::NoEntry => "not of this format",
            Self::Option => "narrowed by an option",
            Self::Exception => "exceptions",
            Self::OtherRule => "not about whole names",
            Self::OtherTrigger => "not about names",
            Self::OtherRecord => "answering with data",
            Self::OutsideZone => "outside the zone",
            Self::Directive => "directives",
            Self::OwnName => "names of the machine itself",
        }
    }

    fn way_out(self) -> &'static str {
        match self {
            Self::NoName(error) => error.way_out(),
            Self::Encoding => "write the list in UTF-8",
            Self::NoEntry => "name the format if it was not recognised: `hosts:`, `plain:`, `rpz:` or `adblock:` before the path",
            Self::Option | Self::OtherRule => "write the name without options if all its traffic is meant",
            Self::Exception => "write a rule that passes these names before the one that uses the list",
            Self::OtherTrigger => "addresses belong into `prefixes`",
            Self::OtherRecord => "only `CNAME .`, `CNAME *.` and `CNAME rpz-drop.` say that a name is blocked",
            Self::OutsideZone => "the owner has to end in the zone's name, or be relative to it",
            Self::Directive => "put the names into this file",
            Self::OwnName => "they never leave the machine",
        }
    }
}

/// The entries of one reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Lines {
    pub reason: &'static str,
    pub count: usize,
    /// The first ones, from 1.
    pub lines: Vec<usize>,
    /// The text of the first.
    pub example: String,
    #[serde(skip)]
    way_out: &'static str,
    #[serde(skip)]
    expected: bool,
}

/// All entries of a list that are not used.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LeftOut([Option<Box<Lines>>; Reason::KINDS]);

impl LeftOut {
    pub(super) fn add(&mut self, reason: Reason, line: usize, text: &str) {
        let lines = self.0[reason.kind()].get_or_insert_with(|| {
            let mut example: String = text.trim().chars().take(MAX_EXCERPT + 1).collect();
            if example.chars().count() > MAX_EXCERPT {
                example.pop();
                example.push('…');
            }
            Box::new(Lines {
                reason: reason.about(),
                count: 0,
                lines: Vec::new(),
                example,
                way_out: reason.way_out(),
                expected: reason == Reason::OwnName,
            })
        });
        lines.count += 1;
        if lines.lines.len() < MAX_LINES && lines.lines.last() != Some(&line) {
            lines.lines.push(line);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Lines> {
        self.0.iter().flatten().map(Box::as_ref)
    }

    pub(super) fn first_line(&self) -> Option<usize> {
        self.iter().filter_map(|lines| lines.lines.first().copied()).min()
    }

    /// What an admin should know, and what to do about the first of it. `None` if nothing but what every such file has.
    pub fn warning(&self) -> Option<(String, String)> {
        let told: Vec<&Lines> = self.iter().filter(|lines| !lines.expected).collect();
        let first = told.first()?;
        let count: usize = told.iter().map(|lines| lines.count).sum();
        let parts: Vec<String> = told.iter().map(ToString::to_string).collect();
        let entries = if count == 1 { "1 entry of this list is".to_owned() } else { format!("{count} entries of this list are") };
        let hint = format!("line {}, `{}`: {}", first.lines.first()?, first.example, first.way_out);
        Some((format!("{entries} left out: {}", parts.join("; ")), hint))
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, count, lines, example: _, way_out: _, expected: _ } = self;
        let numbers = lines.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        let more = if *count > lines.len() { ", …" } else { "" };
        write!(out, "{reason}: {count} (line{} {numbers}{more})", if lines.len() == 1 && more.is_empty() { "" } else { "s" })
    }
}
