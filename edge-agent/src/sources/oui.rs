//! The IEEE registry of MAC prefixes, as the CSV files of Debian's ieee-data: 24, 28 and 36 bits.

use std::path::Path;

use super::file::{self, Cached, SourceError};

const WAY_OUT: &str = "install Debian's package ieee-data, or set `sources.vendors` in agent.yaml";

/// The assignments of one file.
pub struct Registry(Vec<Assignment>);

struct Assignment {
    /// First and last MAC, as 48-bit numbers.
    range: (u64, u64),
    /// The organisation's words as [`normalise`] writes them.
    words: String,
    /// As the registry has it.
    name: Box<str>,
}

impl Registry {
    /// The ranges of all organisations whose name has these words, whole, one after the other, in any case.
    pub fn ranges(&self, vendor: &str) -> impl Iterator<Item = (u64, u64)> {
        let words = normalise(vendor);
        self.0.iter().filter(move |assignment| words.len() > 2 && assignment.words.contains(&words)).map(|assignment| assignment.range)
    }

    /// The bits of the prefix that this MAC has, and the organisation that it was assigned to.
    pub fn organisation(&self, mac: u64) -> Option<(u32, &str)> {
        let of_mac = |assignment: &&Assignment| (assignment.range.0..=assignment.range.1).contains(&mac);
        let Assignment { range: (first, last), name, .. } = self.0.iter().find(of_mac)?;
        Some(((last - first).leading_zeros(), name))
    }

    /// All words of all names.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|assignment| assignment.words.split_ascii_whitespace())
    }
}

/// Words in lower case, a blank before, between and after them: then a run of whole words is a substring.
fn normalise(name: &str) -> String {
    let mut words = String::from(" ");
    for word in name.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()) {
        words.push_str(&word.to_lowercase());
        words.push(' ');
    }
    words
}

/// Reads lines `Registry,Assignment,Organization Name,…` (RFC 4180 quoting), the first a heading.
pub fn read(path: &Path) -> Result<Cached<Registry>, SourceError> {
    let (bytes, mut file) = file::read(path, "the vendors of MACs", WAY_OUT)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut assignments = Vec::new();
    for (line, record) in records(&text) {
        match record.as_slice() {
            [_, assignment, name, ..] if line > 1 => {
                let Some(range) = range(assignment) else {
                    let expected = "a line of the IEEE registry with an assignment of 24, 28 or 36 bits";
                    return Err(SourceError::Format { path: path.to_owned(), line, expected, way_out: WAY_OUT });
                };
                assignments.push(Assignment { range, words: normalise(name), name: name.trim().into() });
            }
            [_, second, ..] if line == 1 && second == "Assignment" => {}
            _ => {
                let expected = "the IEEE registry, `Registry,Assignment,Organization Name,…`";
                return Err(SourceError::Format { path: path.to_owned(), line, expected, way_out: WAY_OUT });
            }
        }
    }
    file.entries = assignments.len();
    Ok(Cached { value: Registry(assignments), files: vec![file] })
}

fn range(assignment: &str) -> Option<(u64, u64)> {
    if !assignment.bytes().all(|digit| digit.is_ascii_hexdigit()) || ![6, 7, 9].contains(&assignment.len()) {
        return None;
    }
    let host_bits = 48 - 4 * assignment.len();
    let first = u64::from_str_radix(assignment, 16).ok()? << host_bits;
    Some((first, first | ((1 << host_bits) - 1)))
}

/// The fields of each record of CSV (RFC 4180), with the line it begins on.
pub(crate) fn records(text: &str) -> Vec<(usize, Vec<String>)> {
    let mut records = Vec::new();
    let (mut record, mut field) = (Vec::new(), String::new());
    let (mut line, mut begin, mut quoted) = (1, 1, false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => field.extend(letters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\n' => {
                line += 1;
                if quoted {
                    field.push(letter);
                    continue;
                }
                record.push(std::mem::take(&mut field));
                if record.iter().any(|field| !field.is_empty()) {
                    records.push((begin, std::mem::take(&mut record)));
                }
                record.clear();
                begin = line;
            }
            '\r' => {}
            _ => field.push(letter),
        }
    }
    if !record.is_empty() {
        record.push(field);
        records.push((begin, record));
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Registry,Assignment,Organization Name,Organization Address\r\n";

    fn parse(lines: &str) -> Result<Registry, SourceError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("oui.csv");
        std::fs::write(&path, format!("{HEAD}{lines}")).unwrap();
        read(&path).map(|cached| cached.value)
    }

    #[test]
    fn a_vendor_is_named_by_whole_words_in_any_case() {
        let registry = parse(
            "MA-L,640980,Xiaomi Communications Co Ltd,\"The Rainbow City, Beijing\"\r\n\
             MA-L,EC4118,\"XIAOMI Electronics,CO.,LTD\",\"a \"\"quoted\"\"\nsecond line\"\r\n\
             MA-M,741AE09,Xiaomimi Ltd,\r\nMA-S,70B3D5F2F,D-Link Corp.,x\r\n",
        )
        .unwrap();
        let ranges = |vendor| registry.ranges(vendor).collect::<Vec<_>>();
        assert_eq!(ranges("Xiaomi"), [(0x6409_8000_0000, 0x6409_80ff_ffff), (0xec41_1800_0000, 0xec41_18ff_ffff)]);
        assert_eq!(ranges("xiaomi communications"), [(0x6409_8000_0000, 0x6409_80ff_ffff)]);
        assert_eq!(ranges("xiaomimi"), [(0x741a_e090_0000, 0x741a_e09f_ffff)]);
        assert_eq!(ranges("d-link"), [(0x70b3_d5f2_f000, 0x70b3_d5f2_ffff)]);
        for nothing in ["xiao", "communications xiaomi", "", " - "] {
            assert!(ranges(nothing).is_empty(), "{nothing}");
        }
    }

    #[test]
    fn a_file_of_another_form_is_an_error_with_its_line() {
        for lines in ["MA-L,64098,Xiaomi,x\n", "MA-L,64098G,Xiaomi,x\n", "MA-L\n"] {
            let error = parse(lines).err().unwrap();
            assert!(error.to_string().contains("oui.csv:2: this is not"), "{error}");
        }
    }
}
