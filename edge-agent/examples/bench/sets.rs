//! Policy sets of every size: the shipped ones, countries, many rules, many devices. As YAML where that can say it, so that the agent's
//! whole way is taken.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use edge_agent::config::{AlwaysAllow, SourceFiles};
use edge_agent::policy::compile::{Compiled, compile};
use edge_agent::policy::load::{load, today};
use edge_agent::policy::model::{
    Action, AddressSet, Destination, DestinationId, DeviceSelector, Direction, Domains, Expr, Group, GroupId, Mode, PolicyId, PolicyInfo,
    Ranges, RemoteSelector, Resolved, Rule, ServiceMatch, Signal, SignalId,
};
use edge_agent::policy::resolve::resolve;
use edge_agent::sources::Sources;
use edge_ebpf::packet::Mac;
use jiff::Timestamp;
use xtask::command::workspace;

/// A device and servers that the shipped policies know: frames to one are dropped, to the other passed.
pub const PHONE: Mac = Mac(0x6409_8000_0001);
pub const BANNED: Ipv4Addr = Ipv4Addr::new(42, 62, 48, 7);
pub const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

/// Policies in a folder of their own.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new(yaml: &str) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder for policies")?;
        std::fs::write(folder.path().join("bench.yaml"), yaml).context("cannot write a policy")?;
        Ok(Self(folder))
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }
}

pub fn shipped_folder() -> PathBuf {
    workspace().join("policies")
}

/// Reads policies and their sources.
pub fn resolved(folders: &[PathBuf]) -> Result<Resolved> {
    let mut sources = Sources::new(SourceFiles::default());
    let resolution = resolve(load(folders, today()), &AlwaysAllow::default(), &[], &mut sources)
        .map_err(|problems| anyhow!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
    Ok(resolution.resolved)
}

pub fn compiled(folders: &[PathBuf]) -> Result<Compiled> {
    Ok(compile(&resolved(folders)?, Timestamp::now())?)
}

/// A destination and a rule for each of these countries.
pub fn countries_yaml(codes: &[String]) -> String {
    let mut yaml = head("countries", 100);
    yaml += "  destinations:\n";
    for code in codes {
        let _ = writeln!(yaml, "    to-{}: {{countries: [\"{code}\"]}}", code.to_lowercase());
    }
    yaml += "  rules:\n";
    for code in codes {
        let code = code.to_lowercase();
        let _ = writeln!(yaml, "    - {{id: no-{code}, from: all, to: to-{code}, action: drop}}");
    }
    yaml
}

/// Ten groups of a thousand devices each, and every feature beside the shipped policies: MACs, port ranges, a rule that only monitors, at all
/// hours of a schedule; for each group a rule at night, for some a rate; and an inbound rule.
pub fn many_devices_yaml(devices: &[Mac]) -> String {
    let mut yaml = head("devices", 50);
    yaml += "  devices:\n";
    for (group, macs) in devices.chunks(1000).enumerate() {
        let macs: Vec<String> = macs.iter().map(|mac| format!("\"{}\"", text(*mac))).collect();
        let _ = writeln!(yaml, "    group-{group}: {{any: [{{mac: [{}]}}]}}", macs.join(", "));
    }
    yaml += "  destinations:\n    test-net: {prefixes: [203.0.113.0/24]}\n  rules:\n";
    yaml += "    - {id: watch, from: all, services: [tcp/400-500], action: monitor, when: {days: mon-sun, timezone: Asia/Kolkata}}\n";
    yaml += "    - {id: no-scans, from: all, to: test-net, services: [tcp/1-1023], action: drop, direction: inbound}\n";
    for group in 0..devices.len().div_ceil(1000) {
        let night = "when: {days: mon-fri, hours: \"22:00-06:00\", timezone: Europe/Berlin}";
        let _ =
            writeln!(yaml, "    - {{id: no-{group}, from: group-{group}, to: test-net, services: [tcp/80-90], action: reject, {night}}}");
        if group % 3 == 0 {
            let rate = "action: rate_limit, rate: {packets_per_second: 100, burst: 200}";
            let _ = writeln!(yaml, "    - {{id: slow-{group}, from: group-{group}, to: test-net, services: [udp/1024-65535], {rate}}}");
        }
    }
    yaml
}

pub fn head(name: &str, priority: u32) -> String {
    format!(
        "apiVersion: edge/v1\nkind: Policy\nmetadata: {{name: bench-{name}, title: Measured only, severity: low}}\n\
         spec:\n  mode: enforce\n  priority: {priority}\n"
    )
}

pub fn text(mac: Mac) -> String {
    mac.octets().map(|octet| format!("{octet:02x}")).join(":")
}

/// Every country of the data.
pub fn codes() -> Result<Vec<String>> {
    let SourceFiles { countries_v4, countries_v6, .. } = SourceFiles::default();
    let mut codes = BTreeSet::new();
    for path in [countries_v4, countries_v6] {
        codes.extend(codes_of(&path)?);
    }
    Ok(codes.into_iter().collect())
}

fn codes_of(path: &Path) -> Result<HashSet<String>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let code = |line: &str| line.trim().rsplit_once(',').map(|(_, code)| code.to_owned());
    Ok(text.lines().filter_map(code).filter(|code| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase())).collect())
}

