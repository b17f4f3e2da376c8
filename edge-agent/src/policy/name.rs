//! Domain names as policies and lists write them, in the one form in which they are compared: ASCII in lower case, international labels
//! as A-labels (RFC 5890 section 2.3.2.1, mapped as UTS #46 says), without the dot of the root.
//!
//! Names that are on the wire though no host may have them (RFC 1123 section 2.1) are names too: underscores, hyphens at the ends of a
//! label. ASCII labels that begin with `xn--` are taken as they are, since that is what a client asks for.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::problem::Fault;

/// Bytes of a label (RFC 1035 section 2.3.4).
pub const MAX_LABEL: usize = 63;
/// Characters of a name: 255 bytes on the wire, less the first length and the root.
pub const MAX_NAME: usize = 253;

/// Why a text is no name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    #[error("it is empty")]
    Empty,
    #[error("it has an empty label")]
    EmptyLabel,
    #[error("it has a label of more than {MAX_LABEL} bytes")]
    LabelTooLong,
    #[error("it has more than {MAX_NAME} bytes")]
    TooLong,
    #[error("it has the character `{0}`")]
    Character(char),
    #[error("it ends in a number, as an address does")]
    Address,
    #[error("it has letters that no international name has")]
    International,
    #[error("the names before it take 4 GiB")]
    TooMany,
}

impl NameError {
    /// What to do about it.
    pub fn way_out(self) -> &'static str {
        match self {
            Self::Empty | Self::EmptyLabel => "labels are separated by single dots: `www.example.com`",
            Self::LabelTooLong | Self::TooLong => "no such name can be asked for: remove it",
            Self::Character('*') => "`*.example.com` is all below a name; a `*` elsewhere has no meaning",
            Self::Character('/' | ':') => "only the host's name, without scheme, port and path",
            Self::Character(_) => "names have letters, digits, `-` and `_`, such as `www.example.com`",
            Self::Address => "addresses belong into `prefixes`",
            Self::TooMany => "shorten the list",
            Self::International => "write it as the browser's address bar shows it, or its A-label `xn--…`",
        }
    }
}

/// A name that owns its text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<str>);

impl Name {
    pub fn as_ref(&self) -> NameRef<'_> {
        NameRef(&self.0)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut name = String::with_capacity(text.len());
        push_canonical(text, &mut name)?;
        Ok(Self(name.into_boxed_str()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A name whose text is stored elsewhere.
///
/// The order is that of the tree of names, a depth-first walk from the top-level labels: all names below one follow it directly.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NameRef<'a>(&'a str);

impl<'a> NameRef<'a> {
    /// Of a text that [`push_canonical`] has made, or of whole labels at its end.
    pub(crate) fn of_canonical(text: &'a str) -> Self {
        Self(text)
    }

    pub fn as_str(self) -> &'a str {
        self.0
    }

    pub fn to_name(self) -> Name {
        Name(self.0.into())
    }

    /// From the first to the top-level one.
    pub fn labels(self) -> impl DoubleEndedIterator<Item = &'a str> {
        self.0.split('.')
    }

    /// The name one label above; `None` for a top-level one.
    pub fn parent(self) -> Option<Self> {
        self.0.split_once('.').map(|(_, above)| Self(above))
    }

    /// Strictly below the other, on a label's boundary.
    pub fn is_below(self, other: NameRef<'_>) -> bool {
        self.0.strip_suffix(other.0).is_some_and(|rest| rest.ends_with('.'))
    }
}

impl Ord for NameRef<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.bytes().rev().map(rank).cmp(other.0.bytes().rev().map(rank))
    }
}

impl PartialOrd for NameRef<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for NameRef<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

impl fmt::Debug for NameRef<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

/// A boundary of labels sorts before all that a label may go on with: `x.com`, `a.x.com`, and only then `a-x.com`.
pub(super) fn rank(byte: u8) -> u8 {
    if byte == b'.' { 0 } else { byte }
}

