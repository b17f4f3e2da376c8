//! A policy that catches one device: by the fewest facts that no other device in the table shows all of.

use std::collections::HashMap;
use std::fmt::Write;

use edge_ebpf::abi::identity::FactKind;
use edge_ebpf::identity::syn::{HEAD, at};
use edge_ebpf::packet::Mac;
use serde::{Deserialize, Serialize};

use super::devices::Devices;
use super::facts::{Fact, Facts};
use super::text::{kind_name, mac_text, name_text, numbers, shape, value_text};
use crate::policy::model::SynWindow;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Learned {
    pub mac: String,
    /// Other devices in the table.
    pub others: usize,
    /// The facts alone tell the device apart; else its MAC does.
    pub by_facts: bool,
    /// What policies can ask for, the least shared first.
    pub facts: Vec<LearnedFact>,
    /// YAML.
    pub policy: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LearnedFact {
    pub kind: String,
    pub value: String,
    /// Other devices that have shown it.
    pub shared_by: usize,
    /// The policy asks for it.
    pub chosen: bool,
}

/// A fact of the device as policies write it.
struct Candidate<'a> {
    fact: &'a Fact,
    yaml: String,
}

/// More facts than are kept of a device.
type Mask = u128;

impl Devices {
    /// `None`: nothing is known of the device.
    pub fn learn(&self, device: Mac) -> Option<Learned> {
        self.with_known(|known| {
            let facts = known.store.get(device)?;
            let others = known.store.iter().filter(|(mac, _)| *mac != device).map(|(_, facts)| facts);
            Some(learn(device, facts, others))
        })
    }
}

fn learn<'a>(device: Mac, facts: &Facts, others: impl Iterator<Item = &'a Facts>) -> Learned {
    let mut candidates: Vec<Candidate<'_>> = facts.iter().filter_map(|fact| Some(Candidate { fact, yaml: yaml(fact)? })).collect();
    candidates.sort_by_key(|candidate| preference(candidate.fact.kind));
    candidates.truncate(Mask::BITS as usize);
    // How many others show these of the device's facts.
    let mut shared: HashMap<Mask, usize> = HashMap::new();
    let mut count = 0;
    for other in others {
        count += 1;
        let bits = candidates.iter().enumerate().filter(|(_, candidate)| other.iter().any(|fact| is_shared(candidate.fact, fact)));
        *shared.entry(bits.fold(0, |mask, (bit, _)| mask | 1 << bit)).or_default() += 1;
    }
    let showing = |wanted: Mask| -> usize { shared.iter().filter(|(mask, _)| *mask & wanted == wanted).map(|(_, count)| count).sum() };
    let (mut chosen, mut left) = (0, count);
    // Also where there is no other device: a policy has to ask for something.
    while left > 0 || chosen == 0 {
        let next = (0..candidates.len()).map(|bit| (showing(chosen | 1 << bit), bit)).min();
        match next {
            Some((showing, bit)) if showing < left || chosen == 0 => (chosen, left) = (chosen | 1 << bit, showing),
            _ => break,
        }
    }
    let by_facts = left == 0 && chosen != 0;
    let is_chosen = |bit: usize| chosen >> bit & 1 != 0;
    let mut policy_facts: Vec<&str> = Vec::new();
    let mut listed: Vec<LearnedFact> = Vec::new();
    for (bit, Candidate { fact, yaml }) in candidates.iter().enumerate() {
        if is_chosen(bit) {
            policy_facts.push(yaml);
        }
        let (kind, value) = (kind_name(fact.kind).to_owned(), value_text(fact.kind, &fact.value));
        listed.push(LearnedFact { kind, value, shared_by: showing(1 << bit), chosen: is_chosen(bit) });
    }
    listed.sort_by_key(|fact| fact.shared_by);
    let policy = policy(device, &policy_facts, by_facts.then_some(count), left);
    Learned { mac: mac_text(device), others: count, by_facts, facts: listed, policy }
}

