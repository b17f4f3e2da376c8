//! Each file of `tests/broken` is wrong in one way; the whole message that a user sees stands beside it in `NAME.expected`.
//!
//! After a wanted change of messages run with `UPDATE_EXPECTED=1`, and read the difference.

use std::fs;
use std::path::{Path, PathBuf};

use edge_agent::config::{AgentConfig, AlwaysAllow, SourceFiles};
use edge_agent::policy::load::load;
use edge_agent::policy::resolve::resolve;
use edge_agent::sources::Sources;
use jiff::civil::date;

fn messages(file: &Path) -> String {
    if file.file_name().unwrap().to_str().unwrap().starts_with("agent-") {
        return AgentConfig::read(file).expect_err("the file is wrong").to_string();
    }
    let data = Path::new("tests/data");
    let mut sources = Sources::new(SourceFiles {
        vendors: vec![data.join("oui.csv"), data.join("mam.csv")],
        countries_v4: data.join("geoip"),
        countries_v6: data.join("geoip6"),
        countries_mmdb: None,
        asns: None,
        services: data.join("services"),
    });
    let loaded = load(&[file.to_owned()], date(2026, 1, 15));
    match resolve(loaded, &AlwaysAllow::default(), &[], &mut sources) {
        Ok(resolution) => resolution.warnings.to_string(),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn each_kind_of_mistake_has_its_message() {
    let mut files: Vec<PathBuf> = fs::read_dir("tests/broken").unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(files.len() > 30, "the files are not where they were");
    let mut differences = String::new();
    for file in files {
        let actual = messages(&file);
        assert!(!actual.is_empty(), "{} has no problem", file.display());
        let expected_file = file.with_extension("expected");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected_file, &actual).unwrap();
        }
        let expected = fs::read_to_string(&expected_file).unwrap_or_default();
        if actual != expected {
            differences += &format!("\n{}\n{}", expected_file.display(), difference(&expected, &actual));
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

/// Both texts, the lines that only one of them has marked `-` (expected) or `+` (actual).
fn difference(expected: &str, actual: &str) -> String {
    let (expected, actual): (Vec<_>, Vec<_>) = (expected.lines().collect(), actual.lines().collect());
    let same = expected.iter().zip(&actual).take_while(|(a, b)| a == b).count();
    let rest = expected.len().min(actual.len()) - same;
    let same_end = expected.iter().rev().zip(actual.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let mut lines: Vec<String> = expected[..same].iter().map(|line| format!("  {line}")).collect();
    lines.extend(expected[same..expected.len() - same_end].iter().map(|line| format!("- {line}")));
    lines.extend(actual[same..actual.len() - same_end].iter().map(|line| format!("+ {line}")));
    lines.extend(actual[actual.len() - same_end..].iter().map(|line| format!("  {line}")));
    lines.join("\n")
}
