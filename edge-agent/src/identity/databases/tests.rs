use super::*;
use crate::policy::model::SynWindow;

/// A Linux, as in [`crate::identity::p0f`]'s tests.
const LINUX: [u8; 21] = [4, 64, 0, 5, 0xb4, 0xfa, 0xf0, 44, 0, 7, 0, 0, 3, 0, 5, 0, 2, 4, 8, 1, 3];

fn file(name: &str, text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("a file");
    (folder, path)
}

fn names(labels: &[Label]) -> Vec<(Option<&str>, Option<&str>)> {
    labels.iter().map(|label| (label.os.as_deref(), label.class.as_deref())).collect()
}

const P0F: &str = "; comment
classes = win,unix,other
[mtu]
label = Ethernet
sig = 1500
[tcp:request]
label = g:unix:Linux:
sys = Linux
sig = *:64:0:*:*,*:mss,sok,ts,nop,ws:df,id+:0
label = s:unix:Linux:3.11 and newer
sig   = *:64:0:*:mss*44,7:mss,sok,ts,nop,ws:df,id+:0
label = s:!:NMap:SYN scan
sig = *:64-:0:1460:1024,0:mss::0
[http:request]
label = s:!:Firefox:2.x
sig = *:Host,User-Agent:Accept:Firefox/
";

#[test]
fn systems_by_their_first_segments() {
    let (_folder, path) = file("p0f.fp", P0F);
    let databases = Databases::read(&IdentityFiles { p0f: Some(path), ..IdentityFiles::default() }).expect("a database");
    assert_eq!(databases.files[0].entries, 3);
    let facts = Facts { syns: vec![LINUX.to_vec()], ..Facts::default() };
    assert_eq!(names(&databases.label(&facts)), [(Some("Linux 3.11 and newer"), Some("unix"))]);
    let mut other = LINUX.to_vec();
    other[edge_ebpf::identity::syn::at::SCALE] = 9;
    let facts = Facts { syns: vec![other], ..Facts::default() };
    assert_eq!(names(&databases.label(&facts)), [(Some("Linux"), Some("unix"))], "a guess, where nothing else is known");
    let scan = databases.entries.iter().find(|(_, entry)| entry.class.as_deref() == Some("NMap SYN scan")).expect("a program");
    assert_eq!((scan.1.os.as_ref(), scan.1.traits.len()), (None, 2));
    assert!(matches!(&scan.1.traits[0], Trait::Syn(SynPattern { window: SynWindow::Exactly(1024), .. })));
}

const SATORI: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<DHCP><fingerprints>
<fingerprint name="Fire OS" os_name="Linux 3.4" os_class="Linux" os_vendor="" device_type="eBook &amp; Reader" device_vendor="Amazon">
<dhcp_tests>
<test weight="5" matchtype="exact" dhcptype="Request" dhcpoptions="53,50"/>
<test weight="5" matchtype="exact" dhcptype="Request" dhcpoption55="1,33,3,6"/>
<test weight="5" matchtype="exact" dhcptype="Offer" dhcpoption55="1,2"/>
<test weight="5" matchtype="partial" dhcptype="Any" dhcpvendorcode="dhcpcd-5.5.6"/>
</dhcp_tests></fingerprint>
<fingerprint name="None" os_name=""><dhcp_tests><test weight="1" matchtype="exact" dhcptype="Any" ipttl="30"/></dhcp_tests></fingerprint>
</fingerprints></DHCP>
"#;

#[test]
fn systems_by_their_dhcp_clients() {
    let (_folder, path) = file("dhcp.xml", SATORI);
    let databases = Databases::read(&IdentityFiles { satori: Some(path), ..IdentityFiles::default() }).expect("a database");
    assert_eq!((databases.files[0].entries, databases.entries.len()), (2, 1));
    let facts =
        Facts { dhcp_params: vec![vec![1, 33, 3, 6]], dhcp_vendor_classes: vec!["DHCPCD-5.5.6:Linux".to_owned()], ..Facts::default() };
    let expected = (Some("Linux 3.4"), Some("eBook & Reader"));
    assert_eq!(names(&databases.label(&facts)), [expected, expected], "once by each fact");
    assert_eq!(databases.label(&Facts { dhcp_params: vec![vec![1, 2]], ..Facts::default() }), []);
}

