use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use edge_agent::config::AgentConfig;
use edge_agent::dataplane::kernel::Kernel;
use edge_agent::identity::inventory::Inventory;
use edge_agent::policy::compile::compile;
use edge_agent::policy::load::{load, today};
use edge_agent::policy::problem::{Place, Problems};
use edge_agent::policy::resolve::{Resolution, resolve_with};
use edge_agent::sources::Sources;
use edge_agent::sources::domain_list::{DomainList, Lines};
use jiff::Timestamp;

/// Check policies and print all that is wrong in them
///
/// Exits with 1 if there is an error. Warnings alone do not keep policies from being loaded.
#[derive(Args)]
pub struct Check {
    /// Policy files, or folders of them [default: the folder that agent.yaml names]
    paths: Vec<PathBuf>,
    /// One JSON object a line: each problem, each domain list, then a summary.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub fn run(self, config: &Path) -> anyhow::Result<ExitCode> {
        let Self { paths, json } = self;
        let config = match read_config(config, !paths.is_empty()) {
            Ok(config) => config,
            Err(problems) => {
                print(&problems, json)?;
                return Ok(ExitCode::FAILURE);
            }
        };
        let paths = if paths.is_empty() { vec![config.policies.clone()] } else { paths };
        let mut loaded = load(&paths, today());
        loaded.check_interfaces(&config.interfaces);
        let mut sources = Sources::new(config.sources);
        let mut of_inventory = Problems::default();
        let inventory = config.identity.inventory.map_or_else(Inventory::default, |path| Inventory::read(&path, &mut of_inventory));
        // Which addresses are the gateway's own changes no check.
        let resolved = match resolve_with(loaded, &config.always_allow, &[], &inventory, &mut sources) {
            Ok(resolution) if of_inventory.errors() == 0 => Ok(resolution),
            Ok(_) => Err(of_inventory),
            Err(mut problems) => {
                problems.append(of_inventory);
                Err(problems)
            }
        };
        let result = resolved.and_then(|resolution| match fits(&resolution) {
            Ok(()) => Ok(resolution),
            Err(error) => {
                let mut problems = resolution.warnings;
                problems.error(&Place::file(&paths[0]), error);
                Err(problems)
            }
        });
        let (problems, summary) = match &result {
            Ok(resolution) => (&resolution.warnings, Some(resolution.summary())),
            Err(problems) => (problems, None),
        };
        print(problems, json)?;
        let mut out = std::io::stdout().lock();
        for (path, list) in sources.domain_lists() {
            print_list(&mut out, path, list, json)?;
        }
        let (errors, warnings) = (problems.errors(), problems.warnings());
        if json {
            writeln!(out, "{}", serde_json::json!({"summary": {"errors": errors, "warnings": warnings, "set": summary}}))?;
        } else {
            match summary {
                Some(summary) => writeln!(out, "{summary}; {}", count(warnings, "warning"))?,
                None => writeln!(out, "{}, {}; nothing would be loaded", count(errors, "error"), count(warnings, "warning"))?,
            }
        }
        Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Whether the set fits the tables, and this machine's kernel can do what it wants. Only root can ask the kernel.
fn fits(resolution: &Resolution) -> Result<(), String> {
    let compiled = compile(&resolution.resolved, Timestamp::now()).map_err(|error| error.to_string())?;
    Kernel::probe().map_or(Ok(()), |kernel| kernel.refuse(&compiled)).map_err(|error| error.to_string())
}

/// Policies can be checked where no agent is configured: `optional` takes the defaults if the file does not exist.
pub(super) fn read_config(path: &Path, optional: bool) -> Result<AgentConfig, Problems> {
    if optional && !path.exists() { Ok(AgentConfig::default()) } else { AgentConfig::read(path) }
}

pub(super) fn print(problems: &Problems, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for problem in problems.iter() {
        if json {
            writeln!(out, "{}", problem.json())?;
        } else {
            writeln!(out, "{problem}")?;
        }
    }
    Ok(())
}

/// What a domain list gave.
fn print_list(out: &mut impl Write, path: &Path, list: &DomainList, json: bool) -> std::io::Result<()> {
    let DomainList { names, format, entries, left_out } = list;
    if json {
        let left_out: Vec<&Lines> = left_out.iter().collect();
        let list = serde_json::json!({"file": path, "format": format, "entries": entries, "names": names.len(), "left_out": left_out});
        return writeln!(out, "{}", serde_json::json!({"domain_list": list}));
    }
    write!(out, "{}: {format}, {entries} names", path.display())?;
    if names.len() < *entries {
        write!(out, ", {} of them twice or covered by others", entries - names.len())?;
    }
    let parts: Vec<String> = left_out.iter().map(ToString::to_string).collect();
    if !parts.is_empty() {
        write!(out, "; left out: {}", parts.join("; "))?;
    }
    writeln!(out)
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
