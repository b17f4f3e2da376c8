use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;

use super::*;
use crate::config::{Share, SourceFiles};
use crate::policy::name::NamePattern;
use crate::sources::Sources;
use crate::sources::guard::{Guard, Shrink};

fn patterns(list: &DomainList) -> Vec<String> {
    let mut patterns: Vec<String> =
        list.names.iter().map(|(name, scope)| NamePattern { name: name.to_name(), scope }.to_string()).collect();
    patterns.sort();
    patterns
}

/// (reason, count, lines) of what is left out.
fn left_out(list: &DomainList) -> Vec<(&str, usize, &[usize])> {
    list.left_out.iter().map(|lines| (lines.reason, lines.count, lines.lines.as_slice())).collect()
}

const HOSTS: &str = "\u{feff}# Title\r\n127.0.0.1 localhost\r\n::1 localhost ip6-localhost\r\n0.0.0.0 0.0.0.0\n\
                     0.0.0.0 Ads.Example.com # why\r\n0.0.0.0 a.example b.example\tbücher.example\n\n0.0.0.0\n0.0.0.0 bad..example\n\
                     ads.example\nfe80::1%lo0 c.example\n0.0.0.0 a.example\n";

#[test]
fn hosts_files_name_each_name_alone() {
    let list = parse(HOSTS.as_bytes(), None);
    assert_eq!((list.format, list.entries), (Format::Hosts, 6));
    assert_eq!(patterns(&list), ["=a.example", "=ads.example.com", "=b.example", "=c.example", "=xn--bcher-kva.example"]);
    let expected: [(&str, usize, &[usize]); 3] =
        [("no name", 1, &[9]), ("not of this format", 2, &[8, 10]), ("names of the machine itself", 4, &[2, 3, 4])];
    assert_eq!(left_out(&list), expected);
    let (warning, hint) = list.left_out.warning().unwrap();
    assert_eq!(warning, "3 entries of this list are left out: no name: 1 (line 9); not of this format: 2 (lines 8, 10)");
    assert_eq!(hint, "line 9, `bad..example`: labels are separated by single dots: `www.example.com`");
}

const PLAIN: &str =
    "# names\nexample.com\n=Only.example. ; comment\n\n*.below.example # x\nwww.example.com\n! other\n192.0.2.1\nhttps://a.example/\n";

#[test]
fn plain_lists_have_a_policys_patterns() {
    let list = parse(PLAIN.as_bytes(), None);
    assert_eq!((list.format, list.entries), (Format::Plain, 4));
    assert_eq!(patterns(&list), ["*.below.example", "=only.example", "example.com"], "the covered name is folded");
    let expected: [(&str, usize, &[usize]); 1] = [("no name", 2, &[8, 9])];
    assert_eq!(left_out(&list), expected);
}

const RPZ: &str = "$TTL 2h ; comment (\n@ IN SOA localhost. root.localhost. (\n  2026010100 ; serial\n  6h 1h 1w 2h )\n  IN NS localhost.\n\
    bad.example CNAME .\n*.bad.example 300 IN CNAME .\nnodata.example IN 300 cname *.\ndropped.example CNAME rpz-drop.\n\
    good.example CNAME rpz-passthru.\nwalled.example CNAME garden.example.\nsink.example A 192.0.2.1\n\
    text.example TXT \"a ; b (\"\n32.1.2.0.192.rpz-ip CNAME .\n*.ns.example.rpz-nsdname CNAME .\n\
    \tA 192.0.2.1\nlost.example.com. CNAME .\n$INCLUDE more.zone\nend.example CNAME . ; last\nword\n";

#[test]
fn zones_name_what_they_refuse() {
    let list = parse(RPZ.as_bytes(), None);
    assert_eq!((list.format, list.entries), (Format::Rpz, 5));
    assert_eq!(patterns(&list), ["=dropped.example", "=end.example", "=nodata.example", "bad.example"], "both halves are one pattern");
    let expected: [(&str, usize, &[usize]); 6] = [
        ("not of this format", 1, &[20]),
        ("exceptions", 1, &[10]),
        ("not about names", 2, &[14, 15]),
        ("answering with data", 4, &[11, 12, 13, 16]),
        ("outside the zone", 1, &[17]),
        ("directives", 1, &[18]),
    ];
    assert_eq!(left_out(&list), expected);
}

