//! Satori's database of DHCP clients, `dhcp.xml`: of its tests those of option 55 and of the vendor class.

use std::path::Path;

use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::{Entry, Trait, written};
use crate::policy::model::Glob;
use crate::sources::file::{self, Provenance, SourceError};

const WAY_OUT: &str = "get dhcp.xml from https://github.com/xnih/satori, or leave `identity.satori` in agent.yaml out";
const EXPECTED: &str = "XML: every element closed, every attribute in quotes";
/// Of whose messages tests are read: those that say something of the client.
const MESSAGES: [&str; 4] = ["Any", "Discover", "Request", "Inform"];

pub fn read(path: &Path) -> Result<(Vec<Entry>, Provenance), SourceError> {
    let (bytes, mut provenance) = file::read(path, "Satori's fingerprints of DHCP", WAY_OUT)?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    let mut entries: Vec<Entry> = Vec::new();
    let mut depth = 0usize;
    loop {
        let event = reader.read_event();
        // An element's last line, where editors break none.
        let line = || text.as_bytes().iter().take(reader.buffer_position() as usize).filter(|byte| **byte == b'\n').count() + 1;
        let wrong = |expected| SourceError::Format { path: path.to_owned(), line: line(), expected, way_out: WAY_OUT };
        match event.map_err(|_| wrong(EXPECTED))? {
            Event::Eof if depth > 0 => return Err(wrong(EXPECTED)),
            Event::Eof => break,
            Event::End(_) => depth = depth.saturating_sub(1),
            event @ (Event::Start(_) | Event::Empty(_)) => {
                depth += usize::from(matches!(event, Event::Start(_)));
                let (Event::Start(element) | Event::Empty(element)) = event else { continue };
                match element.name().as_ref() {
                    "fingerprint" => entries.push(fingerprint(&element).ok_or_else(|| wrong(EXPECTED))?),
                    "test" => {
                        let read = test(&element).map_err(wrong)?;
                        provenance.entries += usize::from(read.is_some());
                        let entry = entries.last_mut().ok_or_else(|| wrong("a fingerprint with tests"))?;
                        entry.traits.extend(read);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
    entries.retain(|entry| !entry.traits.is_empty());
    Ok((entries, provenance))
}

/// An attribute's value; an empty one where there is none. `None`: it cannot be read.
fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let Some(attribute) = element.try_get_attribute(name).ok()? else { return Some(String::new()) };
    quick_xml::escape::unescape(&attribute.value).ok().map(|value| value.into_owned())
}

fn fingerprint(element: &BytesStart<'_>) -> Option<Entry> {
    let value = |name| attribute(element, name).map(|value| written(&value));
    let os = value("os_name")?.or(value("name")?);
    let class = value("device_type")?.or(value("os_class")?);
    let vendor = value("device_vendor")?.or(value("os_vendor")?);
    Some(Entry { os, class, vendor, generic: false, traits: Vec::new() })
}

/// `None`: one of another kind.
fn test(element: &BytesStart<'_>) -> Result<Option<Trait>, &'static str> {
    let value = |name| attribute(element, name).ok_or(EXPECTED);
    if !MESSAGES.contains(&value("dhcptype")?.as_str()) {
        return Ok(None);
    }
    let partial = match value("matchtype")?.as_str() {
        "exact" => false,
        "partial" => true,
        _ => return Err("a test whose matchtype is exact or partial"),
    };
    let (params, class) = (value("dhcpoption55")?, value("dhcpvendorcode")?);
    if !class.is_empty() {
        // An asterisk of its own would be any letters to us, which is as near as it gets.
        return Ok(Some(Trait::DhcpVendorClass(Glob(if partial { format!("*{class}*") } else { class }))));
    }
    // A part of a list says little, and none is in the database.
    if params.is_empty() || partial {
        return Ok(None);
    }
    let numbers: Result<Vec<u8>, _> = params.split(',').map(|number| number.trim().parse()).collect();
    Ok(Some(Trait::DhcpParams(numbers.map_err(|_| "a test whose dhcpoption55 is numbers of 0 to 255 with commas")?)))
}
