//! The agent's own configuration, `agent.yaml`.
//!
//! Paths in it are relative to the file, unless absolute.

mod conduct;
mod identity;
pub mod keys;
mod limits;
mod names;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use edge_ebpf::abi::{MAX_INTERFACES, OnUninspectable, Reason};

pub use self::conduct::{Conduct, TimeToLive};
pub use self::identity::{IdentityConfig, IdentityFiles};
use self::limits::Days;
pub use self::limits::{Share, SourceLimits};
pub use self::names::TableSizes;
use crate::policy::address::AddressRange;
use crate::policy::mac::MacPrefix;
use crate::policy::problem::{Fault, Place, Problems, Source};
use crate::policy::schema::{Placed, parsed};
use crate::policy::service::Service;
use crate::policy::shape::Shape;
use crate::policy::yaml::{self, Node};

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentConfig {
    pub interfaces: Interfaces,
    pub xdp: XdpChoice,
    /// Folder of the policies.
    pub policies: PathBuf,
    /// Where metrics and health are served.
    pub metrics_listen: SocketAddr,
    pub control_socket: PathBuf,
    pub log: Log,
    /// Folder of the pins, in a BPF file system.
    pub pins: PathBuf,
    /// Folder of what else outlives the agent.
    pub state_directory: PathBuf,
    pub sources: SourceFiles,
    pub source_limits: SourceLimits,
    pub always_allow: AlwaysAllow,
    pub conduct: Conduct,
    pub tables: TableSizes,
    pub identity: IdentityConfig,
}

/// Names of interfaces by role. No name stands twice.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Interfaces {
    pub inside: Vec<String>,
    pub outside: Vec<String>,
}

/// How the program may be attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum XdpChoice {
    Native,
    Generic,
    /// Generic where the driver cannot do native.
    NativeOrGeneric,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Log {
    pub format: LogFormat,
    pub level: tracing::Level,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    Text,
    Json,
}

/// Data files that policies refer to by country, vendor or service name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceFiles {
    pub vendors: Vec<PathBuf>,
    pub countries_v4: PathBuf,
    pub countries_v6: PathBuf,
    /// Instead of those two.
    pub countries_mmdb: Option<PathBuf>,
    pub asns: Option<PathBuf>,
    pub services: PathBuf,
}

/// What is passed before any policy is asked, each entry with the text that names its rule.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AlwaysAllow {
    pub prefixes: Vec<Allowed<AddressRange>>,
    pub services: Vec<Allowed<Service>>,
    pub macs: Vec<Allowed<MacPrefix>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Allowed<T> {
    /// As written, without blanks.
    pub text: String,
    pub value: Placed<T>,
}

/// A file without any key, so without interfaces.
impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            interfaces: Interfaces::default(),
            xdp: XdpChoice::Native,
            policies: "/etc/edge/policies".into(),
            metrics_listen: (Ipv4Addr::LOCALHOST, 9650).into(),
            control_socket: "/run/edge/agent.sock".into(),
            log: Log { format: LogFormat::Text, level: tracing::Level::INFO },
            pins: "/sys/fs/bpf/edge".into(),
            state_directory: "/var/lib/edge".into(),
            sources: SourceFiles::default(),
            source_limits: SourceLimits::default(),
            always_allow: AlwaysAllow::default(),
            conduct: Conduct { observes: true, ..Conduct::default() },
            tables: TableSizes::default(),
            identity: IdentityConfig::default(),
        }
    }
}

/// Where Debian's packages ieee-data, tor-geoipdb and netbase have them.
impl Default for SourceFiles {
    fn default() -> Self {
        Self {
            vendors: ["oui.csv", "mam.csv", "oui36.csv"].map(|name| Path::new("/usr/share/ieee-data").join(name)).into(),
            countries_v4: "/usr/share/tor/geoip".into(),
            countries_v6: "/usr/share/tor/geoip6".into(),
            countries_mmdb: None,
            asns: None,
            services: "/etc/services".into(),
        }
    }
}

