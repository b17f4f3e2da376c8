use std::fs;

use edge_ebpf::abi::MAX_SIGNATURES;
use jiff::civil::date;

use super::super::{Resolution, resolve};
use crate::config::{AlwaysAllow, SourceFiles};
use crate::policy::load::load;
use crate::policy::model::{PortProtocol, ServiceMatch, Signature, SignatureId};
use crate::policy::problem::Problems;
use crate::sources::Sources;

/// Of policies with these `spec`s, where the services file has `https`.
fn resolved(specs: &[&str]) -> Result<Resolution, Problems> {
    let folder = tempfile::tempdir().expect("a folder");
    for (number, spec) in specs.iter().enumerate() {
        let text = format!("apiVersion: edge/v1\nkind: Policy\nmetadata: {{name: p{number}}}\nspec:\n{spec}");
        fs::write(folder.path().join(format!("{number}.yaml")), text).expect("a file");
    }
    let services = folder.path().join("services");
    fs::write(&services, "https 443/tcp\n").expect("a file");
    let mut sources = Sources::new(SourceFiles { services, ..SourceFiles::default() });
    resolve(load(&[folder.path().to_owned()], date(2026, 1, 15)), &AlwaysAllow::default(), &[], &mut sources)
}

fn messages(problems: &Problems) -> Vec<String> {
    problems.iter().map(|problem| format!("{}: {}", problem.place.key, problem.message)).collect()
}

#[test]
fn a_signature_is_a_service_of_its_policy_alone() {
    let one = r#"  services:
    push: {proto: tcp, ports: [5222, 8005-8010, 8000-8004], offset: 2, bytes: "c2fe ?? 16"}
    https: {proto: udp, bytes: "00"}
  rules: [{id: r, from: all, services: [push, https, tcp/80, tcp/https], action: drop}]
"#;
    let other = "  rules: [{id: r, from: all, services: https, action: pass}]\n";
    let resolution = resolved(&[one, other]).expect("right policies");
    assert_eq!(resolution.summary().signatures, 2);
    let Resolution { resolved, warnings, .. } = resolution;
    let [push, https] = resolved.signatures.as_slice() else { panic!("{:?}", resolved.signatures) };
    let Signature { policy, name, protocol, ports, offset, bytes } = push;
    assert_eq!((resolved.policies[policy.index()].name.as_str(), name.as_str(), *protocol, *offset), ("p0", "push", PortProtocol::Tcp, 2));
    assert_eq!(*ports, [(5222, 5222), (8000, 8010)], "ranges that touch are one");
    assert_eq!(*bytes, [Some(0xc2), Some(0xfe), None, Some(0x16)]);
    assert_eq!((https.protocol, &*https.ports), (PortProtocol::Udp, &[(0, u16::MAX)][..]));
    let [.., first, second] = resolved.rules.as_slice() else { panic!("two rules") };
    let port = |port| ServiceMatch::Ports { protocol: PortProtocol::Tcp, first: port, last: port };
    let own = [SignatureId(0), SignatureId(1)].map(ServiceMatch::Signature);
    assert_eq!(first.services, [own[0], own[1], port(80), port(443)]);
    assert_eq!(second.services, [port(443)], "another policy's is not known here");
    assert_eq!(messages(&warnings)[0], "spec.services.https: `https` is in the services file, too: in this policy it is this signature");
}

#[test]
fn signatures_of_all_policies_are_counted_by_ranges_of_ports() {
    let spec = |ranges: usize| {
        let ports: Vec<String> = (0..ranges).map(|range| (10 * range).to_string()).collect();
        let ports = ports.join(", ");
        format!(
            "  services: {{s: {{proto: tcp, ports: [{ports}], bytes: \"00\"}}}}\n  rules: [{{id: r, from: all, services: s, action: drop}}]\n"
        )
    };
    assert!(resolved(&[&spec(MAX_SIGNATURES - 1), &spec(1)]).is_ok());
    let problems = resolved(&[&spec(MAX_SIGNATURES - 1), &spec(2), &spec(1)]).expect_err("too many");
    let message = "spec.services.s: `s` is a signature too many: one set has up to 16, one for each range of ports";
    assert_eq!(messages(&problems), [message], "said once, at the first that does not fit");
}

#[test]
fn a_rule_hides_and_meets_others_by_signatures() {
    let rules = |first: &str, second: &str| {
        format!(
            "  services:
    push: {{proto: tcp, ports: [5222], bytes: \"c2fe\"}}
    longer: {{proto: tcp, ports: [5222], bytes: \"c2fe 05\"}}
    other: {{proto: tcp, ports: [5222-5230], bytes: \"ff\"}}
  rules:
    - {{id: first, from: all, services: [{first}], action: drop}}
    - {{id: second, from: all, services: [{second}], action: pass}}
"
        )
    };
    let hidden = "the rule `second` can never match: `p0/first` takes all its packets";
    let meets = "the rule `second` would pass what `p0/first` drops: tcp/5222";
    for (first, second, expected) in [
        ("tcp/5222", "push", hidden),
        ("tcp", "push, longer, other", hidden),
        ("push", "longer", hidden),
        ("push", "push", hidden),
        ("tcp/5222", "other", meets),
        ("longer, tcp/1", "push", meets),
        ("push, tcp/1", "tcp/5222", meets),
        ("push", "other", ""),
        ("udp, tcp/1-5221", "push", ""),
        // What is inside of a later rule is an exception from it.
        ("push", "tcp/5222", ""),
        ("longer", "push", ""),
        ("push", "any", ""),
    ] {
        let warnings = resolved(&[&rules(first, second)]).expect("right policies").warnings;
        let messages: Vec<_> =
            warnings.iter().map(|problem| problem.message.as_str()).filter(|message| !message.starts_with("no rule uses")).collect();
        let message = messages.join("; ");
        assert!(message.starts_with(expected) && message.is_empty() == expected.is_empty(), "{first} / {second}: {message}");
    }
}