/// The addresses of these countries.
pub fn addresses(codes: &[String]) -> Result<Vec<Arc<AddressSet>>> {
    let mut sources = Sources::new(SourceFiles::default());
    let countries = sources.countries()?;
    codes.iter().map(|code| countries.addresses(code).with_context(|| format!("the data has no country {code}"))).collect()
}

/// Prefixes, as (length, address), that together are a range of numbers of `bits` bits.
pub fn prefixes(first: u128, last: u128, bits: u32) -> Vec<(u32, u128)> {
    let mut prefixes = Vec::new();
    let mut at = first;
    loop {
        let mut size = at.trailing_zeros().min(bits);
        while size > 0 && (size == 128 || last - at < (1 << size) - 1) {
            size -= 1;
        }
        prefixes.push((bits - size, at));
        match at.checked_add(1 << size) {
            Some(next) if next <= last => at = next,
            _ => return prefixes,
        }
    }
}

/// `count` rules that drop what goes to an address of their own; [`BANNED`] is the last one's.
pub fn many_rules(count: u32) -> Result<Compiled> {
    let mut set = empty();
    for rule in 0..count {
        let address = if rule == count - 1 { BANNED } else { Ipv4Addr::from(0x0a00_0000 + rule * 7) };
        push_rule(&mut set, vec![DeviceSelector::All], address);
    }
    Ok(compile(&set, Timestamp::now())?)
}

/// Groups that share the devices between them, each with a rule that drops what goes to [`BANNED`].
pub fn device_groups(groups: u32, devices: &[Mac]) -> Result<Compiled> {
    let mut set = empty();
    for group in 0..groups {
        let macs = devices.iter().skip(group as usize).step_by(groups as usize).map(|mac| (mac.0, mac.0)).collect();
        set.signals.push(Signal::Mac(Arc::new(Ranges::new(macs))));
        set.groups.push(Group { policy: PolicyId(0), name: format!("group-{group}"), when: Expr::Signal(SignalId(group)) });
        push_rule(&mut set, vec![DeviceSelector::Group(GroupId(group))], BANNED);
    }
    Ok(compile(&set, Timestamp::now())?)
}

fn empty() -> Resolved {
    let policy = PolicyInfo {
        name: "bench".to_owned(),
        title: String::new(),
        severity: "low".to_owned(),
        mode: Mode::Enforce,
        priority: 100,
        built_in: false,
        expires: None,
    };
    Resolved { policies: vec![policy], ..Resolved::default() }
}

fn push_rule(set: &mut Resolved, from: Vec<DeviceSelector>, to: Ipv4Addr) {
    let number = set.rules.len() as u32;
    let v4 = Ranges::new(vec![(u32::from(to), u32::from(to))]);
    set.destinations.push(Destination {
        policy: PolicyId(0),
        name: format!("to-{number}"),
        sets: vec![Arc::new(AddressSet { v4, v6: Ranges::default() })],
        domains: Domains::default(),
    });
    set.rules.push(Rule {
        policy: PolicyId(0),
        id: format!("rule-{number}"),
        from,
        to: vec![RemoteSelector::Destination(DestinationId(number))],
        services: vec![ServiceMatch::Any],
        action: Action::Drop,
        direction: Direction::Outbound,
        when: None,
        monitored: false,
        report: true,
    });
}

/// Devices of five hundred vendors.
pub fn random_macs(count: usize) -> Vec<Mac> {
    let mut random = Random(7);
    let vendors: Vec<u64> = (0..500).map(|_| (random.next() & 0xfc_ffff) << 24).collect();
    let mut macs = BTreeSet::new();
    while macs.len() < count {
        let vendor = vendors[random.next() as usize % vendors.len()];
        macs.insert(vendor | (random.next() & 0xff_ffff));
    }
    // Out of their order, or equal neighbours would share cache lines.
    let mut macs: Vec<Mac> = macs.into_iter().map(Mac).collect();
    for index in (1..macs.len()).rev() {
        macs.swap(index, random.next() as usize % (index + 1));
    }
    macs
}

/// Devices of the phone's vendor.
pub fn phones(count: u64) -> Vec<Mac> {
    let mut random = Random(11);
    let mut macs = BTreeSet::new();
    while (macs.len() as u64) < count {
        macs.insert((PHONE.0 & !0xff_ffff) | (random.next() & 0xff_ffff));
    }
    macs.into_iter().map(Mac).collect()
}

/// splitmix64 (Steele, Lea, Flood 2014): the same numbers in every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
