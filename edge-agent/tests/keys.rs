//! The description of the keys (which is also the JSON Schema), the decoders and the complete examples have the same keys.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use edge_agent::config::{
    AgentConfig, AlwaysAllow, Conduct, IdentityConfig, IdentityFiles, Interfaces, Log, LogFormat, SourceFiles, SourceLimits, TableSizes,
    TimeToLive, XdpChoice, keys::AGENT,
};
use edge_agent::policy::expectation::Carried;
use edge_agent::policy::keys::POLICY;
use edge_agent::policy::model::{
    Action, Direction, Learned, Mode, OptionKind, PortProtocol, RateLimit, RateUnit, Schedule, Signal, TextKind,
};
use edge_agent::policy::problem::{Problems, Source};
use edge_agent::policy::schema::{Destination, DomainListFile, Expression, Group, Policy, Reference, Rule};
use edge_agent::policy::shape::{Object, Shape};
use edge_agent::policy::shown::Shown;
use edge_agent::policy::signature::{Pattern, Signature};
use edge_agent::policy::yaml::{self, Node};
use edge_agent::sources::domain_list::Format;
use edge_ebpf::abi::{DnsReject, OnUninspectable, Reason, Verdict};
use edge_ebpf::engine::Side;
use jiff::civil::date;

const AGENT_FILE: &str = "tests/data/complete/agent.yaml";
const POLICY_FILE: &str = "tests/data/complete/policy.yaml";
const NAMES_FILE: &str = "tests/data/complete/names.yaml";
const DEVICES_FILE: &str = "tests/data/complete/devices.yaml";

fn read(path: &str) -> Node {
    let source = Arc::new(Source { path: path.into(), text: std::fs::read_to_string(path).unwrap() });
    let mut problems = Problems::default();
    let mut documents = yaml::read(&source, &mut problems);
    assert!(problems.is_empty(), "{problems}");
    assert_eq!(documents.len(), 1);
    documents.remove(0)
}

/// All `object.key` of a description that the nodes at its places do not have.
fn unused(object: &'static Object, nodes: &[&Node], seen: &mut Vec<&'static str>, missing: &mut Vec<String>) {
    if seen.contains(&object.name) {
        return;
    }
    seen.push(object.name);
    for key in object.keys {
        let values: Vec<&Node> = nodes.iter().filter_map(|node| node.get(key.name)).collect();
        if values.is_empty() {
            missing.push(format!("{}.{}", object.name, key.name));
        }
        descend(key.shape, &values, seen, missing);
    }
}

fn descend(shape: &'static Shape, values: &[&Node], seen: &mut Vec<&'static str>, missing: &mut Vec<String>) {
    match shape {
        Shape::Text(_) | Shape::Word(_) | Shape::Bool | Shape::Integer(..) | Shape::IntegerOr(..) | Shape::OneOrManyLists(_) => {}
        Shape::OrNull(inner) => descend(inner, values, seen, missing),
        Shape::List(_, inner) | Shape::OneOrMany(inner) => {
            descend(inner, &values.iter().flat_map(|value| value.items_or_self()).collect::<Vec<_>>(), seen, missing);
        }
        Shape::Named(inner) => {
            let values: Vec<&Node> = values.iter().flat_map(|value| value.entries()).map(|entry| &entry.value).collect();
            descend(inner, &values, seen, missing);
        }
        Shape::Object(inner) | Shape::ObjectOr(inner, _) => {
            let mut values = values.to_vec();
            // An expression holds expressions: its keys are spread over all depths.
            let mut index = 0;
            while inner.choice && index < values.len() {
                let nested = values[index].entries().iter().flat_map(|entry| entry.value.items_or_self());
                values.extend(nested.filter(|node| !node.entries().is_empty()).collect::<Vec<_>>());
                index += 1;
            }
            unused(inner, &values, seen, missing);
        }
    }
}

#[test]
fn the_complete_examples_have_every_key() {
    for (object, files) in [(&AGENT, &[AGENT_FILE][..]), (&POLICY, &[POLICY_FILE, NAMES_FILE, DEVICES_FILE])] {
        let mut missing = Vec::new();
        let nodes: Vec<Node> = files.iter().map(|file| read(file)).collect();
        unused(object, &nodes.iter().collect::<Vec<_>>(), &mut Vec::new(), &mut missing);
        // One kind of country files excludes the other.
        missing.retain(|key| key != "countries.mmdb");
        assert!(missing.is_empty(), "{files:?} lack {missing:?}");
    }
}

