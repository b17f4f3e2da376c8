use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use edge_agent::engine::Outcome;
use edge_agent::engine::policy_test::{Examiner, differences, rule_name};
use edge_agent::policy::compile::{Compiled, compile};
use edge_agent::policy::load::{load, today};
use edge_agent::policy::resolve::{ResolvedTest, resolve};
use edge_agent::sources::Sources;

use super::engine_choice::EngineChoice;

/// Run the tests that policies carry
///
/// Every test's packet is asked of all the policies together. Nothing is enforced by it, and no traffic is touched. Exits with 1 if a
/// test fails.
#[derive(Args)]
pub struct Test {
    /// Policy files, or folders of them [default: the folder that agent.yaml names]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    engine: EngineChoice,
    /// One JSON object a line: each test, then a summary.
    #[arg(long)]
    json: bool,
}

impl Test {
    pub fn run(self, config: &Path) -> anyhow::Result<ExitCode> {
        let Self { paths, engine, json } = self;
        let config = match super::check::read_config(config, !paths.is_empty()) {
            Ok(config) => config,
            Err(problems) => {
                super::check::print(&problems, json)?;
                return Ok(ExitCode::FAILURE);
            }
        };
        let paths = if paths.is_empty() { vec![config.policies.clone()] } else { paths };
        let mut sources = Sources::new(config.sources);
        // Which addresses are the gateway's own is of no test's matter.
        let resolution = match resolve(load(&paths, today()), &config.always_allow, &[], &mut sources) {
            Ok(resolution) => resolution,
            Err(problems) => {
                super::check::print(&problems, json)?;
                return Ok(ExitCode::FAILURE);
            }
        };
        let now = jiff::Timestamp::now();
        let compiled = compile(&resolution.resolved, now)?;
        let kind = engine.kind();
        let mut examiner = Examiner::new(kind, &resolution.resolved, &compiled, config.conduct, now)?;
        let mut out = io::stdout().lock();
        let (mut passed, mut failed) = (0, 0);
        for test in &resolution.tests {
            let outcome = examiner.ask(&test.test)?;
            let differences = differences(test, &compiled, &outcome);
            if differences.is_empty() {
                passed += 1;
            } else {
                failed += 1;
            }
            if json {
                write_json(&mut out, test, &compiled, &outcome, &differences)?;
            } else {
                write_text(&mut out, test, &differences)?;
            }
        }
        if json {
            writeln!(out, "{}", serde_json::json!({"summary": {"engine": kind.name(), "passed": passed, "failed": failed}}))?;
        } else {
            writeln!(out, "{passed} passed, {failed} failed ({} engine)", kind.name())?;
        }
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn write_text(out: &mut impl Write, test: &ResolvedTest, differences: &[String]) -> io::Result<()> {
    let ResolvedTest { policy, test } = test;
    if differences.is_empty() {
        return writeln!(out, "ok    {policy}: {}", test.name.value);
    }
    writeln!(out, "FAIL  {policy}: {} ({})", test.name.value, test.name.place)?;
    differences.iter().try_for_each(|difference| writeln!(out, "        {difference}"))
}

fn write_json(out: &mut impl Write, test: &ResolvedTest, compiled: &Compiled, outcome: &Outcome, differences: &[String]) -> io::Result<()> {
    let ResolvedTest { policy, test } = test;
    let Outcome { verdict, rule, monitored, reason, reply: _, name: _ } = outcome;
    let line = serde_json::json!({
        "policy": policy,
        "name": test.name.value,
        "file": test.name.place.path(),
        "line": test.name.place.line,
        "passed": differences.is_empty(),
        "verdict": verdict.name(),
        "rule": rule.map(|rule| rule_name(compiled, rule)),
        "monitored": monitored.iter().map(|rule| rule_name(compiled, *rule)).collect::<Vec<_>>(),
        "reason": reason.map(|reason| reason.name()),
        "differences": differences,
    });
    writeln!(out, "{line}")
}
