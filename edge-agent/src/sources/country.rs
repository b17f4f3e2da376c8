//! The country of each address, in the two text forms of Debian's tor-geoipdb.

use std::net::Ipv6Addr;
use std::path::Path;
use std::sync::Arc;

use super::by_key::{AddressesBy, Parsed};
use super::file::{self, Cached, Provenance, SourceError};
use crate::policy::model::AddressSet;

const WAY_OUT: &str = "install Debian's package tor-geoipdb, or set `sources.countries` in agent.yaml";

/// ISO 3166 code in capitals, as far as the data has it.
pub(super) type Code = [u8; 2];

/// Addresses by country.
pub struct Countries(pub(super) AddressesBy<Code>);

impl Countries {
    /// All addresses of a country, or `None` if the data does not know it.
    pub fn addresses(&mut self, code: &str) -> Option<Arc<AddressSet>> {
        self.0.addresses(code.as_bytes().try_into().ok()?)
    }
}

/// Reads both families.
pub fn read(v4: &Path, v6: &Path) -> Result<Cached<Countries>, SourceError> {
    let (v4, v4_file) = parse(v4, |address| std::str::from_utf8(address).ok()?.parse::<u32>().ok())?;
    let (v6, v6_file) = parse(v6, |address| Some(std::str::from_utf8(address).ok()?.parse::<Ipv6Addr>().ok()?.to_bits()))?;
    Ok(Cached { value: Countries(AddressesBy::new(v4, v6)), files: vec![v4_file, v6_file] })
}

/// Lines `first,last,CC`; `#` begins a comment.
fn parse<T: Ord>(path: &Path, number: impl Fn(&[u8]) -> Option<T>) -> Result<(Parsed<Code, T>, Provenance), SourceError> {
    let (bytes, mut file) = file::read(path, "the countries of addresses", WAY_OUT)?;
    let mut parsed = Parsed::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line[0] == b'#' {
            continue;
        }
        let Some((code, range)) = entry(line, &number) else {
            let expected = "a line `first,last,CC` with addresses of this family";
            return Err(SourceError::Format { path: path.to_owned(), line: index + 1, expected, way_out: WAY_OUT });
        };
        parsed.entry(code).or_default().push(range);
        file.entries += 1;
    }
    Ok((parsed, file))
}

fn entry<T: Ord>(line: &[u8], number: impl Fn(&[u8]) -> Option<T>) -> Option<(Code, (T, T))> {
    let mut fields = line.split(|byte| *byte == b',');
    let (first, last) = (number(fields.next()?)?, number(fields.next()?)?);
    let code = fields.next()?.try_into().ok()?;
    (first <= last && fields.next().is_none()).then_some((code, (first, last)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::policy::model::Ranges;

    fn files(v4: &str, v6: &str) -> Result<Cached<Countries>, SourceError> {
        let folder = tempfile::tempdir().unwrap();
        let (v4_path, v6_path) = (folder.path().join("geoip"), folder.path().join("geoip6"));
        fs::write(&v4_path, v4).unwrap();
        fs::write(&v6_path, v6).unwrap();
        read(&v4_path, &v6_path)
    }

    #[test]
    fn a_country_is_its_ranges_of_both_families() {
        let v4 = "# comment\n16777216,16777471,AU\n16777472,16777727,CN\n16777728,16778239,CN\n";
        let mut read = files(v4, "2001:250::,2001:253:ffff:ffff:ffff:ffff:ffff:ffff,CN\r\n").unwrap();
        assert_eq!(read.files.iter().map(|file| file.entries).collect::<Vec<_>>(), [3, 1]);
        let china = read.value.addresses("CN").unwrap();
        assert_eq!(china.v4, Ranges::new(vec![(16_777_472, 16_778_239)]));
        assert_eq!(china.v6, Ranges::new(vec![(0x2001_0250 << 96, (0x2001_0254 << 96) - 1)]));
        assert!(read.value.addresses("AU").unwrap().v6.is_empty());
        assert!(Arc::ptr_eq(&china, &read.value.addresses("CN").unwrap()));
        for unknown in ["XX", "cn", "CHN", ""] {
            assert!(read.value.addresses(unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn a_line_of_another_form_is_an_error_with_its_number() {
        for (v4, line) in [("1,2,CN\n2,1,CN", 2), ("1.0.0.0,1.0.0.255,CN", 1), ("1,2,CHN", 1), ("1,2,CN,x", 1), ("\n\n1,2", 3)] {
            let error = files(v4, "").err().unwrap();
            assert!(error.to_string().contains(&format!("geoip:{line}: this is not a line")), "{error}");
        }
    }
}
