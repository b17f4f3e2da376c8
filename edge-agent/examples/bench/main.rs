//! `./x bench`: what a packet costs, beside what it costs elsewhere, in one run on one machine. DESIGN's goals are in [`scenario`].

mod expected;
mod goal;
mod identity;
mod kernel;
mod line_rate;
mod live;
mod measure;
mod memory;
mod names;
mod peers;
mod report;
mod scenario;
mod sets;
mod swap;
mod throughput;
mod workshop;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use xtask::lab::{Directory, LabId, Namespace, remove_leftovers};

use report::{Report, Row};

#[derive(Parser)]
#[command(about = "Measures what a packet costs, and compares")]
struct Arguments {
    /// Write the results there too, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fewer and shorter batches.
    #[arg(long)]
    quick: bool,
    /// Only scenarios whose name begins so, and what they are compared with.
    #[arg(long, value_name = "SCENARIO", default_value = "")]
    only: String,
    /// Load this set once and print the stages: what the swap scenarios run in a process of its own.
    #[arg(long, hide = true)]
    stages: Option<swap::Job>,
    /// Where that process pins.
    #[arg(long, hide = true, default_value = "/sys/fs/bpf")]
    pins: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.stages {
        Some(job) => swap::stages(job, &arguments.pins),
        None => run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(Arguments { json, quick, only, .. }: &Arguments) -> Result<()> {
    remove_leftovers();
    let id = LabId::next();
    let directory = Directory::new(id)?;
    let namespace = |host: &str| Namespace::new(id.namespace(host));
    let mut report = Report::new(json.as_deref())?;
    measure::pin_to_a_cpu().context("cannot stay on one CPU")?;
    report.add(scenario::run(only, &namespace("peer")?, *quick)?)?;
    let wanted = |names: &[&str]| names.iter().any(|name| name.starts_with(only));
    if wanted(&live::NAMES) {
        eprintln!("bench: live frames");
        report.add(live::run(&namespace("live")?, *quick)?)?;
    }
    if wanted(&throughput::NAMES) {
        eprintln!("bench: throughput");
        report.add(throughput::run(&namespace("device")?, &namespace("gateway")?, &namespace("server")?, *quick)?)?;
    }
    if wanted(&swap::NAMES) {
        eprintln!("bench: swaps");
        report.add(swap::run(&namespace("swap")?, &directory, *quick)?)?;
    }
    report.print();
    line_rate::print(report.rows());
    Ok(())
}

/// What every measuring part returns.
type Rows = Vec<Row>;
