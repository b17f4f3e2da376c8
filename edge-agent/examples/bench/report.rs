//! The results: one table, and one JSON object a line.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Map, Value};

/// One result.
#[derive(Serialize)]
pub struct Row {
    pub scenario: &'static str,
    pub value: f64,
    pub unit: &'static str,
    /// How the bound is made, empty where there is none.
    pub goal: String,
    /// `None`: without a goal, or what it refers to was not measured.
    pub met: Option<bool>,
    pub details: Map<String, Value>,
}

/// Collects rows, and writes each to the file as soon as it is there.
pub struct Report {
    rows: Vec<Row>,
    file: Option<File>,
}

impl Report {
    pub fn new(json: Option<&Path>) -> Result<Self> {
        let create = |path: &Path| File::create(path).with_context(|| format!("cannot write {}", path.display()));
        Ok(Self { rows: Vec::new(), file: json.map(create).transpose()? })
    }

    pub fn add(&mut self, rows: Vec<Row>) -> Result<()> {
        for mut row in rows {
            row.details.insert("load_average".into(), load_average().into());
            if let Some(file) = &mut self.file {
                writeln!(file, "{}", serde_json::to_string(&row)?).context("cannot write the results")?;
            }
            self.rows.push(row);
        }
        Ok(())
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub fn print(&self) {
        println!("{:<28} {:>9} {:<5} {:>9} {:>9}  goal", "scenario", "value", "", "median", "bound");
        for Row { scenario, value, unit, goal, met, details } in &self.rows {
            let number = |key: &str| details.get(key).and_then(Value::as_f64).map_or(String::new(), |value| format!("{value:.2}"));
            let met = match met {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "",
            };
            println!("{scenario:<28} {value:>9.2} {unit:<5} {:>9} {:>9}  {met:<6} {goal}", number("median"), number("bound"));
        }
        println!(
            "\nns: a packet's share of many runs in the kernel (BPF_PROG_TEST_RUN), less the empty program's; load average {}",
            load_average()
        );
    }
}

/// Two decimals are what such measurements bear.
pub fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Of the last minute; others' work is what disturbs a measurement most.
fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}
