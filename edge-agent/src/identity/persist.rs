//! What is known of devices, in the agent's state directory: `devices.jsonl`, a device a line.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use edge_ebpf::packet::Mac;
use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::store::Store;
use super::text::{hex, kind_name, kind_of, mac_of, mac_text, unhex};

const FILE: &str = "devices.jsonl";
/// Bytes of a line; more than a device's facts take.
const LONGEST_LINE: u64 = 1 << 20;
/// Lines that are reported one by one.
const REPORTED: usize = 10;

pub fn file(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

#[derive(Serialize, Deserialize)]
struct Line {
    mac: String,
    first_seen: u64,
    last_seen: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<IpAddr>,
    facts: Vec<FactLine>,
    /// Hexadecimal digits of [`SignalKey`](super::evaluate::SignalKey)s.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    signals: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct FactLine {
    kind: String,
    #[serde(flatten)]
    value: ValueLine,
    seen: u64,
}

/// Text where it is one, so that the file can be read; else its bytes.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ValueLine {
    Text(String),
    Hex(String),
}

impl ValueLine {
    fn of(bytes: &[u8]) -> Self {
        match str::from_utf8(bytes) {
            Ok(text) if text.bytes().all(|byte| byte >= b' ') => Self::Text(text.to_owned()),
            _ => Self::Hex(hex(bytes)),
        }
    }

    fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text.into_bytes()),
            Self::Hex(digits) => unhex(&digits),
        }
    }
}

/// Takes what an earlier agent has written to `directory` into the store. What cannot be read is logged and left out.
pub fn restore(directory: &Path, store: &mut Store, now: u64) {
    let path = file(directory);
    match read(&path, store, now) {
        Ok(0) => {}
        Ok(broken) => tracing::warn!(file = %path.display(), broken, "lines about devices were left out; the others are known again"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(file = %path.display(), %error, "not readable: devices are known again once they show something"),
    }
}

/// Number of lines that were left out.
fn read(path: &Path, store: &mut Store, now: u64) -> io::Result<usize> {
    let mut reader = BufReader::new(File::open(path)?);
    let (mut number, mut broken) = (0, 0);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if io::Read::take(&mut reader, LONGEST_LINE).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(broken);
        }
        number += 1;
        match serde_json::from_slice(&bytes).map_err(|error| error.to_string()).and_then(|line| facts(line, store)) {
            Ok((mac, facts)) => store.restore(mac, facts, now),
            Err(error) => {
                broken += 1;
                if broken <= REPORTED {
                    tracing::warn!(file = %path.display(), line = number, error, "a device was left out");
                }
            }
        }
    }
}

fn facts(line: Line, store: &mut Store) -> Result<(Mac, Facts), String> {
    let Line { mac, first_seen, last_seen, addresses, facts: lines, signals } = line;
    let mac = mac_of(&mac).ok_or_else(|| format!("`{mac}` is no MAC"))?;
    let mut facts = Facts::at(first_seen);
    facts.last_seen = last_seen;
    addresses.into_iter().rev().for_each(|address| facts.note_address(address));
    for FactLine { kind, value, seen } in lines {
        let kind = kind_of(&kind).ok_or_else(|| format!("`{kind}` is no kind of fact"))?;
        let value = value.bytes().ok_or("odd hexadecimal digits")?;
        facts.note(kind, store.value(&value), seen);
    }
    for signal in signals {
        let key = unhex(&signal).and_then(|key| key.try_into().ok());
        facts.note_signal(key.ok_or_else(|| format!("`{signal}` is no signal"))?);
    }
    Ok((mac, facts))
}

/// Writes all of it. A reader sees the old content or the new one.
///
/// # Errors
/// If the directory cannot be made or written to; the old content is still there then.
pub fn write(directory: &Path, devices: &[(Mac, Facts)]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let path = file(directory);
    let new = path.with_extension("new");
    let mut out = BufWriter::new(private(&new)?);
    for (mac, facts) in devices {
        serde_json::to_writer(&mut out, &line(*mac, facts))?;
        out.write_all(b"\n")?;
    }
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    // Else a power cut may leave the new name with no content.
    file.sync_all()?;
    fs::rename(new, path)
}

/// Which devices there are, and what they run, is nobody else's business.
fn private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn line(mac: Mac, facts: &Facts) -> Line {
    let fact =
        |fact: &super::facts::Fact| FactLine { kind: kind_name(fact.kind).to_owned(), value: ValueLine::of(&fact.value), seen: fact.seen };
    Line {
        mac: mac_text(mac),
        first_seen: facts.first_seen,
        last_seen: facts.last_seen,
        addresses: facts.addresses.clone(),
        facts: facts.iter().map(fact).collect(),
        signals: facts.signals.iter().map(|key| hex(key)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use edge_ebpf::abi::identity::FactKind;

    use super::*;

    #[test]
    fn what_was_written_is_known_again_and_a_broken_line_is_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Store::new(10, 100);
        for mac in 1..=3 {
            store.show(Mac(mac), FactKind::DhcpParameters, &[1, 3, 6], 50);
            store.show(Mac(mac), FactKind::UserAgent, "Ünicode \"x\"".as_bytes(), 60);
            store.show(Mac(mac), FactKind::DhcpHostName, b"\xff\xfe", 60);
            let facts = store.seen(Mac(mac), Some("192.0.2.7".parse().expect("an address")), 61).expect("room");
            facts.note_address("2001:db8::7".parse().expect("an address"));
        }
        let written = store.take_changes().expect("changes");
        write(folder.path(), &written).expect("written");
        let text = fs::read_to_string(file(folder.path())).expect("a text");
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains(r#"{"kind":"dhcp_params","hex":"010306","seen":50}"#), "{text}");

        let mut lines: Vec<&str> = text.lines().collect();
        let half = &lines[1][..40];
        lines[1] = half;
        let odd = text.lines().next().expect("a line").replace("user_agent", "horoscope");
        lines.push(&odd);
        fs::write(file(folder.path()), lines.join("\n")).expect("written");
        let mut next = Store::new(10, 100);
        assert_eq!(read(&file(folder.path()), &mut next, 100).expect("it is there"), 2);
        let known: Vec<_> = next.behind(None).map(|(mac, facts)| (mac, facts.clone())).collect();
        let mut expected = written;
        expected.sort_by_key(|(mac, _)| mac.0);
        let second = lines_of(&text)[1];
        expected.retain(|(mac, _)| *mac != second);
        assert_eq!(known, expected);
    }

    fn lines_of(text: &str) -> Vec<Mac> {
        text.lines().map(|line| mac_of(&line[8..25]).expect("a MAC")).collect()
    }
}