#[test]
fn owners_of_a_zone_are_relative_to_it() {
    for (zone, expected) in [
        ("rpz.test. SOA a. b. 1 2 3 4 5\nx.example.rpz.test. CNAME .\ny.example CNAME .\n", &["=x.example", "=y.example"][..]),
        ("$ORIGIN rpz.test.\n@ SOA a. b. 1 2 3 4 5\nx.example CNAME .\nY.example.RPZ.test. CNAME .\n", &["=x.example", "=y.example"]),
        ("$ORIGIN .\nrpz.test IN SOA a. b. 1 2 3 4 5\nx.example.rpz.test CNAME .\n", &["=x.example"]),
        ("$ORIGIN .\nrpz.test SOA a. b. 1 2 3 4 5\n$ORIGIN example.rpz.test.\nx CNAME .\n* CNAME .\n@ CNAME .\n", &["example"]),
        ("$ORIGIN rpz.test.\n@ SOA a. b. 1 2 3 4 5\n$ORIGIN com\nx CNAME .\n  CNAME .\n", &["=x.com"]),
        ("rpz.test. SOA a. b. 1 2 3 4 5\nx.notrpz.test. CNAME .\nrpz.test. CNAME .\nx.example CNAME .\n", &["=x.example"]),
    ] {
        let list = parse(zone.as_bytes(), None);
        assert_eq!(
            (list.format, patterns(&list).as_slice()),
            (Format::Rpz, expected.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>().as_slice()),
            "{zone}"
        );
    }
}

const ADBLOCK: &str = "[Adblock Plus 2.0]\n! Title\n||example.com^\n||*.below.example^\n||www.example.com^|\n||partial.example\n\
    ||third.example^$third-party\n||all.example^$important,all\n@@||good.example^\n||path.example/ad.js\n||a*.example^\n\
    example.org##.ad\n##.banner\n/regex/\n||192.0.2.1^\n# comment\n||xn--e1afmkfd.example^\nexample.net#@#.ad\n";

#[test]
fn adblock_filters_name_a_name_and_all_below() {
    let list = parse(ADBLOCK.as_bytes(), None);
    assert_eq!((list.format, list.entries), (Format::Adblock, 5));
    assert_eq!(patterns(&list), ["*.below.example", "all.example", "example.com", "xn--e1afmkfd.example"]);
    let expected: [(&str, usize, &[usize]); 4] = [
        ("no name", 1, &[15]),
        ("narrowed by an option", 1, &[7]),
        ("exceptions", 1, &[9]),
        ("not about whole names", 7, &[6, 10, 11, 12, 13]),
    ];
    assert_eq!(left_out(&list), expected, "of the seventh to the last only the number is kept");
    let (warning, _) = list.left_out.warning().unwrap();
    assert!(warning.ends_with("not about whole names: 7 (lines 6, 10, 11, 12, 13, …)"), "{warning}");
}

#[test]
fn the_format_is_that_of_most_lines_and_can_be_given() {
    let text = "0.0.0.0 a.example\nb.example\nc.example\n";
    assert_eq!(parse(text.as_bytes(), None).format, Format::Plain);
    let list = parse(text.as_bytes(), Some(Format::Hosts));
    assert_eq!((list.format, patterns(&list)), (Format::Hosts, vec!["=a.example".to_owned()]));
    for format in Format::ALL {
        assert_eq!(format.name().parse(), Ok(format));
        assert_eq!(parse(b"\n# nothing\n; here\n", Some(format)).left_out.first_line(), None, "{format}");
    }
    assert_eq!(parse(b"a.example CNAME .\nb.example CNAME .\n", None).format, Format::Rpz);
    assert_eq!(parse(b"! x\n! y\na.example\n", None).format, Format::Plain, "comments do not vote");
}

fn read_bytes(bytes: &[u8]) -> Result<Cached<Arc<DomainList>>, SourceError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list");
    std::fs::write(&path, bytes).unwrap();
    read(&path, None)
}

