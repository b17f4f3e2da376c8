//! Countries and ASNs from MMDB files, which the tests write themselves.

mod writer;

use std::fs;
use std::path::Path;

use edge_agent::config::{AlwaysAllow, SourceFiles};
use edge_agent::policy::load::load;
use edge_agent::policy::model::AddressSet;
use edge_agent::policy::resolve::resolve;
use edge_agent::sources::Sources;
use edge_agent::sources::mmdb::{asns, countries};
use jiff::civil::date;
use writer::{Data, asn, mmdb};

fn country(key: &'static str, code: &'static str) -> Data {
    Data::Map(vec![("continent", Data::Map(vec![("code", Data::Text("AS"))])), (key, Data::Map(vec![("iso_code", Data::Text(code))]))])
}

fn written(folder: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn set(ranges: &[&str]) -> AddressSet {
    ranges.iter().map(|range| range.parse().unwrap()).collect()
}

#[test]
fn a_country_is_where_addresses_are_or_else_where_they_are_registered() {
    let folder = tempfile::tempdir().unwrap();
    let both = Data::Map(vec![
        ("country", Data::Map(vec![("iso_code", Data::Text("IN"))])),
        ("registered_country", Data::Map(vec![("iso_code", Data::Text("CN"))])),
    ]);
    let file = mmdb(&[
        ("1.0.1.0/24", country("country", "CN")),
        ("42.62.0.0/17", country("registered_country", "CN")),
        ("1.0.4.0/22", both),
        ("255.255.255.255/32", country("country", "CN")),
        ("2001:250::/30", country("country", "CN")),
        ("2001:db8::1/128", country("country", "IN")),
        ("2400::/12", Data::Map(Vec::new())),
    ]);
    let mut read = countries(&written(folder.path(), "c.mmdb", &file)).unwrap();
    assert_eq!(read.files[0].entries, 6, "the one that says nothing is left out");
    assert_eq!(*read.value.addresses("CN").unwrap(), set(&["1.0.1.0/24", "42.62.0.0/17", "255.255.255.255", "2001:250::/30"]));
    assert_eq!(*read.value.addresses("IN").unwrap(), set(&["1.0.4.0/22", "2001:db8::1"]));
    assert!(read.value.addresses("AS").is_none(), "a continent is none");
}

#[test]
fn a_file_of_another_kind_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let whole = mmdb(&[("1.0.1.0/24", asn(4134))]);
    let no_countries = countries(&written(folder.path(), "asn.mmdb", &whole)).err().unwrap();
    assert!(
        no_countries.to_string().ends_with("asn.mmdb does not give the countries of addresses: no record has the field"),
        "{no_countries}"
    );
    assert!(no_countries.way_out().contains("sources.countries.mmdb"));
    for (name, bytes) in [("text", &b"16777472,16777727,CN\n"[..]), ("empty", b""), ("cut", &whole[300..]), ("head", &whole[..300])] {
        let error = asns(&written(folder.path(), name, bytes)).err().unwrap();
        assert!(error.to_string().contains("does not give the ASNs of addresses: "), "{name}: {error}");
        assert!(error.way_out().contains("sources.asns"));
    }
}

#[test]
fn a_policy_names_countries_and_asns_of_such_files() {
    let folder = tempfile::tempdir().unwrap();
    let asns = mmdb(&[("1.0.1.0/24", asn(4134)), ("2001:db8::/32", asn(4134)), ("104.16.0.0/13", asn(13_335))]);
    let files = SourceFiles {
        countries_mmdb: Some(written(folder.path(), "c.mmdb", &mmdb(&[("42.62.0.0/17", country("country", "CN"))]))),
        asns: Some(written(folder.path(), "a.mmdb", &asns)),
        ..SourceFiles::default()
    };
    let resolved = |named: &str| {
        let rule = "rules: [{id: r, from: all, to: there, action: drop}]";
        let head = "apiVersion: edge/v1\nkind: Policy\nmetadata: {name: p}\nspec:\n  ";
        let policy = written(folder.path(), "p.yaml", format!("{head}destinations: {{there: {{{named}}}}}\n  {rule}\n").as_bytes());
        resolve(load(&[policy], date(2026, 1, 15)), &AlwaysAllow::default(), &[], &mut Sources::new(files.clone()))
    };
    let resolution = resolved("asns: [4134, as13335], countries: [CN]").unwrap();
    // The last one: those of what is always allowed go before it.
    let there = resolution.resolved.destinations.last().unwrap();
    let sets: Vec<AddressSet> = there.sets.iter().map(|set| (**set).clone()).collect();
    assert_eq!(sets, [set(&["42.62.0.0/17"]), set(&["1.0.1.0/24", "2001:db8::/32"]), set(&["104.16.0.0/13"])]);
    assert_eq!(resolution.sources.iter().map(|source| source.entries).collect::<Vec<_>>(), [1, 3]);

    let problems = resolved("asns: [64512, 4134]").unwrap_err();
    let [problem] = problems.iter().collect::<Vec<_>>()[..] else { panic!("{problems}") };
    assert_eq!((problem.place.line, problem.message.as_str()), (5, "the ASN data has no address of AS64512"));
    assert!(problem.hint.is_some());
}