/// `others`: how many devices the facts tell it apart from; `None`: `left` devices show them too, so that the MAC is asked for.
fn policy(device: Mac, facts: &[&str], others: Option<usize>, left: usize) -> String {
    let mac = mac_text(device);
    let mut text = match others {
        Some(others) => format!("# Catches {mac}: none of the {others} other devices that are known shows all of this.\n"),
        None if facts.is_empty() => format!("# Catches {mac} by its MAC: nothing that it has shown can stand in a policy.\n"),
        None => format!("# Catches {mac} by its MAC: {left} other devices that are known show the same.\n"),
    };
    let name = mac.replace(':', "-");
    let head = format!("metadata: {{name: device-{name}, title: \"Device {mac}\"}}");
    // A policy that was made in a moment only watches, until somebody has looked at it.
    let _ = write!(text, "apiVersion: edge/v1\nkind: Policy\n{head}\nspec:\n  mode: monitor\n  devices:\n    device:\n      all:\n");
    if others.is_none() {
        let _ = writeln!(text, "        - mac: [\"{mac}\"]");
    }
    for fact in facts {
        let _ = writeln!(text, "        - {fact}");
    }
    text.push_str("  rules:\n    - {id: device, from: device, action: drop}\n");
    text
}

/// Of facts that tell equally much, the one that stays longest the same and is hardest to change unnoticed.
const fn preference(kind: FactKind) -> u8 {
    match kind {
        FactKind::DhcpHostName => 0,
        FactKind::Dhcp6Name => 1,
        FactKind::DhcpVendorClass => 2,
        FactKind::DhcpParameters => 3,
        FactKind::Dhcp6VendorClass => 4,
        FactKind::Dhcp6Options => 5,
        FactKind::TcpSyn => 6,
        FactKind::Hello => 7,
        FactKind::UserAgent => 8,
        FactKind::Announcement => 9,
    }
}

/// `None`: policies cannot ask for it.
fn yaml(fact: &Fact) -> Option<String> {
    let Fact { kind, value, seen: _ } = fact;
    let list = || numbers(*kind, value).iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Some(match kind {
        FactKind::DhcpParameters => format!("dhcp: {{params: [{}]}}", list()),
        FactKind::DhcpVendorClass => format!("dhcp: {{vendor_class: {}}}", quoted(value)?),
        FactKind::DhcpHostName => format!("dhcp: {{hostname: {}}}", quoted(value)?),
        FactKind::Dhcp6Options => format!("dhcp6: {{params: [{}]}}", list()),
        FactKind::Dhcp6VendorClass => format!("dhcp6: {{vendor_class: {}}}", quoted(value)?),
        // What is less than `-` is read as a dot.
        FactKind::Dhcp6Name => format!("dhcp6: {{hostname: {}}}", quoted(&name_text(value))?),
        FactKind::TcpSyn => format!("tcp_syn: \"{}\"", shape(value)?),
        FactKind::Hello => format!("tls: {{ja4: [{}]}}", value_text(*kind, value)),
        FactKind::UserAgent => format!("http: {{user_agent: {}}}", quoted(value)?),
        FactKind::Announcement => return None,
    })
}

/// A text in which every letter stands for itself.
fn quoted(value: &[u8]) -> Option<String> {
    let text = str::from_utf8(value).ok().filter(|text| !text.is_empty() && !text.chars().any(char::is_control))?;
    serde_json::to_string(text).ok()
}

/// Whether the pattern of the first fact holds for the second, too.
fn is_shared(fact: &Fact, other: &Fact) -> bool {
    if fact.kind != other.kind {
        return false;
    }
    match fact.kind {
        FactKind::TcpSyn => has_shape(&fact.value, &other.value),
        FactKind::DhcpParameters | FactKind::Dhcp6Options | FactKind::Hello => fact.value == other.value,
        _ => has_text(&fact.value.to_ascii_lowercase(), &other.value.to_ascii_lowercase()),
    }
}