/// Appends a name in the form in which names are compared, and returns where it stands.
///
/// # Errors
/// The reason why it is none; then nothing is appended.
pub fn push_canonical(text: &str, out: &mut String) -> Result<Range<usize>, NameError> {
    let start = out.len();
    let pushed = if text.is_ascii() {
        push_ascii(text, out)
    } else {
        Uts46::new()
            .to_ascii(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore)
            .map_err(|_| NameError::International)
            .and_then(|ascii| push_ascii(&ascii, out))
    };
    pushed.map(|()| start..out.len())
}

fn push_ascii(text: &str, out: &mut String) -> Result<(), NameError> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_NAME {
        return Err(NameError::TooLong);
    }
    let (mut label, mut only_digits) = (0, true);
    for byte in text.bytes() {
        match byte {
            b'.' if label == 0 => return Err(NameError::EmptyLabel),
            b'.' => (label, only_digits) = (0, true),
            b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' => (label, only_digits) = (label + 1, false),
            b'0'..=b'9' => label += 1,
            other => return Err(NameError::Character(char::from(other))),
        }
        if label > MAX_LABEL {
            return Err(NameError::LabelTooLong);
        }
    }
    match label {
        0 => Err(NameError::EmptyLabel),
        _ if only_digits => Err(NameError::Address),
        _ => {
            let start = out.len();
            out.push_str(text);
            out[start..].make_ascii_lowercase();
            Ok(())
        }
    }
}

/// What of the tree of names a pattern is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum NameScope {
    /// The name and everything below it: `example.com`.
    Both,
    /// The name alone: `=example.com`.
    Exact,
    /// Everything below it, but not the name: `*.example.com`.
    Below,
}

impl NameScope {
    /// The scope that a pattern is written with, and its name. `plain` is what no mark means.
    pub fn split(text: &str, plain: Self) -> (Self, &str) {
        if let Some(name) = text.strip_prefix("*.") {
            (Self::Below, name)
        } else if let Some(name) = text.strip_prefix('=') {
            (Self::Exact, name)
        } else {
            (plain, text)
        }
    }

    pub fn has_itself(self) -> bool {
        matches!(self, Self::Both | Self::Exact)
    }

    pub fn has_below(self) -> bool {
        matches!(self, Self::Both | Self::Below)
    }

    pub fn union(self, other: Self) -> Self {
        if self == other { self } else { Self::Both }
    }
}

/// A name and what of the tree is meant by it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NamePattern {
    pub name: Name,
    pub scope: NameScope,
}

