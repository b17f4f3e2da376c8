//! What the kernels said, and the table of it. At most 100 columns, but for what a kernel says itself.

use std::fmt;
use std::time::Duration;

use anyhow::Error;
use serde_json::Value;

/// Begins each line of the check (`edge-agent/examples/kernel_check`).
const MARK: &str = "kernel-check: ";

/// What one kernel said.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Findings {
    pub release: String,
    /// What this kernel cannot do, and the agent warns of.
    pub lacks: Option<String>,
    /// Combinations of features that it loaded.
    pub loaded: usize,
    /// Combinations that the agent refuses, as this kernel cannot do what they want.
    pub refused: usize,
    /// Those that the kernel refused, each with the reason.
    pub not_loaded: Vec<String>,
    /// The most instructions that its verifier followed for a program, where it tells.
    pub verified: Option<u64>,
    /// The longest load.
    pub slowest: Duration,
    pub passed: usize,
    pub failed: Vec<String>,
    pub errors: Vec<String>,
    /// The check came to its end.
    pub ended: bool,
}

impl Findings {
    /// Out of a console's text; `None` if the check never began.
    pub fn read(console: &str) -> Option<Self> {
        let mut findings = Self::default();
        // The first line may follow what the firmware left on it.
        let lines = console.lines().filter_map(|line| line.split_once(MARK)).map(|(_, json)| json);
        for finding in lines.filter_map(|json| serde_json::from_str(json).ok()) {
            findings.add(&finding);
        }
        (!findings.release.is_empty()).then_some(findings)
    }

    fn add(&mut self, finding: &Value) {
        let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        match finding["event"].as_str() {
            Some("kernel") => {
                self.release = text("release");
                self.lacks = finding["lacks"].as_str().map(str::to_owned);
            }
            Some("load") if finding["refused"].is_string() => self.refused += 1,
            Some("load") => match finding["error"].as_str() {
                Some(error) => self.not_loaded.push(format!("{}: {error}", text("features"))),
                None => {
                    self.loaded += 1;
                    self.verified = self.verified.max(finding["verified"].as_u64());
                    self.slowest = self.slowest.max(Duration::from_millis(finding["milliseconds"].as_u64().unwrap_or(0)));
                }
            },
            Some("test") if finding["passed"] == true => self.passed += 1,
            Some("test") => self.failed.push(text("test")),
            Some("error") => self.errors.push(text("error")),
            Some("end") => self.ended = true,
            _ => self.errors.push(format!("an unknown finding: {finding}")),
        }
    }

    /// It loaded and passed all, and there was something to load and to pass.
    fn is_good(&self) -> bool {
        let Self { release: _, lacks, loaded, refused, not_loaded, verified: _, slowest: _, passed, failed, errors, ended } = self;
        // A refusal is in order only where the kernel is said to lack something.
        let refused_rightly = *refused == 0 || lacks.is_some();
        *ended && *loaded > 0 && refused_rightly && not_loaded.is_empty() && *passed > 0 && failed.is_empty() && errors.is_empty()
    }
}

/// A kernel, and what it said or why it did not.
pub struct Row {
    pub name: &'static str,
    pub findings: Result<Findings, Error>,
    pub took: Duration,
}

impl Row {
    pub fn is_good(&self) -> bool {
        self.findings.as_ref().is_ok_and(Findings::is_good)
    }
}