/// With the test above: a key that is described but not decoded leaves its default here.
#[test]
fn every_key_of_the_agent_is_decoded() {
    let AgentConfig {
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
    } = AgentConfig::read(Path::new(AGENT_FILE)).unwrap();
    let folder = Path::new("tests/data/complete");
    assert_eq!(interfaces, Interfaces { inside: vec!["lan0".into(), "lan1".into()], outside: vec!["wan0".into()] });
    assert_eq!(xdp, XdpChoice::NativeOrGeneric);
    assert_eq!(policies, folder.join("policies"));
    assert_eq!(metrics_listen, "[::1]:9651".parse().unwrap());
    assert_eq!(control_socket, PathBuf::from("/run/other.sock"));
    assert_eq!(log, Log { format: LogFormat::Json, level: tracing::Level::DEBUG });
    assert_eq!(pins, PathBuf::from("/sys/fs/bpf/other"));
    assert_eq!(state_directory, PathBuf::from("/var/lib/other"));
    let max_age = Some(std::time::Duration::from_secs(30 * 86_400));
    assert_eq!(source_limits, SourceLimits { max_shrink: "20%".parse().unwrap(), max_age });
    let file = |name| Some(folder.join(name));
    let files = IdentityFiles { p0f: file("p0f.fp"), satori: file("dhcp.xml"), fingerprints: file("measured.yaml") };
    let expected = SourceFiles {
        vendors: vec![folder.join("oui.csv")],
        countries_v4: folder.join("geoip"),
        countries_v6: folder.join("geoip6"),
        countries_mmdb: None,
        asns: Some(folder.join("asns.mmdb")),
        services: folder.join("services"),
    };
    assert_eq!(sources, expected);
    let AlwaysAllow { prefixes, services, macs } = always_allow;
    assert_eq!(prefixes.iter().map(|entry| entry.text.as_str()).collect::<Vec<_>>(), ["192.0.2.0/24"]);
    assert_eq!(services.iter().map(|entry| entry.text.as_str()).collect::<Vec<_>>(), ["udp/53", "domain"]);
    assert_eq!(macs.iter().map(|entry| entry.text.as_str()).collect::<Vec<_>>(), ["02:00:5e:00:53:01"]);
    let Conduct { on_uninspectable, dns_reject, learned, observes } = conduct;
    for (index, reason) in Reason::ALL.into_iter().enumerate() {
        let expected = match reason {
            Reason::Quic => OnUninspectable::Inspect,
            Reason::Ech => OnUninspectable::Pass,
            Reason::HttpsRecord => OnUninspectable::DropIfRuleCouldMatch,
            _ if index % 2 == 0 => OnUninspectable::Pass,
            _ => OnUninspectable::Drop,
        };
        assert_eq!(on_uninspectable[reason as usize], expected, "{}", reason.name());
    }
    assert_eq!((dns_reject, learned), (DnsReject::NullAddress, TimeToLive { min: 60, max: 86_400 }));
    assert_eq!(tables, TableSizes { learned: 1024, flows: 4096, devices: 2048 });
    assert!(!observes && AgentConfig::default().conduct.observes);
    assert_eq!(identity, IdentityConfig { files, remember: 604_800, inventory: Some(folder.join("inventory.csv")) });
}

#[test]
fn each_way_with_hidden_names_is_two_verdicts() {
    use OnUninspectable::{DropIfRuleCouldMatch, Inspect, Pass};
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.yaml");
    let conduct = |names: &str| {
        std::fs::write(&file, format!("interfaces: {{inside: [lan0]}}\nnames: {names}\n")).unwrap();
        AgentConfig::read(&file).unwrap().conduct
    };
    for (word, expected) in [("block", DropIfRuleCouldMatch), ("pass", Pass), ("inspect", Inspect)] {
        assert_eq!(conduct(&format!("{{quic: {word}}}")).on_uninspectable[Reason::Quic as usize], expected, "{word}");
    }
    for (word, expected) in [("pass", [Pass, Pass]), ("strip", [Pass, DropIfRuleCouldMatch]), ("block", [DropIfRuleCouldMatch, Pass])] {
        let verdicts = conduct(&format!("{{ech: {word}}}")).on_uninspectable;
        assert_eq!([Reason::Ech, Reason::HttpsRecord].map(|reason| verdicts[reason as usize]), expected, "{word}");
    }
    for (word, expected) in [("nxdomain", DnsReject::NxDomain), ("refused", DnsReject::Refused), ("null_address", DnsReject::NullAddress)] {
        assert_eq!(conduct(&format!("{{dns_reject: {word}}}")).dns_reject, expected);
    }
}