impl SourceFiles {
    /// All files that are read if a policy needs them.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let Self { vendors, countries_v4, countries_v6, countries_mmdb, asns, services } = self;
        let countries = match countries_mmdb {
            Some(file) => vec![file],
            None => vec![countries_v4, countries_v6],
        };
        vendors.iter().chain(countries).chain(asns).chain([services]).map(PathBuf::as_path)
    }
}

impl AgentConfig {
    /// Reads `agent.yaml`.
    ///
    /// # Errors
    /// All that is wrong in it, or why it cannot be read.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let source = Arc::new(Source { path: path.to_owned(), text });
                let config = Self::parse(&source, &mut problems);
                problems.sort();
                if problems.is_empty() { Ok(config) } else { Err(problems) }
            }
            Err(error) => {
                problems
                    .error(&Place::file(path), format!("the agent's configuration cannot be read: {error}"))
                    .hint("write it (`edge-agent schema agent` lists its keys), or name another with --config");
                Err(problems)
            }
        }
    }

    fn parse(source: &Arc<Source>, problems: &mut Problems) -> Self {
        let documents = yaml::read(source, problems);
        match documents.as_slice() {
            [root] => {
                Shape::Object(&keys::AGENT).check(root, problems);
                Self::decode(root, problems)
            }
            [_, second, ..] => {
                problems.error(&second.place, "a second document in the agent's configuration").hint("remove the line `---` before it");
                Self::default()
            }
            // A syntax error has been reported.
            [] if !problems.is_empty() => Self::default(),
            [] => {
                problems
                    .error(&Place::file(&source.path), "the agent's configuration is empty")
                    .hint("it names at least the interfaces: `interfaces: {inside: [eth1], outside: [eth0]}`");
                Self::default()
            }
        }
    }

    fn decode(root: &Node, problems: &mut Problems) -> Self {
        let at = Decoder { root };
        let mut config = Self::default();
        let Self {
            interfaces,
            xdp,
            policies,
            metrics_listen,
            control_socket,
            log,
            pins,
            state_directory,
            sources,
            source_limits,
            always_allow,
            conduct,
            tables,
            identity,
        } = &mut config;
        *interfaces = decode_interfaces(&at, problems);
        match at.text("xdp.mode") {
            Some("generic") => *xdp = XdpChoice::Generic,
            Some("native_or_generic") => *xdp = XdpChoice::NativeOrGeneric,
            _ => {}
        }
        at.path("policies", policies);
        at.path("control.socket", control_socket);
        at.path("state.pins", pins);
        at.path("state.directory", state_directory);
        if let Some(node) = at.node("metrics.listen")
            && let Some(text) = node.text()
        {
            match text.parse() {
                Ok(address) => *metrics_listen = address,
                Err(_) => {
                    let message = format!("`{text}` is not an address and port");
                    problems.error(&node.place, message).hint("such as `127.0.0.1:9650` or `[::1]:9650`");
                }
            }
        }
        if at.text("log.format") == Some("json") {
            log.format = LogFormat::Json;
        }
        if let Some(level) = at.text("log.level").and_then(|level| level.parse().ok()) {
            log.level = level;
        }
        let SourceFiles { vendors, countries_v4, countries_v6, countries_mmdb, asns, services } = sources;
        if let Some(node) = at.node("sources.vendors") {
            *vendors = node.items().iter().filter_map(relative).collect();
        }
        at.path("sources.countries.ipv4", countries_v4);
        at.path("sources.countries.ipv6", countries_v6);
        *countries_mmdb = at.node("sources.countries.mmdb").and_then(relative);
        *asns = at.node("sources.asns").and_then(relative);
        if let (Some(mmdb), Some(text)) =
            (at.node("sources.countries.mmdb"), at.node("sources.countries.ipv4").or(at.node("sources.countries.ipv6")))
        {
            problems
                .error(&mmdb.place, "the countries of addresses come from two kinds of files")
                .related(&text.place, "the other is here")
                .hint("name either `mmdb`, or `ipv4` and `ipv6`");
        }
        at.path("sources.services", services);
        let SourceLimits { max_shrink, max_age } = source_limits;
        if let Some(share) = at.node("sources.max_shrink").and_then(|node| parsed(node, problems)) {
            *max_shrink = share.value;
        }
        match at.node("sources.max_age") {
            Some(node) if node.text() == Some("never") => *max_age = None,
            Some(node) => *max_age = parsed::<Days>(node, problems).map(|days| days.value.duration()),
            None => {}
        }
        *always_allow = AlwaysAllow {
            prefixes: allowed(at.node("always_allow.prefixes"), problems),
            services: allowed(at.node("always_allow.services"), problems),
            macs: allowed(at.node("always_allow.macs"), problems),
        };
        names::decode_names(&at, conduct, tables, problems);
        identity::decode_identity(&at, identity, conduct, tables, problems);
        for reason in Reason::ALL.into_iter().filter(|reason| !names::REASONS.contains(reason)) {
            match at.text(&format!("uninspectable.{}", reason.name())) {
                Some("pass") => conduct.on_uninspectable[reason as usize] = OnUninspectable::Pass,
                Some("drop") => conduct.on_uninspectable[reason as usize] = OnUninspectable::Drop,
                _ => {}
            }
        }
        config
    }
}

