//! Texts with `*`, as policies write what devices say of themselves: `android-dhcp-*`, `*MIUI*`.

use std::fmt;
use std::str::FromStr;

use edge_ebpf::abi::identity::MAX_FACT;

use super::model::{Glob, TextKind};
use super::problem::{Fault, Problems};
use super::schema::one_or_many;
use super::yaml::Node;

impl FromStr for Glob {
    type Err = Fault;

    /// In lower case, since case does not matter, and without a `*` behind another.
    fn from_str(text: &str) -> Result<Self, Fault> {
        if text.is_empty() {
            return Err(Fault::new("this text is empty, and no device says nothing", "write `*` for any text, or remove the key"));
        }
        let mut glob = String::with_capacity(text.len());
        for letter in text.chars() {
            if letter != '*' || !glob.ends_with('*') {
                glob.push(letter.to_ascii_lowercase());
            }
        }
        let length = glob.bytes().filter(|byte| *byte != b'*').count();
        if length > MAX_FACT {
            let message = format!("this text has {length} bytes, and the first {MAX_FACT} of what a device says are looked at");
            return Err(Fault::new(message, "shorten it, and end it with `*`"));
        }
        Ok(Self(glob))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The texts of one kind, in one order whatever that of the policy.
pub(super) fn decode_globs(kind: TextKind, node: Option<&Node>, problems: &mut Problems) -> Vec<Glob> {
    let mut globs: Vec<Glob> = one_or_many(node).filter_map(|node| glob(kind, node, problems)).collect();
    globs.sort_by(|a, b| a.0.cmp(&b.0));
    globs.dedup();
    globs
}

fn glob(kind: TextKind, node: &Node, problems: &mut Problems) -> Option<Glob> {
    let text = node.text()?;
    // The lengths of labels are read as dots, and they are all that is less than `-`.
    let impossible = |letter: &char| *letter < '-' && *letter != '*';
    let read = match text.chars().find(impossible).filter(|_| kind == TextKind::Dhcp6Name) {
        Some(letter) => {
            let message = format!("`{text}` cannot be in DHCPv6's option 39, which is a name: it has the character `{letter}`");
            Err(Fault::new(message, "labels separated by dots, and `*`: `redmi-note-*.lan`"))
        }
        None => text.parse(),
    };
    problems.take(&node.place, read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_has_one_form() {
        for (written, form) in [("Redmi*", "redmi*"), ("**MIUI***x", "*miui*x"), ("*", "*"), ("Ü*", "Ü*")] {
            assert_eq!(written.parse::<Glob>().expect("a glob").0, form);
        }
        assert!("".parse::<Glob>().is_err());
        assert!("a".repeat(MAX_FACT).parse::<Glob>().is_ok());
        assert!("a".repeat(MAX_FACT + 1).parse::<Glob>().unwrap_err().message.contains("256 bytes"));
    }
}
