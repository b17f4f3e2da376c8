use std::fs;

use edge_ebpf::identity::syn::quirk;
use jiff::civil::date;

use super::super::{Resolution, resolve};
use super::*;
use crate::config::{AlwaysAllow, SourceFiles};
use crate::policy::load::load;
use crate::policy::model::{Family, Glob, OptionKind, Resolved, SignatureId, SynPattern, TextKind};
use crate::policy::name_set::tests::set;
use crate::policy::problem::Problems;
use crate::sources::Sources;

fn resolved(groups: &[&str]) -> Result<Resolution, Problems> {
    let folder = tempfile::tempdir().expect("a folder");
    let names: Vec<String> = (0..groups.len()).map(|number| format!("g{number}")).collect();
    let devices: String = names.iter().zip(groups).map(|(name, group)| format!("    {name}: {group}\n")).collect();
    let text = format!(
        "apiVersion: edge/v1\nkind: Policy\nmetadata: {{name: p}}\nspec:\n  devices:\n{devices}  rules: [{{id: r, from: [{}], action: drop}}]\n",
        names.join(", ")
    );
    fs::write(folder.path().join("p.yaml"), text).expect("a file");
    let mut sources = Sources::new(SourceFiles::default());
    resolve(load(&[folder.path().to_owned()], date(2026, 1, 15)), &AlwaysAllow::default(), &[], &mut sources)
}

/// The last group's expression, and all signals.
fn last(groups: &[&str]) -> (Expr, Resolved) {
    let resolution = resolved(groups).expect("a right policy");
    let when = resolution.resolved.groups.last().expect("a group").when.clone();
    (when, resolution.resolved)
}

fn signals(group: &str) -> Vec<Signal> {
    let (when, set) = last(&[group]);
    let ids = match when {
        Expr::All(parts) => parts,
        other => vec![other],
    };
    let signal = |expr| match expr {
        Expr::Signal(id) => set.signals[SignalId::index(id)].clone(),
        other => panic!("{other:?}"),
    };
    ids.into_iter().map(signal).collect()
}

fn globs(texts: &[&str]) -> Vec<Glob> {
    texts.iter().map(|text| Glob((*text).to_owned())).collect()
}

#[test]
fn each_key_is_a_signal() {
    assert_eq!(signals("{names: [connect.rom.miui.com, \"*.miui.com\"]}"), [Signal::Asked(Arc::new(set(&["*.miui.com"])))]);
    assert_eq!(
        signals("{dhcp: {vendor_class: \"Android-DHCP-*\", hostname: [Redmi*, POCO*], params: [1, 3, 6]}}"),
        [
            Signal::Text(TextKind::DhcpVendorClass, globs(&["android-dhcp-*"])),
            Signal::Text(TextKind::DhcpHostName, globs(&["poco*", "redmi*"])),
            Signal::Options(OptionKind::Dhcp, vec![vec![1, 3, 6]]),
        ]
    );
    assert_eq!(
        signals("{dhcp6: {params: [[24, 23], [23, 24]], hostname: redmi.lan}}"),
        [Signal::Text(TextKind::Dhcp6Name, globs(&["redmi.lan"])), Signal::Options(OptionKind::Dhcp6, vec![vec![23, 24], vec![24, 23]])]
    );
    assert_eq!(signals("{http: {user_agent: \"*MIUI*\"}}"), [Signal::Text(TextKind::UserAgent, globs(&["*miui*"]))]);
    let ja4 = "t13d1516h2_8daaf6152771_e5627efa2ab1";
    assert_eq!(signals(&format!("{{tls: {{ja4: {ja4}}}}}")), [Signal::Hello(vec![ja4.parse().expect("a JA4")])]);
}

#[test]
fn a_map_and_a_text_are_the_same_shape() {
    let map = "{tcp_syn: {ip: 4, ttl: 60, mss: \"*\", window: mss*20, options: [mss, 4, 8, nop, ws, eol+1], wscale: 9, quirks: [df, id+], payload: false}}";
    let text = "{tcp_syn: [\"4:64:*:*:mss*20,9:mss,sok,ts,nop,ws,eol+1:df,id+:0\"]}";
    assert_eq!(signals(map), signals(text));
    let [Signal::Syn(patterns)] = &signals("{tcp_syn: {quirks: [df], wscale: none}}")[..] else { panic!("one signal") };
    let four = SynPattern { family: Some(Family::V4), scale: Some(None), quirks: Some(quirk::DF), ..SynPattern::default() };
    let six = SynPattern { family: Some(Family::V6), quirks: Some(0), ..four.clone() };
    assert_eq!(*patterns, [four, six]);
}

#[test]
fn a_random_mac_is_locally_administered() {
    let macs = random_macs();
    for (mac, random) in [
        (0x0200_0000_0000, true),
        (0x06ff_ffff_ffff, true),
        (0xda11_2233_4455, true),
        (0x6409_8000_0001, false),
        (0x0300_0000_0000, false),
        (0xffff_ffff_ffff, false),
        (0, false),
    ] {
        assert_eq!(macs.contains(mac), random, "{mac:012x}");
    }
    assert!(matches!(last(&["{random_mac: true}"]).0, Expr::Signal(_)));
    assert!(matches!(last(&["{random_mac: false}"]).0, Expr::Not(_)));
}

#[test]
fn signatures_join_those_of_services_and_are_the_same_where_they_are_equal() {
    let one = "{signature: {proto: tcp, port: 5222, bytes: c2fe}}";
    let (when, set) = last(&[one, "{signature: {proto: tcp, ports: [5222, 80], bytes: c2fe}}", one]);
    assert_eq!(set.signatures.len(), 2);
    let Expr::Signal(signal) = when else { panic!("{when:?}") };
    assert_eq!(set.signals[signal.index()], Signal::Signature(SignatureId(0)));
    assert_eq!((set.signatures[0].name.as_str(), &*set.signatures[0].ports), ("g0", &[(5222, 5222)][..]));
    let ports: Vec<String> = (0..17).map(|port| (2 * port).to_string()).collect();
    let problems = resolved(&[&format!("{{signature: {{proto: udp, ports: [{}], bytes: c2fe}}}}", ports.join(", "))]).unwrap_err();
    assert!(problems.to_string().contains("is a signature too many"), "{problems}");
}