const OWN: &str = r#"apiVersion: edge/v1
kind: Fingerprints
fingerprints:
  - os: Windows
    source: made up
    dhcp: {params: [[1, 3], [1, 3, 6]], vendor_class: "MSFT*", hostname: [DESKTOP-*]}
    dhcp6: {params: [[17, 23]], vendor_class: "MSFT 5.0"}
    tcp_syn: "4:64:0:*:mss*44,7:mss,sok,ts,nop,ws:df,id+:0"
    tls: {ja4_r: t12i010100_1301_000d_0403}
    http: {user_agent: ["*Windows NT*"]}
"#;

#[test]
fn systems_by_what_was_measured() {
    let (_folder, path) = file("own.yaml", OWN);
    let databases = Databases::read(&IdentityFiles { fingerprints: Some(path), ..IdentityFiles::default() }).expect("a database");
    let all = Facts {
        dhcp_params: vec![vec![1, 3, 6]],
        dhcp_vendor_classes: vec!["msft 5.0".to_owned()],
        dhcp_host_names: vec!["desktop-1".to_owned()],
        dhcp6_params: vec![vec![17, 23]],
        dhcp6_vendor_classes: vec!["MSFT 5.0".to_owned()],
        syns: vec![LINUX.to_vec()],
        hellos: vec!["t12i010100_1301_000d_0403".parse().expect("a JA4")],
        user_agents: vec!["x (Windows NT 10.0)".to_owned()],
    };
    let labels = databases.label(&all);
    assert_eq!(labels.iter().map(|label| label.by).collect::<std::collections::BTreeSet<_>>().len(), 8);
    assert!(labels.iter().all(|label| label.os.as_deref() == Some("Windows") && label.database == Database::Own));
    assert_eq!(databases.label(&Facts::default()), []);
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (name, text, place) in [
        ("p0f.fp", P0F.replace("mss*44,7", "mss*44"), "p0f.fp:11: this is not a signature"),
        ("p0f.fp", P0F.replace("label = g:unix", "label = x:unix"), "p0f.fp:7: this is not a label"),
        ("p0f.fp", P0F.replace("sys = Linux", "Linux"), "p0f.fp:8: this is not a line"),
        ("p0f.fp", P0F.replace("label = g:unix:Linux:\nsys = Linux\n", ""), "p0f.fp:7: this is not a label"),
        ("dhcp.xml", SATORI.replace("1,33,3,6", "1,333"), "dhcp.xml:6: this is not a test"),
        ("dhcp.xml", SATORI.replace("matchtype=\"partial\"", "matchtype=\"some\""), "dhcp.xml:8: this is not a test"),
        ("dhcp.xml", SATORI.replace("</dhcp_tests></fingerprint>\n<fing", "</fingerprint>\n<fing"), "dhcp.xml:9: this is not XML"),
        ("dhcp.xml", SATORI.replace("</fingerprints></DHCP>", ""), "dhcp.xml:12: this is not XML"),
        ("own.yaml", OWN.replace("source: made up", "sauce: x"), "own.yaml does not give fingerprints: line 4"),
        ("own.yaml", OWN.replace("[1, 3, 6]", "[1, 3, 600]"), "own.yaml does not give fingerprints: line 6"),
        ("own.yaml", OWN.replace(",7:mss", ":mss"), "own.yaml does not give fingerprints: line 8: this is not a signature"),
        ("own.yaml", OWN.replace("t12i010100_", ""), "own.yaml does not give fingerprints: line 9: this is no JA4_r"),
    ] {
        let (_folder, path) = file(name, &text);
        let path = Some(path);
        let files = match name {
            "p0f.fp" => IdentityFiles { p0f: path, ..IdentityFiles::default() },
            "dhcp.xml" => IdentityFiles { satori: path, ..IdentityFiles::default() },
            _ => IdentityFiles { fingerprints: path, ..IdentityFiles::default() },
        };
        let error = Databases::read(&files).expect_err("wrong").to_string();
        assert!(error.contains(place), "{error}: {place}");
    }
}

#[test]
fn globs() {
    for (glob, text) in [("a", "A"), ("a*", "a"), ("*", ""), ("*b*", "abc"), ("a*b*c", "a-b-c"), ("a*a", "aa")] {
        assert!(fits(glob, text), "{glob} {text}");
    }
    for (glob, text) in [("a", "ab"), ("a*a", "a"), ("*b*", "ac"), ("a*b*c", "acb"), ("", "a")] {
        assert!(!fits(glob, text), "{glob} {text}");
    }
}

/// What is shipped can be read, and each entry says where it is from.
#[test]
fn the_shipped_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/fingerprints/measured.yaml");
    let databases = Databases::read(&IdentityFiles { fingerprints: Some(path), ..IdentityFiles::default() }).expect("a database");
    assert!(databases.entries.len() > 5);
}
