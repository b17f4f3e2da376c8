//! Names of services: services(5).

use std::collections::HashMap;
use std::path::Path;

use super::file::{self, Cached, SourceError};
use crate::policy::model::PortProtocol;

const WAY_OUT: &str = "install Debian's package netbase, set `sources.services` in agent.yaml, or write the port: `tcp/443`";

/// Protocols and ports by name or alias.
pub struct ServiceNames(HashMap<String, Vec<(PortProtocol, u16)>>);

impl ServiceNames {
    /// All protocols and ports of a name; none if the name is unknown.
    pub fn get(&self, name: &str) -> &[(PortProtocol, u16)] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Reads lines `name port/protocol alias… # comment`. Protocols other than TCP and UDP are left out.
pub fn read(path: &Path) -> Result<Cached<ServiceNames>, SourceError> {
    let (bytes, mut file) = file::read(path, "the names of services", WAY_OUT)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut names: HashMap<String, Vec<_>> = HashMap::new();
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(name) = words.next() else { continue };
        let Some((port, protocol)) = words.next().and_then(port) else {
            let expected = "a line `name port/protocol alias…`";
            return Err(SourceError::Format { path: path.to_owned(), line: index + 1, expected, way_out: WAY_OUT });
        };
        let protocol = match protocol {
            "tcp" => PortProtocol::Tcp,
            "udp" => PortProtocol::Udp,
            _ => continue,
        };
        file.entries += 1;
        for name in std::iter::once(name).chain(words) {
            let ports = names.entry(name.to_owned()).or_default();
            if !ports.contains(&(protocol, port)) {
                ports.push((protocol, port));
            }
        }
    }
    Ok(Cached { value: ServiceNames(names), files: vec![file] })
}

fn port(word: &str) -> Option<(u16, &str)> {
    let (port, protocol) = word.split_once('/')?;
    Some((port.parse().ok()?, protocol))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_all_its_protocols_and_aliases() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("services");
        let text = "# comment\ndomain\t53/tcp\ndomain 53/udp nameserver # both\nhttps 443/tcp\nhttps 443/udp\nrtmp 1/ddp\n";
        std::fs::write(&path, text).unwrap();
        let names = read(&path).unwrap().value;
        assert_eq!(names.get("domain"), [(PortProtocol::Tcp, 53), (PortProtocol::Udp, 53)]);
        assert_eq!(names.get("nameserver"), [(PortProtocol::Udp, 53)]);
        assert!(names.get("rtmp").is_empty());
        std::fs::write(&path, "https 443\n").unwrap();
        assert!(read(&path).err().unwrap().to_string().contains("services:1: this is not a line"));
    }
}
