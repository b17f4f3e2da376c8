//! What a set of policy files becomes: order, built-in rules, facts, and errors that only a whole set can have.

#[path = "mmdb/writer.rs"]
mod writer;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use edge_agent::config::{AgentConfig, AlwaysAllow, Interfaces, SourceFiles};
use edge_agent::policy::load::load;
use edge_agent::policy::model::{Action, Destination, DeviceSelector, Direction, RemoteSelector, Resolved};
use edge_agent::policy::problem::Problems;
use edge_agent::policy::resolve::{Resolution, resolve};
use edge_agent::sources::Sources;
use jiff::civil::date;

/// Rules that the agent has of its own, where it knows no address and no configuration.
const OWN_RULES: usize = 5;

fn files() -> SourceFiles {
    let data = Path::new("tests/data");
    SourceFiles {
        vendors: vec![data.join("oui.csv"), data.join("mam.csv")],
        countries_v4: data.join("geoip"),
        countries_v6: data.join("geoip6"),
        countries_mmdb: None,
        asns: None,
        services: data.join("services"),
    }
}

fn resolved(folder: &Path, allow: &AlwaysAllow, own: &[IpAddr], files: SourceFiles) -> Result<Resolution, Problems> {
    resolve(load(&[folder.to_owned()], date(2026, 1, 15)), allow, own, &mut Sources::new(files))
}

fn policy(name: &str, priority: u32, spec: &str) -> String {
    format!("apiVersion: edge/v1\nkind: Policy\nmetadata: {{name: {name}}}\nspec:\n  priority: {priority}\n{spec}")
}

fn rules(resolved: &Resolved) -> Vec<String> {
    resolved.rules.iter().map(|rule| format!("{}/{}", resolved.policies[rule.policy.index()].name, rule.id)).collect()
}

/// Of policies, not of the agent.
fn own_destinations(resolved: &Resolved) -> Vec<&Destination> {
    resolved.destinations.iter().filter(|destination| !resolved.policies[destination.policy.index()].built_in).collect()
}

#[test]
fn rules_stand_in_the_order_of_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let drop = |id: &str, port| format!("  rules: [{{id: {id}, from: all, services: tcp/{port}, action: drop}}]\n");
    fs::create_dir(folder.path().join("below")).unwrap();
    fs::create_dir(folder.path().join(".hidden")).unwrap();
    fs::write(folder.path().join("a.yaml"), policy("late", 200, &drop("x", 1)) + "---\n" + &policy("b", 100, &drop("y", 2))).unwrap();
    fs::write(folder.path().join("below/z.yml"), policy("a", 100, &drop("z", 3))).unwrap();
    fs::write(folder.path().join(".hidden/h.yaml"), "not: read").unwrap();
    fs::write(folder.path().join("notes.txt"), "not: read").unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("below/again")).unwrap();
    let resolution = resolved(folder.path(), &AlwaysAllow::default(), &[], files()).unwrap();
    assert!(resolution.warnings.is_empty(), "{}", resolution.warnings);
    let rules = rules(&resolution.resolved);
    assert!(rules[..OWN_RULES].iter().all(|rule| rule.starts_with("always-allow/")), "{rules:?}");
    assert_eq!(rules[OWN_RULES..], ["a/z", "b/y", "late/x"]);
}

#[test]
fn a_policy_ends_with_its_last_day_and_equal_schedules_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let head = "apiVersion: edge/v1\nkind: Policy\nmetadata: {name: p, expires: 2026-02-28, reviewBy: 2026-02-01, stopBy: 2026-01-20}\nspec:\n  rules:\n";
    let rules = [
        "{id: a, from: all, services: tcp/1, action: drop, when: {days: mon-fri}}",
        "{id: b, from: all, services: tcp/2, action: drop, when: {days: [mon, tue-thu, fri], hours: \"00:00-24:00\", timezone: UTC}}",
        "{id: c, from: all, services: tcp/3, action: drop, when: {days: mon-fri, timezone: Asia/Kolkata}, direction: inbound}",
        "{id: d, from: all, services: tcp/4, action: drop}",
    ];
    fs::write(folder.path().join("p.yaml"), rules.iter().fold(head.to_owned(), |text, rule| text + "    - " + rule + "\n")).unwrap();
    let mut loaded = load(&[folder.path().to_owned()], date(2026, 1, 15));
    loaded.check_interfaces(&Interfaces::default());
    assert!(loaded.problems().is_empty(), "without a configuration nothing is known of interfaces: {}", loaded.problems());
    loaded.check_interfaces(&Interfaces { inside: vec!["lan0".into()], outside: vec!["wan0".into()] });
    assert!(loaded.problems().is_empty(), "{}", loaded.problems());
    loaded.check_interfaces(&Interfaces { inside: vec!["lan0".into()], outside: vec![] });
    assert_eq!(loaded.problems().warnings(), 1);

    let resolution = resolve(loaded, &AlwaysAllow::default(), &[], &mut Sources::new(files())).unwrap();
    assert!(resolution.warnings.to_string().contains("the rule `c` sees no inbound packet"), "{}", resolution.warnings);
    let second = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second();
    let Resolved { policies, schedules, rules, .. } = &resolution.resolved;
    assert_eq!(policies.iter().map(|policy| policy.expires).collect::<Vec<_>>(), [None, Some(second("2026-03-01T00:00:00Z"))]);
    assert_eq!(resolution.reviews, [("p".to_owned(), second("2026-02-01T00:00:00Z"))].into());
    assert_eq!(resolution.deadlines, [("p".to_owned(), second("2026-01-20T00:00:00Z"))].into());
    let own: Vec<_> = rules[OWN_RULES..].iter().map(|rule| (rule.when.map(|when| when.0), rule.direction)).collect();
    let outbound = Direction::Outbound;
    assert_eq!(own, [(Some(0), outbound), (Some(0), outbound), (Some(1), Direction::Inbound), (None, outbound)]);
    assert_eq!(schedules.len(), 2);
}

