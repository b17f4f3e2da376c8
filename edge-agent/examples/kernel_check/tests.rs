//! Runs a test program and tells what became of each test.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;

use crate::tell;

/// Returns how many tests failed; a program that ends without having said so counts as one.
pub fn run(program: &Path) -> Result<usize> {
    let output = Command::new(program)
        .args(["--include-ignored", "--test-threads=1"])
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut failed = 0;
    for (test, outcome) in text.lines().filter_map(|line| line.strip_prefix("test ")?.split_once(" ... ")) {
        let passed = outcome == "ok";
        failed += usize::from(!passed);
        tell(json!({"event": "test", "test": test, "passed": passed}));
    }
    if !output.status.success() {
        let error = format!("{}: {}\n{text}{}", program.display(), output.status, String::from_utf8_lossy(&output.stderr));
        tell(json!({"event": "error", "error": error}));
        failed = failed.max(1);
    }
    Ok(failed)
}
