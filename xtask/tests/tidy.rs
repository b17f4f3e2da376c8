//! Rules of this repository that no compiler checks.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::command::{output, workspace};

/// Lines that a file of source may have before one asks what it is two of.
const LONG: usize = 450;

/// Files longer than that, each with its reason.
const LONG_FOR_A_REASON: &[(&str, &str)] = &[];

/// Every file of the checkout, from its root, but for hidden ones and what cargo builds.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![workspace().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if name.starts_with('.') || name == "target" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path.strip_prefix(workspace()).expect("below the root").to_owned());
            }
        }
    }
    assert!(files.len() > 50, "the files are found");
    files
}

fn read(file: &Path) -> String {
    fs::read_to_string(workspace().join(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn has_extension(file: &Path, extension: &str) -> bool {
    file.extension().is_some_and(|found| found == extension)
}

#[test]
fn no_source_file_is_long_without_a_reason() {
    for file in files().iter().filter(|file| has_extension(file, "rs")) {
        let lines = read(file).lines().count();
        let excused = LONG_FOR_A_REASON.iter().any(|(long, _)| Path::new(long) == file);
        assert!(lines <= LONG || excused, "{} has {lines} lines: what is it two of?", file.display());
        assert!(lines > LONG || !excused, "{} is not long any more: remove it from the list", file.display());
    }
}

#[test]
fn nothing_is_left_for_later() {
    // Put together, so that this file does not contain them.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
    ];
    for file in files().iter().filter(|file| ["rs", "md", "yaml", "toml", "service"].iter().any(|kind| has_extension(file, kind))) {
        let text = read(file);
        for mark in marks {
            assert!(!text.contains(mark), "{} contains {mark}", file.display());
        }
    }
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    let allow = concat!("[al", "low(");
    for file in files().iter().filter(|file| has_extension(file, "rs")) {
        assert!(!read(file).contains(allow), "{}: use expect with a reason", file.display());
    }
}

#[test]
fn unsafe_code_that_decides_stands_in_one_module() {
    for file in files().iter().filter(|file| file.starts_with("edge-ebpf/src") && has_extension(file, "rs")) {
        // The two programs call the kernel, and decide nothing.
        let is_library = !file.starts_with("edge-ebpf/src/program") && !file.ends_with("main.rs") && !file.ends_with("bench.rs");
        let is_access = file == Path::new("edge-ebpf/src/packet/access.rs");
        let uses = read(file).lines().any(|line| {
            let code = line.trim_start();
            !code.starts_with("//") && (code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl"))
        });
        assert!(!is_library || is_access || !uses, "{}: unsafe belongs into packet/access.rs", file.display());
    }
}

/// What a document tells the reader to type works: `./x NAME` and `edge-agent NAME` are commands.
#[test]
fn commands_in_documents_exist() {
    let x = subcommands(&xtask_help());
    assert!(x.contains("test"), "the commands are found: {x:?}");
    // A file per command.
    let agent: BTreeSet<_> = fs::read_dir(workspace().join("edge-agent/src/cli"))
        .expect("the agent's commands")
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .filter(|name| name != "mod")
        .collect();
    for file in files().iter().filter(|file| has_extension(file, "md")) {
        for line in read(file).lines() {
            for (prefix, commands) in [("./x ", &x), ("`edge-agent ", &agent)] {
                for (at, _) in line.match_indices(prefix) {
                    let name: String = line[at + prefix.len()..].chars().take_while(char::is_ascii_lowercase).collect();
                    assert!(name.is_empty() || commands.contains(&name), "{}: no such command: {line}", file.display());
                }
            }
        }
    }
}

fn xtask_help() -> String {
    output(Command::new(env!("CARGO_BIN_EXE_xtask")).arg("--help")).expect("xtask prints its help")
}

fn subcommands(help: &str) -> BTreeSet<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    listed.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// The table of metrics is what alerts are written from.
#[test]
fn the_readme_lists_every_metric_and_no_other() {
    let names = |text: &str, quote: char| -> BTreeSet<String> {
        let parts = text.split(quote).filter(|part| part.starts_with("edge_"));
        parts.filter(|part| part.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')).map(str::to_owned).collect()
    };
    let told = names(&read(Path::new("edge-agent/src/telemetry/metrics.rs")), '"');
    assert!(told.len() > 20, "the metrics are found");
    assert_eq!(names(&read(Path::new("README.md")), '`'), told);
}

#[test]
fn links_between_documents_lead_somewhere() {
    for file in files().iter().filter(|file| has_extension(file, "md")) {
        let text = read(file);
        for (at, _) in text.match_indices("](") {
            let target: String = text[at + 2..].chars().take_while(|letter| *letter != ')').collect();
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            let from = workspace().join(file);
            let there = from.parent().expect("a file has a folder").join(path);
            assert!(there.exists(), "{}: the link to {target} leads nowhere", file.display());
        }
    }
}

/// What `policies/vendor-template/README.md` has its reader type makes the worked example of the template.
#[test]
fn the_example_of_the_template_is_the_template_filled_in() {
    let folder = Path::new("policies/vendor-template");
    let values = [("@NAME@", "huawei"), ("@VENDOR@", "Huawei"), ("@DOMAIN@", "hicloud.com")];
    let filled = values.iter().fold(read(&folder.join("template.txt")), |text, (mark, value)| text.replace(mark, value));
    assert_eq!(read(&folder.join("huawei.yaml")), filled);
    let command = values.map(|(mark, value)| format!("-e 's/{mark}/{value}/'")).join(" ");
    assert!(read(&folder.join("README.md")).contains(&command), "the README says how");
}

#[test]
fn each_policy_says_why_and_proves_itself() {
    let policies = workspace().join("policies");
    let Ok(folders) = fs::read_dir(&policies) else { panic!("{} is missing", policies.display()) };
    // Beside the policies lie the lists that they share, and the database of what devices show, which the agent's tests read.
    let holds_none = |path: &PathBuf| path.ends_with("lists") || path.ends_with("fingerprints");
    let folders: Vec<_> = folders.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir() && !holds_none(path)).collect();
    assert!(!folders.is_empty(), "no policy is shipped");
    for folder in folders {
        let readme = folder.join("README.md");
        assert!(readme.is_file(), "{} has no README.md with its sources and what it may break", folder.display());
        let policies: Vec<_> = fs::read_dir(&folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| has_extension(path, "yaml"))
            .collect();
        assert!(!policies.is_empty(), "{} has no policy", folder.display());
        for policy in policies {
            let text = fs::read_to_string(&policy).expect("a policy");
            for key in ["references:", "tests:"] {
                assert!(text.contains(key), "{} has no {key}", policy.display());
            }
        }
    }
}