#[test]
fn what_is_always_allowed_goes_first_and_is_not_reported() {
    let config = AgentConfig::read(Path::new("tests/data/complete/agent.yaml")).unwrap();
    let own: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    let folder = tempfile::tempdir().unwrap();
    let asns = folder.path().join("asns.mmdb");
    fs::write(&asns, writer::mmdb(&[("1.0.1.0/24", writer::asn(4134)), ("104.16.0.0/13", writer::asn(13_335))])).unwrap();
    let files = SourceFiles { asns: Some(asns), ..files() };
    let resolution = resolved(Path::new("tests/data/complete/policy.yaml"), &config.always_allow, &own, files).unwrap();
    assert_eq!(resolution.summary().mac_prefixes, 5, "three of Xiaomi and two written; not the one that is always allowed");
    let Resolution { resolved, tests, .. } = resolution;
    let expected = [
        "always-allow/dhcp",
        "always-allow/dhcpv6",
        "always-allow/dhcp-answers",
        "always-allow/dhcpv6-answers",
        "always-allow/neighbour-discovery",
        "always-allow/ssh-to-gateway",
        "always-allow/prefix:192.0.2.0/24",
        "always-allow/service:udp/53",
        "always-allow/service:domain",
        "always-allow/mac:02:00:5e:00:53:01",
        "complete/no-web",
        "complete/ping",
        "complete/slow-nights",
        "complete/slow",
    ];
    assert_eq!(rules(&resolved), expected);
    let (always, [no_web, ping, ..]) = resolved.rules.split_at(OWN_RULES + 5) else { panic!("four rules of the policy") };
    for rule in always {
        assert!(resolved.policies[rule.policy.index()].built_in && rule.action == Action::Pass && !rule.report && !rule.monitored);
    }
    let RemoteSelector::Destination(ssh) = always[OWN_RULES].to[0] else { panic!("SSH is allowed to everywhere") };
    let set = &resolved.destinations[ssh.index()].sets[0];
    assert_eq!((set.v4.iter().copied().collect::<Vec<_>>(), set.v6.len()), (vec![(0xc000_0201, 0xc000_0201)], 1));
    assert_eq!(always[OWN_RULES + 3].services.len(), 2, "`domain` is TCP and UDP");
    assert!(no_web.monitored && no_web.report, "the policy only monitors");
    assert!(ping.monitored && !ping.report, "a pass rule is not reported");
    assert_eq!(no_web.services.len(), 3, "tcp/80, and `https` by TCP and UDP");
    let [DeviceSelector::Group(phones), DeviceSelector::Unknown] = no_web.from[..] else { panic!("{:?}", no_web.from) };
    let holds = |mac| {
        resolved.groups[phones.index()].when.holds(&|signal| {
            let ranges = resolved.signals[signal.index()].macs().expect("a signal of MACs");
            ranges.contains(mac)
        })
    };
    for (mac, expected) in [(0x6409_8000_0001u64, true), (0xec41_18ff_ffff, true), (0x0200_0000_0007, true), (0x0200_5e00_5309, false)] {
        assert_eq!(holds(mac), expected, "{mac:012x}");
    }
    assert_eq!(tests.len(), 2);
    assert_eq!(tests[0].rule(&tests[0].test.expect.monitored.as_ref().unwrap()[0].value), ("complete", "no-web"));
}

#[test]
fn a_country_that_two_policies_name_is_one_set() {
    let folder = tempfile::tempdir().unwrap();
    let spec = |port| {
        format!("  destinations: {{x: {{countries: [CN]}}}}\n  rules: [{{id: r, from: all, to: x, services: tcp/{port}, action: drop}}]\n")
    };
    fs::write(folder.path().join("a.yaml"), policy("a", 1, &spec(1)) + "---\n" + &policy("b", 2, &spec(2))).unwrap();
    let resolution = resolved(folder.path(), &AlwaysAllow::default(), &[], files()).unwrap();
    let [a, b] = &own_destinations(&resolution.resolved)[..] else { panic!("two destinations") };
    assert!(std::sync::Arc::ptr_eq(&a.sets[0], &b.sets[0]));
    let summary = resolution.summary();
    assert_eq!((summary.policies, summary.rules, summary.ipv4_prefixes, summary.ipv6_prefixes), (2, 2, 2, 1));
    assert_eq!(resolution.sources.iter().map(|file| file.entries).collect::<Vec<_>>(), [6, 3], "only what was needed was read");
}