/// Values by the keys that lead to them.
struct Decoder<'a> {
    root: &'a Node,
}

impl<'a> Decoder<'a> {
    fn node(&self, keys: &str) -> Option<&'a Node> {
        keys.split('.').try_fold(self.root, |node, key| node.get(key))
    }

    fn text(&self, keys: &str) -> Option<&'a str> {
        self.node(keys)?.text()
    }

    fn path(&self, keys: &str, path: &mut PathBuf) {
        if let Some(given) = self.node(keys).and_then(relative) {
            *path = given;
        }
    }
}

/// A path, seen from the folder of the file that names it.
fn relative(node: &Node) -> Option<PathBuf> {
    Some(node.place.path().parent().unwrap_or(Path::new("")).join(node.text()?))
}

/// Entries of `always_allow`. Each becomes a rule that is named by its text, so none may stand twice.
fn allowed<T: FromStr<Err = Fault>>(list: Option<&Node>, problems: &mut Problems) -> Vec<Allowed<T>> {
    let mut entries: Vec<Allowed<T>> = Vec::new();
    for node in list.map(Node::items).unwrap_or_default() {
        let (Some(text), Some(value)) = (node.text(), parsed(node, problems)) else { continue };
        let text: String = text.split_whitespace().collect();
        if let Some(first) = entries.iter().find(|entry| entry.text == text) {
            problems
                .error(&node.place, format!("`{text}` stands here twice"))
                .related(&first.value.place, "the first is here")
                .hint("remove one of them");
        } else {
            entries.push(Allowed { text, value });
        }
    }
    entries
}

fn decode_interfaces(at: &Decoder<'_>, problems: &mut Problems) -> Interfaces {
    let mut seen: Vec<(&str, &Place)> = Vec::new();
    let mut role = |keys| -> Vec<String> {
        let mut names = Vec::new();
        for node in at.node(keys).map(Node::items).unwrap_or_default() {
            let Some(name) = node.text() else { continue };
            // dev_valid_name() of the kernel's net/core/dev.c; IFNAMSIZ is 16 with the final zero.
            if name.is_empty() || name.len() > 15 || name.contains(['/', ':']) || name.contains(char::is_whitespace) {
                problems.error(&node.place, format!("`{name}` cannot be an interface")).hint("names as in `ip link`, up to 15 bytes");
            } else if let Some((_, first)) = seen.iter().find(|(other, _)| *other == name) {
                let message = format!("the interface `{name}` stands here twice");
                problems.error(&node.place, message).related(first, "the first is here").hint("an interface has one role");
            } else {
                seen.push((name, &node.place));
                names.push(name.to_owned());
            }
        }
        names
    };
    let interfaces = Interfaces { inside: role("interfaces.inside"), outside: role("interfaces.outside") };
    if let Some((_, place)) = seen.get(MAX_INTERFACES) {
        problems.error(place, format!("more than {MAX_INTERFACES} interfaces")).hint("run a second agent in another network namespace");
    }
    interfaces
}
