//! A pattern a line, as a policy's `domains` has them: `example.com`, `=example.com`, `*.example.com`. `#` or `;` begins a comment.

use super::Reading;
use crate::policy::name::NameScope;

pub fn read_line(line: &str, reading: &mut Reading) {
    let entry = line.split(['#', ';']).next().unwrap_or_default().trim();
    if !entry.is_empty() {
        reading.pattern(entry, NameScope::Both);
    }
}
