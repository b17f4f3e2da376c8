//! Text files of addresses: a prefix, an address or a range a line, `#` or `;` before a comment, packed or not.

use std::path::Path;
use std::sync::Arc;

use super::file::{self, Cached, SourceError};
use crate::policy::address::AddressRange;
use crate::policy::model::AddressSet;
use crate::policy::problem::{Place, Problems, Source};

const WAY_OUT: &str = "put the file there (paths are relative to the policy's folder), or remove it from `prefix_lists`";
/// Wrong lines that are reported one by one; a file of another kind would fill screens.
const MAX_REPORTED: usize = 10;

/// Reads a list. Lines that are wrong become problems and are left out.
pub fn read(path: &Path, problems: &mut Problems) -> Result<Cached<Arc<AddressSet>>, SourceError> {
    let (bytes, mut file) = file::read(path, "a prefix list", WAY_OUT)?;
    let source = Arc::new(Source { path: path.to_owned(), text: String::from_utf8_lossy(&bytes).into_owned() });
    let (mut ranges, mut wrong) = (Vec::new(), 0);
    for (index, line) in source.text.lines().enumerate() {
        let entry = line.split(['#', ';']).next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        match entry.parse::<AddressRange>() {
            Ok(range) => ranges.push(range),
            Err(fault) => {
                wrong += 1;
                if wrong <= MAX_REPORTED {
                    problems.fault(&Place::line(&source, index + 1), fault);
                }
            }
        }
    }
    if wrong > MAX_REPORTED {
        problems
            .error(&Place::file(path), format!("{} more lines of this list are wrong", wrong - MAX_REPORTED))
            .hint("a prefix list has one prefix, address or range a line");
    }
    file.entries = ranges.len();
    Ok(Cached { value: Arc::new(ranges.into_iter().collect()), files: vec![file] })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    const LIST: &str = "# servers\n42.62.48.0/24 ; as named\n\n192.0.2.1-192.0.2.9\n2001:db8::/32\n192.0.2.10\r\n";

    fn list(bytes: &[u8]) -> (AddressSet, usize, Problems) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.txt");
        std::fs::write(&path, bytes).unwrap();
        let mut problems = Problems::default();
        let cached = read(&path, &mut problems).unwrap();
        ((*cached.value).clone(), cached.files[0].entries, problems)
    }

    #[test]
    fn a_list_is_read_plain_and_packed() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(LIST.as_bytes()).unwrap();
        for bytes in [LIST.as_bytes().to_vec(), packed.finish().unwrap()] {
            let (set, entries, problems) = list(&bytes);
            assert!(problems.is_empty(), "{problems}");
            assert_eq!(entries, 4);
            assert_eq!(set.v4.iter().copied().collect::<Vec<_>>(), [(0x2a3e_3000, 0x2a3e_30ff), (0xc000_0201, 0xc000_020a)]);
            assert_eq!(set.v6.len(), 1);
        }
    }

    #[test]
    fn wrong_lines_are_named_and_a_file_of_another_kind_is_not_listed_whole() {
        let (set, _, problems) = list(b"10.0.0.0/8\n10.0.0.1/8\nexample.com\n");
        assert_eq!(set.v4.len(), 1);
        let places: Vec<_> = problems.iter().map(|problem| (problem.place.line, problem.message.clone())).collect();
        assert_eq!(places[0], (2, "`10.0.0.1/8` has bits set beyond its length".to_owned()));
        assert_eq!(places[1], (3, "`example.com` is not a prefix, an address or a range".to_owned()));
        let (_, _, problems) = list("example.com\n".repeat(100).as_bytes());
        assert_eq!(problems.errors(), 11);
        assert!(problems.to_string().contains("90 more lines"), "{problems}");
    }
}