impl FromStr for NamePattern {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let (scope, name) = NameScope::split(text, NameScope::Both);
        match name.parse() {
            Ok(name) => Ok(Self { name, scope }),
            Err(error) => Err(Fault::new(format!("`{text}` is not a domain name: {error}"), NameError::way_out(error))),
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, scope } = self;
        let mark = match scope {
            NameScope::Both => "",
            NameScope::Exact => "=",
            NameScope::Below => "*.",
        };
        write!(out, "{mark}{name}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_has_one_form() {
        for (written, name) in [
            ("xiaomi.com", "xiaomi.com"),
            ("WWW.Xiaomi.COM.", "www.xiaomi.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("小米。中国", "xn--yets76e.xn--fiqs8s"),
            ("XN--Bcher-KVA.example", "xn--bcher-kva.example"),
            ("_dmarc.-a-.b_c.example", "_dmarc.-a-.b_c.example"),
            ("r3---sn-4g5e6nsz.example", "r3---sn-4g5e6nsz.example"),
            ("1.0.0.127.in-addr.arpa", "1.0.0.127.in-addr.arpa"),
            ("com", "com"),
        ] {
            assert_eq!(written.parse::<Name>().map(|name| name.to_string()), Ok(name.to_owned()), "{written}");
        }
    }

    #[test]
    fn limits_are_those_of_the_wire() {
        let label = "a".repeat(MAX_LABEL);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(longest.len(), MAX_NAME);
        assert!(longest.parse::<Name>().is_ok() && format!("{longest}.").parse::<Name>().is_ok());
        assert_eq!(format!("{longest}a").parse::<Name>(), Err(NameError::TooLong));
        assert_eq!(format!("a{label}.com").parse::<Name>(), Err(NameError::LabelTooLong));
        assert_eq!(format!("com.a{label}").parse::<Name>(), Err(NameError::LabelTooLong));
        assert_eq!(format!("{}.com", "ü".repeat(70)).parse::<Name>(), Err(NameError::LabelTooLong), "as A-label");
    }

    #[test]
    fn what_is_none_is_refused_and_appends_nothing() {
        for (text, error) in [
            ("", NameError::Empty),
            (".", NameError::Empty),
            ("..", NameError::EmptyLabel),
            (".com", NameError::EmptyLabel),
            ("a..com", NameError::EmptyLabel),
            ("a.com..", NameError::EmptyLabel),
            ("a b.com", NameError::Character(' ')),
            ("a.*.com", NameError::Character('*')),
            ("https://a.com/", NameError::Character(':')),
            ("a.com:443", NameError::Character(':')),
            ("192.0.2.1", NameError::Address),
            ("a.7", NameError::Address),
            ("bü cher.example", NameError::Character(' ')),
            ("a\u{378}.example", NameError::International),
        ] {
            let mut out = String::from("before");
            assert_eq!(push_canonical(text, &mut out), Err(error), "{text}");
            assert_eq!(out, "before", "{text}");
        }
        let fault = "https://a.com/".parse::<NamePattern>().unwrap_err();
        assert_eq!(fault.message, "`https://a.com/` is not a domain name: it has the character `:`");
        assert!(fault.hint.contains("without scheme"), "{fault:?}");
    }

    #[test]
    fn a_pattern_says_what_of_the_tree_is_meant() {
        for (written, scope, shown) in [
            ("Xiaomi.com", NameScope::Both, "xiaomi.com"),
            ("=Xiaomi.com.", NameScope::Exact, "=xiaomi.com"),
            ("*.MIUI.com", NameScope::Below, "*.miui.com"),
        ] {
            let pattern: NamePattern = written.parse().unwrap();
            assert_eq!((pattern.scope, pattern.to_string().as_str()), (scope, shown));
        }
        for text in ["*", "*.", "=", "=*.a.com", "*.*.a.com", "a*.com", "*a.com"] {
            assert!(text.parse::<NamePattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_is_below_another_on_a_boundary_of_labels() {
        let below = |name: &str, other: &str| NameRef(name).is_below(NameRef(other));
        assert!(below("a.xiaomi.com", "xiaomi.com") && below("a.b.xiaomi.com", "com"));
        assert!(!below("notxiaomi.com", "xiaomi.com") && !below("xiaomi.com", "xiaomi.com") && !below("com", "xiaomi.com"));
    }

    fn name() -> impl Strategy<Value = String> {
        prop::collection::vec("[a-c_-]{1,3}", 1..5).prop_map(|labels| labels.join("."))
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_becomes_a_form_that_stays(text in "\\PC{0,40}") {
            if let Ok(name) = text.parse::<Name>() {
                let shown = name.to_string();
                prop_assert!(shown.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.')), "{}", shown);
                prop_assert!(shown.len() <= MAX_NAME && shown.split('.').all(|label| (1..=MAX_LABEL).contains(&label.len())));
                prop_assert_eq!(shown.parse::<Name>(), Ok(name));
            }
        }

        #[test]
        fn patterns_are_read_as_they_are_shown(name in name(), scope in prop_oneof![
            Just(NameScope::Both), Just(NameScope::Exact), Just(NameScope::Below)]) {
            let pattern = NamePattern { name: name.parse().unwrap(), scope };
            prop_assert_eq!(pattern.to_string().parse::<NamePattern>(), Ok(pattern));
        }

        #[test]
        fn all_names_below_one_follow_it_directly(mut names in prop::collection::vec(name(), 1..30)) {
            names.sort_by(|a, b| NameRef(a).cmp(&NameRef(b)));
            for (place, name) in names.iter().enumerate() {
                let is_below = |other: &String| NameRef(other).is_below(NameRef(name));
                let following = names[place + 1..].iter().skip_while(|other| *other == name).take_while(|other| is_below(other)).count();
                prop_assert_eq!(following, names.iter().filter(|other| is_below(other)).count(), "{} in {:?}", name, names);
            }
        }
    }
}