/// All of them, as text.
pub struct Table<'a> {
    pub rows: &'a [Row],
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles = ["kernel", "release", "loaded", "refused", "failed", "slowest", "tests", "failed", "took"];
        let line = |formatter: &mut fmt::Formatter<'_>, mark: char, cells: &[&str; 9]| {
            let [kernel, release, loaded, refused, not_loaded, slowest, tests, failed, took] = cells;
            writeln!(
                formatter,
                "{mark} {kernel:<7} {release:<29} {loaded:>6} {refused:>7} {not_loaded:>6} {slowest:>8} {tests:>5} {failed:>6} {took:>6}"
            )
        };
        line(formatter, ' ', &titles)?;
        for row in self.rows {
            let Row { name, findings, took } = row;
            let mark = if row.is_good() { ' ' } else { '!' };
            let took = format!("{} s", took.as_secs());
            match findings {
                Ok(findings) => {
                    let Findings { release, loaded, refused, not_loaded, slowest, passed, failed, .. } = findings;
                    let slowest = format!("{} ms", slowest.as_millis());
                    let counts = [*loaded, *refused, not_loaded.len(), *passed, failed.len()];
                    let [loaded, refused, not_loaded, passed, failed] = counts.map(|count| count.to_string());
                    line(formatter, mark, &[name, release, &loaded, &refused, &not_loaded, &slowest, &passed, &failed, &took])?;
                }
                Err(_) => line(formatter, mark, &[name, "not checked", "-", "-", "-", "-", "-", "-", &took])?,
            }
        }
        for Row { name, findings, took: _ } in self.rows {
            let Findings { lacks, not_loaded, failed, errors, ended, .. } = match findings {
                Ok(findings) => findings,
                Err(error) => {
                    writeln!(formatter, "! {name}: {error:#}")?;
                    continue;
                }
            };
            lacks.iter().try_for_each(|lack| writeln!(formatter, "  {name}: {lack}"))?;
            not_loaded.iter().try_for_each(|why| writeln!(formatter, "! {name}: cannot load {why}"))?;
            failed.iter().try_for_each(|test| writeln!(formatter, "! {name}: failed {test}"))?;
            errors.iter().try_for_each(|error| writeln!(formatter, "! {name}: {error}"))?;
            if !ended {
                writeln!(formatter, "! {name}: the check did not come to its end")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = r#"Booting from ROM..kernel-check: {"event":"kernel","release":"5.10.0","lacks":"no frags"}
[    3.1] random: crng init done
kernel-check: {"event":"load","features":"words=1","verified":10,"milliseconds":7}
kernel-check: {"event":"load","features":"words=2","verified":20,"milliseconds":5}
kernel-check: {"event":"test","test":"corpus","passed":true}
kernel-check: {"event":"end","failed":0}
"#;

    #[test]
    fn a_good_kernel_is_good_only_with_its_end() {
        let findings = Findings::read(CONSOLE).unwrap();
        assert!(findings.is_good(), "{findings:?}");
        assert_eq!((findings.loaded, findings.passed, findings.verified, findings.slowest.as_millis()), (2, 1, Some(20), 7));
        let cut = CONSOLE.replace(r#"{"event":"end","failed":0}"#, "");
        assert!(!Findings::read(&cut).unwrap().is_good());
    }

    #[test]
    fn refusals_failures_and_errors_are_told_with_their_reason() {
        for (line, told) in [
            (r#"{"event":"load","features":"words=3","error":"too complex"}"#, "! 5.10: cannot load words=3: too complex"),
            (r#"{"event":"test","test":"corpus","passed":false}"#, "! 5.10: failed corpus"),
            (r#"{"event":"error","error":"no /proc"}"#, "! 5.10: no /proc"),
        ] {
            let findings = Findings::read(&format!("{CONSOLE}kernel-check: {line}\n")).unwrap();
            let row = Row { name: "5.10", findings: Ok(findings), took: Duration::from_secs(3) };
            assert!(!row.is_good());
            let table = Table { rows: &[row] }.to_string();
            assert!(table.lines().any(|line| line == told), "{table}");
            assert!(table.lines().all(|line| line.len() <= 100), "{table}");
        }
    }

    #[test]
    fn a_refusal_wants_a_reason() {
        let console = format!("{CONSOLE}kernel-check: {}\n", r#"{"event":"load","features":"rates=1","refused":"rate_limit"}"#);
        assert!(Findings::read(&console).unwrap().is_good());
        assert!(!Findings::read(&console.replace(r#""no frags""#, "null")).unwrap().is_good());
    }

    #[test]
    fn a_kernel_that_said_nothing_is_not_passed_over() {
        assert_eq!(Findings::read("Kernel panic - not syncing"), None);
        let row = Row { name: "newest", findings: Err(anyhow::anyhow!("no mirror")), took: Duration::ZERO };
        assert!(!row.is_good());
        let table = Table { rows: &[row] }.to_string();
        assert!(table.contains("! newest: no mirror"), "{table}");
    }

    #[test]
    fn nothing_loaded_and_nothing_tested_is_not_good() {
        let text = CONSOLE.lines().filter(|line| !line.contains("test")).collect::<Vec<_>>().join("\n");
        assert!(!Findings::read(&text).unwrap().is_good());
        let text = CONSOLE.lines().filter(|line| !line.contains("load")).collect::<Vec<_>>().join("\n");
        assert!(!Findings::read(&text).unwrap().is_good());
    }
}
