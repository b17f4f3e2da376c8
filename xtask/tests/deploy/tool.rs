//! Programs of the distribution that judge our files.

use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::command::{find_program, workspace};

/// The program, or `None` after saying why the test is left out.
pub fn find(program: &str, package: &str) -> Option<Command> {
    let found = find_program(program);
    if found.is_none() {
        println!("skipped: {program} is not installed; it is in Debian's package {package}");
    }
    found.map(Command::new)
}

/// What the command printed on both outputs.
///
/// # Panics
/// If it fails; its output is in the message.
pub fn accepts(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?} failed:\n{said}");
    said
}

pub fn deploy(path: &str) -> PathBuf {
    workspace().join("deploy").join(path)
}

/// A folder of its own below cargo's for tests, emptied first.
pub fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}