#[test]
fn countries_may_come_from_an_mmdb_file_instead() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.yaml");
    std::fs::write(&file, "interfaces: {inside: [lan0]}\nsources: {countries: {mmdb: c.mmdb}, vendors: [oui.csv]}\n").unwrap();
    let AgentConfig { sources, .. } = AgentConfig::read(&file).unwrap();
    let paths: Vec<_> = sources.paths().collect();
    let expected = [folder.path().join("oui.csv"), folder.path().join("c.mmdb"), PathBuf::from("/etc/services")];
    assert_eq!(paths, expected, "those of the text form are not read");
}

#[test]
fn every_key_of_a_policy_is_decoded() {
    let mut problems = Problems::default();
    let policy = Policy::decode(&read(POLICY_FILE), &mut problems).unwrap();
    assert!(problems.is_empty(), "{problems}");
    let Policy {
        name,
        title,
        severity,
        issued,
        expires,
        review_by,
        stop_by,
        references,
        mode,
        priority,
        groups,
        destinations,
        signatures,
        rules,
        tests,
    } = policy;
    assert!(signatures.is_empty(), "those are in the other file");
    assert_eq!((name.value.as_str(), title.as_str(), severity.as_str()), ("complete", "All keys", "critical"));
    assert_eq!((issued.unwrap().value, expires.unwrap().value), (date(2025, 1, 2), date(2027, 1, 2)));
    assert_eq!((review_by.unwrap().value, stop_by.unwrap().value), (date(2026, 12, 1), date(2025, 6, 1)));
    let reference = Reference { title: "An order".into(), date: Some(date(2025, 1, 1)), url: Some("https://example.com/order".into()) };
    assert_eq!(references, [reference]);
    assert_eq!((mode, priority), (Mode::Monitor, 7));
    let [Group { name, when: Expression::Any(parts) }] = groups.as_slice() else { panic!("{groups:?}") };
    let [Expression::Vendor(vendors), Expression::All(both)] = parts.as_slice() else { panic!("{parts:?}") };
    let [Expression::Mac(macs), Expression::Not(_)] = both.as_slice() else { panic!("{both:?}") };
    assert_eq!((name.value.as_str(), vendors[0].value.as_str()), ("phones", "Xiaomi"));
    assert_eq!(macs[0].range(), (0x0200_0000_0000, 0x0200_ffff_ffff));
    let [Destination { name, prefixes, prefix_lists, countries, asns, domains, domain_lists, learned }] = destinations.as_slice() else {
        panic!("{destinations:?}")
    };
    assert!(domains.is_empty() && domain_lists.is_empty() && *learned == Learned::Enforce, "those are in the other file");
    assert_eq!((name.value.as_str(), prefixes.len(), countries[0].value.as_str()), ("servers", 1, "CN"));
    assert_eq!(asns.iter().map(|asn| asn.value).collect::<Vec<_>>(), [4134, 13_335]);
    assert_eq!(prefix_lists[0].value, PathBuf::from("tests/data/complete/../lists/good.txt"));
    let [Rule { id, from, to, services, direction, when, action }, ..] = rules.as_slice() else { panic!("{rules:?}") };
    assert!(direction.is_none() && when.is_none());
    assert_eq!((id.value.as_str(), from.len(), to.len(), services.len(), *action), ("no-web", 2, 1, 2, Action::Reject));
    let [ping, slow_nights, slow] = &rules[1..] else { panic!("{rules:?}") };
    assert_eq!(ping.services.len(), 1);
    assert_eq!(slow_nights.direction.as_ref().unwrap().value, Direction::Both);
    let timezone = jiff::tz::TimeZone::get("Asia/Kolkata").unwrap();
    let days = [true, false, false, false, true, true, false];
    assert_eq!(*slow_nights.when.as_ref().unwrap(), Schedule { days, from: 22 * 60, to: 6 * 60 + 30, timezone });
    assert_eq!(slow_nights.action, Action::RateLimit(RateLimit { unit: RateUnit::Packets, per_second: 10, burst: 20 }));
    assert_eq!(
        slow.action,
        Action::RateLimit(RateLimit { unit: RateUnit::Bytes, per_second: 64_000, burst: 64_000 }),
        "one second's worth"
    );
    let names = Policy::decode(&read(NAMES_FILE), &mut problems).unwrap();
    assert!(problems.is_empty(), "{problems}");
    let [cloud, telemetry] = names.destinations.as_slice() else { panic!("{:?}", names.destinations) };
    assert_eq!(cloud.domains.iter().map(|domain| domain.value.to_string()).collect::<Vec<_>>(), ["xiaomi.com", "*.miui.com", "=a.example"]);
    let file = |path: &str, format| DomainListFile { path: Path::new("tests/data/complete").join(path), format };
    let lists: Vec<_> = cloud.domain_lists.iter().map(|list| list.value.clone()).collect();
    assert_eq!(lists, [file("../lists/names.txt", None), file("../lists/zone.rpz", Some(Format::Rpz))]);
    assert_eq!((cloud.learned, telemetry.learned), (Learned::Monitor, Learned::Off));
    let [Signature { name, protocol, ports, offset, bytes: Pattern(bytes) }] = names.signatures.as_slice() else {
        panic!("{:?}", names.signatures)
    };
    assert_eq!((name.value.as_str(), *protocol, *offset), ("vendor-push", PortProtocol::Tcp, 4));
    assert_eq!(ports.iter().copied().collect::<Vec<_>>(), [(5222, 5222), (8000, 8010)]);
    assert_eq!(bytes[..5], [Some(0xc2), Some(0xfe), Some(0), Some(5), None]);
    let [by_name, by_address, push, from_cloud] = names.tests.as_slice() else { panic!("{:?}", names.tests) };
    assert_eq!(by_name.carried, Carried::Name("api.xiaomi.com".parse().unwrap()));
    assert_eq!(by_name.destination, "203.0.113.1".parse::<std::net::IpAddr>().unwrap(), "one for documentation");
    assert_eq!(by_address.learned.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a.example", "xiaomi.com"]);
    assert_eq!(push.carried, Carried::Payload("00000000c2fe0005010203040002 0016".parse().unwrap()));
    assert_eq!(from_cloud.learned.iter().map(ToString::to_string).collect::<Vec<_>>(), ["xiaomi.com"]);
    let [test, inbound] = tests.as_slice() else { panic!("{tests:?}") };
    assert_eq!((test.side, test.at), (Side::Inside, None));
    assert_eq!((inbound.side, inbound.source), (Side::Outside, Some("192.0.2.1".parse().unwrap())));
    assert_eq!(inbound.at.unwrap(), "2026-10-24T17:30:00Z".parse().unwrap());
    assert_eq!((test.mac, test.source), ([0x64, 9, 0x80, 0, 0, 1], Some("10.0.0.7".parse().unwrap())));
    assert_eq!(inbound.expect.matches.as_ref().unwrap().len(), 0);
    assert_eq!((test.expect.verdict, inbound.expect.verdict), (Some(Verdict::Pass), None));
    assert_eq!(test.expect.monitored.as_ref().unwrap()[0].value.rule, "no-web");
    assert_eq!(test.expect.rule.as_ref().unwrap().value.policy.as_deref(), Some("always-allow"));
}

#[test]
fn every_key_of_device_groups_is_decoded() {
    let mut problems = Problems::default();
    let policy = Policy::decode(&read(DEVICES_FILE), &mut problems).unwrap();
    assert!(problems.is_empty(), "{problems}");
    let [Group { name: _, when: Expression::Any(parts) }] = policy.groups.as_slice() else { panic!("{:?}", policy.groups) };
    let [
        Expression::RandomMac(true),
        Expression::Shows(names),
        Expression::Shows(dhcp),
        Expression::Shows(dhcp6),
        Expression::Shows(syn),
        Expression::Shows(p0f),
        Expression::Shows(tls),
        Expression::Shows(http),
        Expression::Signature(one_port),
        Expression::Signature(many_ports),
    ] = parts.as_slice()
    else {
        panic!("{parts:?}")
    };
    assert!(matches!(&names[..], [Signal::Asked(names)] if names.len() == 1), "the second name is below the first");
    let globs = |signal: &Signal| match signal {
        Signal::Text(kind, globs) => (*kind, globs.iter().map(|glob| glob.0.clone()).collect::<Vec<_>>()),
        other => panic!("{other:?}"),
    };
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(globs(&dhcp[0]), (TextKind::DhcpVendorClass, texts(&["android-dhcp-*"])));
    assert_eq!(globs(&dhcp[1]), (TextKind::DhcpHostName, texts(&["poco*", "redmi*"])));
    assert_eq!(dhcp[2], Signal::Options(OptionKind::Dhcp, vec![vec![1, 3, 6, 15, 26, 28, 51, 58, 59, 43]]));
    assert_eq!(globs(&dhcp6[0]), (TextKind::Dhcp6VendorClass, texts(&["android*"])));
    assert_eq!(globs(&dhcp6[1]), (TextKind::Dhcp6Name, texts(&["redmi-*"])));
    assert_eq!(dhcp6[2], Signal::Options(OptionKind::Dhcp6, vec![vec![23, 24], vec![24, 23]]));
    let shapes = |signals: &[Signal]| match signals {
        [Signal::Syn(shapes)] => shapes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(shapes(syn), ["4:64:*:*:65535,9:mss,sok,ts,nop,ws:df,id+:0"]);
    assert_eq!(shapes(p0f), ["4:64:0:*:mss*44,8:mss,sok,ts,nop,ws:df,id+:0"]);
    let [Signal::Hello(values)] = &tls[..] else { panic!("{tls:?}") };
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    assert_eq!(values, ["t13d1516h2_8daaf6152771_e5627efa2ab1", "t13d??????_*_e5627efa2ab1"]);
    assert_eq!(globs(&http[0]), (TextKind::UserAgent, texts(&["*miui*"])));
    assert_eq!((one_port.protocol, one_port.offset, one_port.bytes.0.len()), (PortProtocol::Tcp, 4, 12));
    assert_eq!(one_port.ports.iter().copied().collect::<Vec<_>>(), [(5222, 5222)]);
    assert_eq!(many_ports.ports.iter().copied().collect::<Vec<_>>(), [(5222, 5222), (8000, 8010)]);
    let [test] = policy.tests.as_slice() else { panic!("{:?}", policy.tests) };
    let [
        Shown::Name(name),
        Shown::Dhcp(dhcp),
        Shown::Dhcp6(dhcp6),
        Shown::Syn(syn),
        Shown::Hello(hello),
        Shown::UserAgent(agent),
        Shown::Payload { protocol: PortProtocol::Tcp, port: 5222, bytes },
    ] = test.shows.as_slice()
    else {
        panic!("{:?}", test.shows)
    };
    assert_eq!((name.to_string().as_str(), agent.as_str()), ("connect.rom.miui.com", "Mozilla/5.0 MIUI"));
    assert_eq!((dhcp.vendor_class.as_deref(), dhcp.host_name.as_deref()), (Some("android-dhcp-11"), Some("Redmi-Note")));
    assert_eq!((dhcp.parameters.as_slice(), dhcp6.parameters.as_slice()), (&[1, 3, 6][..], &[23, 24][..]));
    assert_eq!(syn.to_string(), "*:64:*:*:*,9:mss,sok,ts,nop,ws:*:*");
    assert_eq!((hello.version, hello.has_name, hello.ciphers.as_slice()), (0x0304, true, &[0x1301, 0x1302][..]));
    assert_eq!((hello.extensions.as_slice(), hello.algorithms.as_slice(), hello.alpn), (&[13][..], &[0x0403][..], Some(*b"h2")));
    assert_eq!(bytes[..], [0, 0, 0, 0, 0xc2, 0xfe, 0, 5]);
}
