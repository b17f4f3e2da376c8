//! Response policy zones, in the form of zone files (RFC 1035 section 5). An owner name, less the zone's, is what is asked for:
//! `example.com CNAME .` is that name, `*.example.com CNAME .` all below it.
//!
//! Names are taken from records that refuse: `CNAME .` (no such name), `CNAME *.` (no data), `CNAME rpz-drop.` (no answer).

use super::{Reading, Reason};
use crate::policy::name::NameScope;

/// Labels that end the owners of other triggers.
const OTHER_TRIGGERS: &[&str] = &["rpz-ip", "rpz-client-ip", "rpz-nsip", "rpz-nsdname"];
const CLASSES: &[&str] = &["IN", "CH", "HS"];

pub fn is_header(line: &str) -> bool {
    line.starts_with("$TTL") || line.starts_with("$ORIGIN") || line.split_ascii_whitespace().skip(1).take(3).any(|word| word == "SOA")
}

pub fn looks_so(line: &str) -> bool {
    line.split_ascii_whitespace().skip(1).take(3).any(|word| word.eq_ignore_ascii_case("CNAME"))
}

/// Where in a zone file the reader is.
#[derive(Default)]
pub struct Zone {
    /// The zone's name without the root's dot: the owner of its SOA record, or the first `$ORIGIN`. `None` while the file has not said it:
    /// relative owners are relative to it all the same.
    apex: Option<String>,
    /// What relative owners are relative to, `None` for the zone's name.
    origin: Option<String>,
    /// Of the last record, for lines that begin with a blank.
    owner: String,
    /// Parentheses that are open: a record goes on over lines.
    depth: usize,
}

impl Zone {
    pub fn read_line(&mut self, line: &str, reading: &mut Reading) {
        let Entry { text, opened, closed } = entry(line);
        let continues = self.depth > 0;
        self.depth = (self.depth + opened).saturating_sub(closed);
        let mut words = text.split_ascii_whitespace();
        if continues {
            return;
        }
        let blank = text.starts_with([' ', '\t']);
        let first = if blank { None } else { words.next() };
        match first {
            Some(directive) if directive.starts_with('$') => {
                self.directive(directive, words.next(), line, reading);
                return;
            }
            Some(owner) => {
                self.owner.clear();
                self.owner.push_str(owner);
            }
            None => {}
        }
        // Time to live and class, in either order, then the type.
        let is_time = |word: &str| word.starts_with(|first: char| first.is_ascii_digit());
        let mut rest = words.skip_while(|word| is_time(word) || CLASSES.iter().any(|class| class.eq_ignore_ascii_case(word)));
        match (rest.next(), rest.next()) {
            (None, _) if first.is_none() => {}
            (Some(kind), _) if kind.eq_ignore_ascii_case("SOA") => self.begin(),
            (Some(kind), _) if self.owner_is_apex() || kind.eq_ignore_ascii_case("NS") => {}
            (Some(kind), Some(target)) if kind.eq_ignore_ascii_case("CNAME") => self.record(target, line, reading),
            (Some(kind), Some(_)) if kind.bytes().all(|byte| byte.is_ascii_alphanumeric()) => reading.leave_out(Reason::OtherRecord, line),
            _ => reading.leave_out(Reason::NoEntry, line),
        }
    }

    fn directive(&mut self, directive: &str, value: Option<&str>, line: &str, reading: &mut Reading) {
        match (directive.to_ascii_uppercase().as_str(), value) {
            ("$TTL", _) => {}
            ("$ORIGIN", Some(origin)) => {
                let origin = self.absolute(origin);
                self.apex.get_or_insert_with(|| origin.clone());
                self.origin = Some(origin);
            }
            _ => reading.leave_out(Reason::Directive, line),
        }
    }

    /// The SOA record's owner is the zone's name.
    fn begin(&mut self) {
        if self.owner != "@" || self.origin.is_some() {
            let apex = self.absolute(&self.owner);
            self.origin.get_or_insert_with(|| apex.clone());
            self.apex = Some(apex);
        }
    }

    fn owner_is_apex(&self) -> bool {
        match self.owner.as_str() {
            "@" => self.origin.is_none() || self.origin == self.apex,
            owner => owner.strip_suffix('.').zip(self.apex.as_deref()).is_some_and(|(owner, apex)| owner.eq_ignore_ascii_case(apex)),
        }
    }

    /// A name of the file with what it is relative to, without the root's dot.
    fn absolute(&self, name: &str) -> String {
        let origin = self.origin.as_deref().or(self.apex.as_deref()).unwrap_or_default();
        match name.strip_suffix('.') {
            Some(absolute) => absolute.to_owned(),
            None if name == "@" => origin.to_owned(),
            None if origin.is_empty() => name.to_owned(),
            None => format!("{name}.{origin}"),
        }
    }

    /// A CNAME record of the last owner.
    fn record(&mut self, target: &str, line: &str, reading: &mut Reading) {
        let target = target.strip_suffix('.').unwrap_or(target);
        if target.eq_ignore_ascii_case("rpz-passthru") {
            return reading.leave_out(Reason::Exception, line);
        }
        if !(target.is_empty() || target == "*" || target.eq_ignore_ascii_case("rpz-drop")) {
            return reading.leave_out(Reason::OtherRecord, line);
        }
        let absolute;
        let trigger = if !self.owner.ends_with('.') && self.origin == self.apex {
            // The usual case: relative to the zone itself.
            self.owner.as_str()
        } else {
            absolute = self.absolute(&self.owner);
            let trigger = self.apex.as_deref().and_then(|apex| below(&absolute, apex));
            let Some(trigger) = trigger else { return reading.leave_out(Reason::OutsideZone, line) };
            trigger
        };
        let last = trigger.rsplit('.').next().unwrap_or_default();
        if OTHER_TRIGGERS.iter().any(|other| other.eq_ignore_ascii_case(last)) {
            return reading.leave_out(Reason::OtherTrigger, line);
        }
        match trigger.strip_prefix("*.") {
            Some(name) => reading.name(name, NameScope::Below),
            None => reading.name(trigger, NameScope::Exact),
        }
    }
}

/// What stands before the apex, on a boundary of labels.
fn below<'a>(name: &'a str, apex: &str) -> Option<&'a str> {
    if apex.is_empty() {
        return Some(name);
    }
    let at = name.len().checked_sub(apex.len() + 1)?;
    let (trigger, end) = (name.get(..at)?, name.get(at + 1..)?);
    (end.eq_ignore_ascii_case(apex) && name.as_bytes()[at] == b'.' && !trigger.is_empty()).then_some(trigger)
}

/// A line without its comment, and how many parentheses it opens and closes.
struct Entry<'a> {
    text: &'a str,
    opened: usize,
    closed: usize,
}

fn entry(line: &str) -> Entry<'_> {
    let (mut quoted, mut opened, mut closed) = (false, 0, 0);
    for (place, byte) in line.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'(' if !quoted => opened += 1,
            b')' if !quoted => closed += 1,
            b';' if !quoted => return Entry { text: &line[..place], opened, closed },
            _ => {}
        }
    }
    Entry { text: line, opened, closed }
}
