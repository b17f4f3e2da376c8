//! `xtask test`: everything that can fail, on this machine.

use std::process::Command;

use anyhow::Result;

use crate::build::{agent_path, cargo};
use crate::command::{is_root, run, workspace};
use crate::setup::{Purpose, setup};

/// Unit tests, the policies' own tests, and - where we are root - the tests that load programs and build networks.
pub fn test() -> Result<()> {
    setup(Purpose::Test)?;
    run(cargo().args(["build", "--package=edge-agent"]))?;
    let agent = agent_path()?;
    run(Command::new(&agent).args(["test", "policies"]).current_dir(workspace()))?;

    let mut tests = cargo();
    tests.args(["test", "--workspace", "--lib", "--bins", "--tests"]);
    if is_root() {
        tests.args(["--", "--include-ignored"]);
    } else {
        println!(
            "\ntest: not root: the kernel tests and the end-to-end tests are left out (they show as ignored); sudo ./x test runs all\n"
        );
    }
    run(&mut tests)
}
