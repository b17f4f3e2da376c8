//! Our own database, `policies/fingerprints/*.yaml`: its README has the format.

use std::path::Path;
use std::sync::Arc;

use super::{Entry, Trait, written};
use crate::identity::p0f;
use crate::policy::model::Glob;
use crate::policy::problem::{Problems, Source};
use crate::policy::shape::{Key, Object, Shape, Text};
use crate::policy::yaml::{self, Node};
use crate::sources::file::{self, Provenance, SourceError};

const WAY_OUT: &str = "see policies/fingerprints/README.md for the format, or leave `identity.fingerprints` in agent.yaml out";
const WHAT: &str = "fingerprints";

static FILE: Object = Object {
    name: "fingerprints",
    keys: &[
        Key::required("apiVersion", &Shape::Word(&["edge/v1"]), "edge/v1"),
        Key::required("kind", &Shape::Word(&["Fingerprints"]), "Fingerprints"),
        Key::required("fingerprints", &Shape::List(1, &Shape::Object(&ENTRY)), "what is known"),
    ],
    choice: false,
    later: &[],
};

static ENTRY: Object = Object {
    name: "fingerprint",
    keys: &[
        Key::optional("os", &NAME, "the system"),
        Key::optional("class", &NAME, "what kind of thing or program it is"),
        Key::optional("vendor", &NAME, "who makes it"),
        Key::required("source", &NAME, "where each of the traits was seen"),
        Key::optional("dhcp", &Shape::Object(&DHCP), "what its DHCP client says"),
        Key::optional("dhcp6", &Shape::Object(&DHCP6), "what its DHCPv6 client says"),
        Key::optional("tcp_syn", &Shape::OneOrMany(&SIGNATURE), "how it opens connections, as p0f writes it"),
        Key::optional("tls", &Shape::Object(&TLS), "how it says hello"),
        Key::optional("http", &Shape::Object(&HTTP), "what it says in requests"),
    ],
    choice: false,
    later: &[],
};

static DHCP: Object = Object {
    name: "fingerprint_dhcp",
    keys: &[
        Key::optional("params", &Shape::List(1, &Shape::List(1, &Shape::Integer(0, 255))), "lists of option 55"),
        Key::optional("vendor_class", &Shape::OneOrMany(&GLOB), "option 60"),
        Key::optional("hostname", &Shape::OneOrMany(&GLOB), "option 12"),
    ],
    choice: false,
    later: &[],
};

static DHCP6: Object = Object {
    name: "fingerprint_dhcp6",
    keys: &[
        Key::optional("params", &Shape::List(1, &Shape::List(1, &Shape::Integer(0, 65_535))), "lists of option 6"),
        Key::optional("vendor_class", &Shape::OneOrMany(&GLOB), "option 16"),
    ],
    choice: false,
    later: &[],
};

static TLS: Object =
    Object { name: "fingerprint_tls", keys: &[Key::required("ja4_r", &Shape::OneOrMany(&RAW), "raw JA4")], choice: false, later: &[] };

static HTTP: Object = Object {
    name: "fingerprint_http",
    keys: &[Key::required("user_agent", &Shape::OneOrMany(&GLOB), "the header's value")],
    choice: false,
    later: &[],
};

static NAME: Shape = Shape::Text(Text { what: "a text", pattern: "", example: "Linux" });
static GLOB: Shape = Shape::Text(Text { what: "a text, with * for any letters", pattern: "", example: "MSFT*" });
static SIGNATURE: Shape =
    Shape::Text(Text { what: "a signature of p0f", pattern: "", example: "*:64:0:*:mss*20,7:mss,sok,ts,nop,ws:df,id+:0" });
static RAW: Shape = Shape::Text(Text { what: "a raw JA4", pattern: "", example: "t12i010100_1301_000d_0403" });

pub fn read(path: &Path) -> Result<(Vec<Entry>, Provenance), SourceError> {
    let (bytes, mut provenance) = file::read(path, WHAT, WAY_OUT)?;
    let source = Arc::new(Source { path: path.to_owned(), text: String::from_utf8_lossy(&bytes).into_owned() });
    let mut problems = Problems::default();
    let documents = yaml::read(&source, &mut problems);
    let mut entries = Vec::new();
    for document in &documents {
        Shape::Object(&FILE).check(document, &mut problems);
        entries.extend(document.get("fingerprints").map(Node::items).unwrap_or_default().iter().map(|node| entry(node, &mut problems)));
    }
    problems.sort();
    if let Some(first) = problems.iter().next() {
        let problem = format!("line {}: {}", first.place.line, first.message);
        return Err(SourceError::Database { path: path.to_owned(), what: WHAT, problem, way_out: WAY_OUT });
    }
    provenance.entries = entries.len();
    Ok((entries, provenance))
}

fn entry(node: &Node, problems: &mut Problems) -> Entry {
    let before = problems.errors();
    let name = |key| node.get(key).and_then(Node::text).and_then(written);
    let values = |keys: [&str; 2]| {
        let value = node.get(keys[0]).and_then(|node| if keys[1].is_empty() { Some(node) } else { node.get(keys[1]) });
        value.map(Node::items_or_self).unwrap_or_default()
    };
    let globs = |keys| values(keys).iter().filter_map(Node::text).map(|text| Glob(text.to_owned()));
    let mut traits: Vec<Trait> = Vec::new();
    let numbers = |node: &Node| node.items().iter().filter_map(Node::integer).collect::<Vec<u16>>();
    traits.extend(
        values(["dhcp", "params"]).iter().map(|list| Trait::DhcpParams(numbers(list).iter().map(|number| *number as u8).collect())),
    );
    traits.extend(globs(["dhcp", "vendor_class"]).map(Trait::DhcpVendorClass));
    traits.extend(globs(["dhcp", "hostname"]).map(Trait::DhcpHostName));
    traits.extend(values(["dhcp6", "params"]).iter().map(|list| Trait::Dhcp6Params(numbers(list))));
    traits.extend(globs(["dhcp6", "vendor_class"]).map(Trait::Dhcp6VendorClass));
    traits.extend(globs(["http", "user_agent"]).map(Trait::UserAgent));
    for node in values(["tcp_syn", ""]) {
        match p0f::parse(node.text().unwrap_or_default()) {
            Ok(patterns) => traits.extend(patterns.into_iter().map(Trait::Syn)),
            Err(expected) => drop(problems.error(&node.place, format!("this is not {expected}"))),
        }
    }
    for node in values(["tls", "ja4_r"]) {
        match node.text().unwrap_or_default().parse() {
            Ok(ja4) => traits.push(Trait::Hello(ja4)),
            Err(error) => drop(problems.error(&node.place, format!("this is {error}"))),
        }
    }
    if traits.is_empty() && problems.errors() == before {
        problems.error(&node.place, "a fingerprint without any trait");
    }
    Entry { os: name("os"), class: name("class"), vendor: name("vendor"), generic: false, traits }
}
