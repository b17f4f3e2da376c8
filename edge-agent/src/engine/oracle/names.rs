//! Names, one pattern after the other and label by label.

use crate::policy::model::Destination;
use crate::policy::name::{NameRef, NameScope};
use crate::policy::name_set::NameSet;

/// Whether a destination names what was asked for: labels as they are on the wire, the top-level one last, without the root.
pub fn names_of(destination: &Destination, asked: &[impl AsRef<[u8]>]) -> bool {
    destination.domains.sets.iter().any(|set| covered(set, asked))
}

/// As [`names_of`], of one set.
pub fn covered(set: &NameSet, asked: &[impl AsRef<[u8]>]) -> bool {
    set.iter().any(|(name, scope)| covers(name, scope, asked))
}

fn covers(name: NameRef<'_>, scope: NameScope, asked: &[impl AsRef<[u8]>]) -> bool {
    let Some(further) = asked.len().checked_sub(name.labels().count()) else { return false };
    let ends_so = name.labels().zip(&asked[further..]).all(|(own, label)| own.as_bytes().eq_ignore_ascii_case(label.as_ref()));
    ends_so
        && match scope {
            NameScope::Both => true,
            NameScope::Exact => further == 0,
            NameScope::Below => further > 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::model::{Domains, PolicyId};
    use crate::policy::name_set::tests::set;

    #[test]
    fn labels_are_compared_whole_and_in_any_case() {
        let domains = Domains { sets: vec![set(&["xiaomi.com", "=only.example", "*.below.example"]).into()], ..Domains::default() };
        let destination = Destination { policy: PolicyId(0), name: "x".to_owned(), sets: Vec::new(), domains };
        for (asked, expected) in [
            ("xiaomi.com", true),
            ("a.b.XIAOMI.Com", true),
            ("notxiaomi.com", false),
            ("com", false),
            ("only.example", true),
            ("a.only.example", false),
            ("below.example", false),
            ("a.below.example", true),
        ] {
            assert_eq!(names_of(&destination, &asked.split('.').collect::<Vec<_>>()), expected, "{asked}");
        }
        assert!(!names_of(&destination, &["a.xiaomi", "com"]), "a dot within a label is no boundary");
        assert!(!names_of(&destination, &[] as &[&str]), "the root");
    }
}