#[test]
fn a_packed_list_is_the_same() {
    for text in [HOSTS, PLAIN, RPZ, ADBLOCK] {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        let (plain, packed) = (read_bytes(text.as_bytes()).unwrap(), read_bytes(&packed.finish().unwrap()).unwrap());
        assert_eq!((&plain.value.names, &plain.value.left_out), (&packed.value.names, &packed.value.left_out));
        assert_eq!((plain.files[0].entries, packed.files[0].entries), (plain.value.entries, plain.value.entries));
        assert_ne!(plain.files[0].sha256, packed.files[0].sha256, "the hash is the stored file's");
    }
}

#[test]
fn a_file_without_any_name_is_of_another_kind_and_an_empty_one_is_empty() {
    let error = read_bytes(b"# x\n<html>\n<p>Not found</p>\n").err().unwrap();
    assert!(error.to_string().contains("list:2: this is not a line of a hosts file"), "{error}");
    let error = read_bytes(b"\xff\xfe\x00\x01\n").err().unwrap();
    assert!(error.to_string().contains("list:1: "), "{error}");
    assert!(read_bytes(b"# nothing yet\n").unwrap().value.names.is_empty());
    assert!(read_bytes(b"").unwrap().value.names.is_empty());
}

#[test]
fn a_list_that_lost_too_much_is_held_as_other_files_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list");
    let mut sources = Sources::guarded(SourceFiles::default(), Guard::open(&folder.path().join("state")));
    sources.configure(&SourceFiles::default(), Share::percent(50), Shrink::Hold);
    let mut load = |text: &str| {
        std::fs::write(folder.path().join("new"), text).unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
        sources.refresh();
        let list = sources.domain_list(&path, None).unwrap();
        sources.note_used();
        (list.names.len(), sources.provenance()[0].shrunk_to)
    };
    assert_eq!(load("a.example\nb.example\nc.example\n"), (3, None));
    assert_eq!(load("a.example\n<html>\n"), (3, Some(1)));
    assert_eq!(load("a.example\nb.example\n"), (2, None));
}

proptest! {
    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300), format in 0usize..4) {
        parse(&bytes, Some(Format::ALL[format]));
    }

    #[test]
    fn marks_in_any_order_are_read_and_lose_no_entry(
        marks in prop::collection::vec(prop_oneof![Just("||"), Just("^"), Just("$"), Just("@@"), Just("@"), Just("#"), Just(";"), Just("("),
            Just(")"), Just("."), Just("*."), Just("="), Just(" "), Just("\t"), Just("CNAME"), Just("SOA"), Just("NS"), Just("$ORIGIN"), Just("a.b"),
            Just("0.0.0.0"), Just("\n"), Just("\""), Just("ü"), Just("rpz-ip"), Just("!")], 0..40), format in 0usize..4) {
        let list = parse(marks.concat().as_bytes(), Some(Format::ALL[format]));
        let left_out: usize = list.left_out.iter().map(|lines| lines.count).sum();
        prop_assert!(list.names.len() <= list.entries);
        prop_assert!(list.entries == 0 || !list.names.is_empty());
        prop_assert!(list.entries + left_out <= marks.len() + 1);
    }

    #[test]
    fn every_format_says_the_same_of_the_same_names(names in prop::collection::vec("[a-z0-9_-]{0,8}[a-z](\\.[a-z]{1,8}){1,3}", 1..20)) {
        // Below names of the machine itself none of these are.
        let write = |line: &dyn Fn(&str) -> String| parse(names.iter().map(|name| line(name)).collect::<String>().as_bytes(), None);
        let hosts = write(&|name| format!("0.0.0.0 {name}\n"));
        let rpz = write(&|name| format!("{name} CNAME .\n"));
        prop_assert_eq!((hosts.format, rpz.format), (Format::Hosts, Format::Rpz));
        prop_assert_eq!(&hosts.names, &rpz.names);
        let plain = write(&|name| format!("{name}\n"));
        let adblock = write(&|name| format!("||{name}^\n"));
        let zone = write(&|name| format!("{name} CNAME .\n*.{name} CNAME .\n"));
        prop_assert_eq!((plain.format, adblock.format), (Format::Plain, Format::Adblock));
        prop_assert_eq!(&plain.names, &adblock.names);
        prop_assert_eq!(&plain.names, &zone.names);
    }
}
