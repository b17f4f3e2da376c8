//! From policy files to a generation in force, in a process that does nothing else, so that its peak of memory is the agent's.

use std::env;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use edge_agent::config::{Conduct, TableSizes};
use edge_agent::dataplane::interfaces::Interfaces;
use edge_agent::dataplane::snapshot::Role;
use edge_agent::dataplane::{Dataplane, Settings, WantedInterface, WantedMode};
use edge_agent::policy::compile::compile;
use serde_json::{Map, Value, json};
use xtask::command::output;
use xtask::lab::{Directory, Namespace};

use crate::Rows;
use crate::goal::{Goal, Values};
use crate::report::{Row, rounded};
use crate::sets::{self, Folder};

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Job {
    Countries,
    Shipped,
}

pub const NAMES: [&str; 4] = ["swap_countries", "memory_countries", "swap_shipped", "memory_shipped"];
const INTERFACE: &str = "inside0";

pub fn run(namespace: &Namespace, directory: &Directory, quick: bool) -> Result<Rows> {
    namespace.ip(&[&format!("link add {INTERFACE} type veth"), &format!("link set {INTERFACE} up")])?;
    let mut rows = Vec::new();
    let [swap_countries, memory_countries, swap_shipped, memory_shipped] = NAMES;
    let bench = env::current_exe().context("the bench does not find itself")?;
    for (job, time, time_goal, memory, memory_goal) in
        [(Job::Countries, swap_countries, 1500.0, memory_countries, 400.0), (Job::Shipped, swap_shipped, 150.0, memory_shipped, 64.0)]
    {
        let job_name = job.to_possible_value().context("a job without a name")?.get_name().to_owned();
        // The best of some processes: the machine's other work only adds.
        let mut best: Option<Map<String, Value>> = None;
        for run in 0..if quick { 1 } else { 3 } {
            let pins = directory.bpf().join(format!("{job_name}-{run}"));
            let printed = output(namespace.command(&bench).args(["--stages", &job_name, "--pins"]).arg(&pins))?;
            let stages: Map<String, Value> = serde_json::from_str(&printed).context("the stages are not JSON")?;
            let milliseconds = |stages: &Map<String, Value>| stages.get("total_ms").and_then(Value::as_f64).unwrap_or(f64::INFINITY);
            if best.as_ref().is_none_or(|best| milliseconds(&stages) < milliseconds(best)) {
                best = Some(stages);
            }
        }
        let mut details = best.context("no process measured the stages")?;
        let figure = |key: &str| details.get(key).and_then(Value::as_f64).with_context(|| format!("the stages lack {key}"));
        // Of the largest set the peak counts, of the shipped one what stays.
        let megabytes = figure(if job == Job::Countries { "peak_mib" } else { "resident_mib" })?;
        let total = figure("total_ms")?;
        details.insert("about".into(), json!("compile + load + swap on one interface; reading the policies and their sources apart"));
        for (scenario, value, unit, goal) in [(time, total, "ms", time_goal), (memory, megabytes, "MiB", memory_goal)] {
            let goal = Goal::AtMost(goal);
            let met = goal.judge(value, &Values::new(), 0.0).map(|(_, met)| met);
            rows.push(Row { scenario, value: rounded(value), unit, goal: goal.to_string(), met, details: details.clone() });
        }
    }
    Ok(rows)
}

/// What the child process does: each stage once, and a second swap, which replaces a generation in force.
pub fn stages(job: Job, pins: &Path) -> Result<()> {
    let folder = match job {
        Job::Countries => Some(Folder::new(&sets::countries_yaml(&sets::codes()?))?),
        Job::Shipped => None,
    };
    let folder_path = folder.as_ref().map_or_else(sets::shipped_folder, Folder::path);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let interfaces = runtime.block_on(async { Interfaces::open()?.all().await })?;
    let mut watch = Watch { start: Instant::now(), stages: Map::new() };

    let resolved = sets::resolved(&[folder_path])?;
    watch.lap("read_and_resolve_ms");
    let compiled = compile(&resolved, jiff::Timestamp::now())?;
    drop(resolved);
    let compile_ms = watch.lap("compile_ms");
    let wanted = WantedInterface { name: INTERFACE.to_owned(), role: Role::Inside, mode: WantedMode::Native };
    let settings = Settings {
        pins: pins.to_owned(),
        interfaces: vec![wanted],
        conduct: Conduct::default(),
        tables: TableSizes::default(),
        report_limit: 100,
    };
    let mut dataplane = Dataplane::open(settings.clone())?;
    watch.lap("open_ms");
    let swapped = dataplane.swap(&compiled, &settings, &interfaces)?;
    ensure!(swapped.attached.len() == 1, "the generation was attached to {} interfaces", swapped.attached.len());
    let attach_ms = watch.lap("load_and_attach_ms");
    dataplane.swap(&compiled, &settings, &interfaces)?;
    let swap_ms = watch.lap("load_and_swap_ms");
    drop(compiled);

    let Watch { mut stages, .. } = watch;
    stages.insert("total_ms".into(), json!(rounded(compile_ms + attach_ms.max(swap_ms))));
    stages.insert("peak_mib".into(), json!(rounded(status("VmHWM:")?)));
    stages.insert("resident_mib".into(), json!(rounded(status("VmRSS:")?)));
    dataplane.detach()?;
    println!("{}", Value::Object(stages));
    Ok(())
}

struct Watch {
    start: Instant,
    stages: Map<String, Value>,
}

impl Watch {
    fn lap(&mut self, stage: &str) -> f64 {
        let milliseconds = self.start.elapsed().as_secs_f64() * 1e3;
        self.stages.insert(stage.to_owned(), json!(rounded(milliseconds)));
        self.start = Instant::now();
        milliseconds
    }
}

/// MiB of a line of this process's status.
fn status(key: &str) -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key} in /proc/self/status"))?;
    let kibibytes: f64 = value.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes / 1024.0)
}