/// A `*` in a text is any letters once it is in a policy.
fn has_text(glob: &[u8], text: &[u8]) -> bool {
    let mut parts = glob.split(|letter| *letter == b'*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let parts: Vec<&[u8]> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle.iter().filter(|part| !part.is_empty()) {
        match rest.windows(part.len()).position(|window| window == *part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn has_shape(value: &[u8], other: &[u8]) -> bool {
    let (Some(mut wanted), Some(mut found)) = (shape(value), shape(other)) else { return false };
    let (Some(head), window) = (other.first_chunk::<HEAD>(), std::mem::take(&mut wanted.window)) else { return false };
    found.window = SynWindow::Any;
    wanted == found
        && match window {
            SynWindow::OfMss(times) => head[at::OF_MSS] == times,
            SynWindow::OfMtu(times) => head[at::OF_MTU] == times,
            SynWindow::Exactly(window) => [head[at::WINDOW], head[at::WINDOW + 1]] == window.to_be_bytes(),
            SynWindow::Any | SynWindow::Multiple(_) => true,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AlwaysAllow, SourceFiles};
    use crate::policy::load::load;
    use crate::policy::resolve::resolve;
    use crate::sources::Sources;

    fn facts(shown: &[(FactKind, &[u8])]) -> Facts {
        let mut facts = Facts::at(1);
        for (kind, value) in shown {
            facts.note(*kind, (*value).into(), 1);
        }
        facts
    }

    const SHAPE: &[u8] = &[4, 64, 0, 5, 0xb4, 0xff, 0xff, 0, 0, 9, 0, 0, 3, 0, 5, 0, 2, 4, 8, 1, 3];
    const HELLO: &[u8] = b"t13d0201h2_1301,1302_000d_0403";

    fn of(device: &Facts, others: &[Facts]) -> Learned {
        let learned = learn(Mac(0x6409_8000_0001), device, others.iter());
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("p.yaml"), &learned.policy).expect("a file");
        let loaded = load(&[folder.path().to_owned()], jiff::civil::date(2026, 1, 1));
        if let Err(problems) = resolve(loaded, &AlwaysAllow::default(), &[], &mut Sources::new(SourceFiles::default())) {
            panic!("{}\n{problems}", learned.policy);
        }
        learned
    }

    fn chosen(learned: &Learned) -> Vec<&str> {
        learned.facts.iter().filter(|fact| fact.chosen).map(|fact| fact.kind.as_str()).collect()
    }

    #[test]
    fn the_fewest_facts_that_no_other_device_shows_together() {
        let (name, class): ((_, &[u8]), (_, &[u8])) = ((FactKind::DhcpHostName, b"Redmi"), (FactKind::DhcpVendorClass, b"android-dhcp-13"));
        let (syn, hello) = ((FactKind::TcpSyn, SHAPE), (FactKind::Hello, HELLO));
        let device = facts(&[name, class, syn, hello]);
        let learned = of(&device, &[facts(&[(FactKind::DhcpHostName, b"redmi"), syn]), facts(&[class, syn])]);
        assert_eq!((chosen(&learned), learned.by_facts), (vec!["ja4"], true), "{}", learned.policy);
        assert_eq!(learned.facts.iter().map(|fact| fact.shared_by).collect::<Vec<_>>(), [0, 1, 1, 2]);

        let learned = of(&device, &[facts(&[name, syn, hello]), facts(&[class, syn, hello])]);
        assert_eq!((chosen(&learned), learned.by_facts), (vec!["dhcp_hostname", "dhcp_vendor_class"], true), "{}", learned.policy);
        assert!(learned.policy.contains("- dhcp: {hostname: \"Redmi\"}\n"), "{}", learned.policy);

        let learned = of(&device, &[facts(&[name, class, syn, hello])]);
        assert!(!learned.by_facts && learned.policy.contains("- mac: [\"64:09:80:00:00:01\"]"), "{}", learned.policy);
        assert_eq!(chosen(&of(&device, &[])), ["dhcp_hostname"]);
        assert!(of(&facts(&[(FactKind::Announcement, b"mdns x")]), &[]).policy.contains("- mac:"));
    }

    #[test]
    fn every_kind_can_stand_in_a_policy() {
        for (kind, value) in [
            (FactKind::DhcpParameters, &[1, 3, 6][..]),
            (FactKind::DhcpVendorClass, b"a\"b: {c}*"),
            (FactKind::DhcpHostName, b"x"),
            (FactKind::Dhcp6Options, &[0, 23, 0, 24]),
            (FactKind::Dhcp6VendorClass, b"x y"),
            (FactKind::Dhcp6Name, b"\x05redmi\x03lan\0"),
            (FactKind::TcpSyn, SHAPE),
            (FactKind::UserAgent, b"Dalvik/2.1.0 (Linux; U; Android 13; 22101316G) MIUI/14"),
            (FactKind::Hello, HELLO),
        ] {
            assert!(of(&facts(&[(kind, value)]), &[facts(&[])]).by_facts, "{kind:?}");
        }
    }

    #[test]
    fn a_pattern_is_shared_by_what_it_holds_for() {
        for (glob, text, holds) in
            [("a", "a", true), ("a", "ab", false), ("a*", "ab", true), ("*b*d", "abcd", true), ("a*b", "ac", false), ("ab*b", "ab", false)]
        {
            assert_eq!(has_text(glob.as_bytes(), text.as_bytes()), holds, "{glob} {text}");
        }
        let mut other = SHAPE.to_vec();
        other[at::MSS] = 1;
        assert!(has_shape(SHAPE, &other));
        other[at::OF_MSS] = 3;
        assert!(has_shape(SHAPE, &other) && !has_shape(&other, SHAPE));
        other[at::TTL] = 128;
        assert!(!has_shape(SHAPE, &other));
    }
}