#[test]
fn a_source_is_read_again_when_its_file_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list.txt");
    let spec = "  destinations: {x: {prefix_lists: [list.txt]}}\n  rules: [{id: r, from: all, to: x, action: drop}]\n";
    fs::write(folder.path().join("a.yaml"), policy("a", 1, spec)).unwrap();
    let mut sources = Sources::new(files());
    let mut set = || {
        let loaded = load(&[folder.path().to_owned()], date(2026, 1, 15));
        let resolution = resolve(loaded, &AlwaysAllow::default(), &[], &mut sources).unwrap();
        own_destinations(&resolution.resolved)[0].sets[0].clone()
    };
    fs::write(&list, "192.0.2.1\n").unwrap();
    let first = set();
    assert!(std::sync::Arc::ptr_eq(&first, &set()), "an unchanged list is shared");
    fs::write(&list, "192.0.2.1\n192.0.2.9\n").unwrap();
    assert_eq!(set().v4.len(), 2);
}

#[test]
fn a_missing_source_names_its_package_and_key_once() {
    let folder = tempfile::tempdir().unwrap();
    let spec = "  devices: {x: {vendor: [Xiaomi, Google]}}\n  destinations: {x: {countries: [CN, AU]}}\n  \
                rules: [{id: r, from: x, to: x, services: [https, domain], action: drop}]\n";
    fs::write(folder.path().join("a.yaml"), policy("a", 1, spec)).unwrap();
    let nowhere = |name: &str| PathBuf::from("/nonexistent").join(name);
    let missing = SourceFiles {
        vendors: vec![nowhere("oui.csv")],
        countries_v4: nowhere("geoip"),
        countries_v6: nowhere("geoip6"),
        countries_mmdb: None,
        asns: None,
        services: nowhere("services"),
    };
    let problems = resolved(folder.path(), &AlwaysAllow::default(), &[], missing).unwrap_err();
    let hints: Vec<_> = problems.iter().map(|problem| (problem.message.clone(), problem.hint.clone().unwrap())).collect();
    assert_eq!(hints.len(), 3, "{problems}");
    for (path, package, key) in [
        ("/nonexistent/oui.csv", "ieee-data", "sources.vendors"),
        ("/nonexistent/geoip", "tor-geoipdb", "sources.countries"),
        ("/nonexistent/services", "netbase", "sources.services"),
    ] {
        let named = |(message, hint): &(String, String)| message.contains(path) && hint.contains(package) && hint.contains(key);
        assert!(hints.iter().any(named), "{path}: {problems}");
    }
}

#[test]
fn up_to_1024_rules_are_one_set() {
    let folder = tempfile::tempdir().unwrap();
    let write = |count: usize| {
        let rules: String =
            (1..=count).map(|port| format!("    - {{id: r{port}, from: all, services: tcp/{port}, action: drop}}\n")).collect();
        fs::write(folder.path().join("a.yaml"), policy("a", 1, &format!("  rules:\n{rules}"))).unwrap();
    };
    write(1024 - OWN_RULES);
    assert_eq!(resolved(folder.path(), &AlwaysAllow::default(), &[], files()).unwrap().resolved.rules.len(), 1024);
    write(1024 - OWN_RULES + 2);
    let problems = resolved(folder.path(), &AlwaysAllow::default(), &[], files()).unwrap_err();
    let problem = problems.iter().next().unwrap();
    assert_eq!(problem.message, "this is the first of 2 rules too many: one set has up to 1024");
    assert_eq!(problem.place.line, 6 + 1024 - OWN_RULES + 1);
}

#[test]
fn policies_that_cannot_be_read_are_problems() {
    let folder = tempfile::tempdir().unwrap();
    let problems = resolved(&folder.path().join("nowhere"), &AlwaysAllow::default(), &[], files()).unwrap_err();
    assert!(problems.to_string().contains("policies cannot be read: No such file or directory"), "{problems}");
    let empty = resolved(folder.path(), &AlwaysAllow::default(), &[], files()).unwrap();
    assert!(empty.warnings.to_string().contains("no policy in this folder"), "{}", empty.warnings);
    fs::write(folder.path().join("a.yaml"), b"\xff\xfe").unwrap();
    let problems = resolved(folder.path(), &AlwaysAllow::default(), &[], files()).unwrap_err();
    assert!(problems.to_string().contains("a.yaml"), "{problems}");
}

#[test]
fn the_shipped_policies_are_correct() {
    let resolution = resolved(Path::new("../policies"), &AlwaysAllow::default(), &[], files()).unwrap();
    assert!(resolution.warnings.is_empty(), "{}", resolution.warnings);
    assert!(resolution.resolved.policies.iter().any(|policy| policy.name == "iaf-2014"));
    assert!(resolution.tests.len() >= 110);
}
