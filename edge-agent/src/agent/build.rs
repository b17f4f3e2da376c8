//! From files to tables: load, resolve, compile, in one go, with what must be watched and told of it.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::status::{PolicyStatus, SourceStatus, Stage};
use super::watch::Watched;
use crate::config::{AgentConfig, SourceFiles};
use crate::identity::devices::Devices;
use crate::identity::groups::Groups;
use crate::identity::inventory::Inventory;
use crate::policy::compile::{Compiled, compile};
use jiff::Timestamp;

use crate::policy::load::{load, today};
use crate::policy::model::{Mode, PolicyInfo};
use crate::policy::problem::{Problems, Severity};
use crate::policy::resolve::{Resolution, resolve_with};
use crate::sources::Sources;
use crate::sources::file::Provenance;

/// A policy set that is ready for the kernel.
#[derive(Debug)]
pub struct Built {
    pub compiled: Compiled,
    pub groups: Groups,
    pub inventory: Arc<Inventory>,
    pub told: Told,
}

/// What the status tells of it.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub policies: Vec<PolicyStatus>,
    pub warnings: Vec<String>,
    pub sources: Vec<SourceStatus>,
}

/// A step that found errors.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BuildError {
    pub stage: Stage,
    /// As `edge-agent check` prints them.
    pub problems: String,
}

/// Builds the policies that `config` names, for a gateway with these addresses. Also returns the files that a second attempt would
/// read, whatever came of this one.
pub fn build(
    config_file: &Path,
    config: &AgentConfig,
    sources: &mut Sources,
    own_addresses: &[IpAddr],
    devices: &Devices,
) -> (Watched, Result<Built, BuildError>) {
    let mut loaded = load(std::slice::from_ref(&config.policies), today());
    loaded.check_interfaces(&config.interfaces);
    let (inventory, mut problems) = read_inventory(config, devices);
    let destinations = || loaded.policies().iter().flat_map(|policy| &policy.destinations);
    let prefix_lists = destinations().flat_map(|destination| &destination.prefix_lists).map(|list| list.value.as_path());
    let domain_lists: HashSet<PathBuf> =
        destinations().flat_map(|destination| &destination.domain_lists).map(|list| list.value.path.clone()).collect();
    let files = config.sources.paths().chain(prefix_lists).chain(domain_lists.iter().map(PathBuf::as_path));
    let files = files.chain(config.identity.inventory.as_deref()).chain([config_file]);
    let watched = Watched { folders: [config.policies.clone()].into(), files: files.map(Path::to_owned).collect() };

    let stage = if loaded.problems().errors() + problems.errors() > 0 { Stage::Load } else { Stage::Resolve };
    let resolved = resolve_with(loaded, &config.always_allow, own_addresses, &inventory, sources);
    let resolution = match resolved {
        Ok(resolution) if problems.errors() == 0 => Ok(resolution),
        Ok(_) => Err(problems),
        Err(others) => {
            problems.append(others);
            Err(problems)
        }
    };
    let result = resolution
        .map_err(|problems| BuildError { stage, problems: problems.to_string() })
        .and_then(|resolution| finish(config, &domain_lists, resolution, inventory));
    (watched, result)
}

/// With the devices that have the addresses in it now.
fn read_inventory(config: &AgentConfig, devices: &Devices) -> (Inventory, Problems) {
    let mut problems = Problems::default();
    let Some(path) = &config.identity.inventory else { return (Inventory::default(), problems) };
    let mut inventory = Inventory::read(path, &mut problems);
    problems.sort();
    inventory.set_owners(devices.owners(&inventory));
    (inventory, problems)
}

fn finish(
    config: &AgentConfig,
    domain_lists: &HashSet<PathBuf>,
    resolution: Resolution,
    inventory: Inventory,
) -> Result<Built, BuildError> {
    let Resolution { resolved, tests: _, reviews, deadlines, warnings, sources } = resolution;
    let compiled =
        compile(&resolved, Timestamp::now()).map_err(|error| BuildError { stage: Stage::Compile, problems: error.to_string() })?;
    let told = Told {
        policies: compiled
            .policies
            .iter()
            .filter(|policy| !policy.built_in)
            .map(|policy| policy_status(policy, &reviews, &deadlines))
            .collect(),
        warnings: warnings.iter().filter(|problem| problem.severity == Severity::Warning).map(ToString::to_string).collect(),
        sources: sources.into_iter().map(|source| source_status(config, domain_lists, source)).collect(),
    };
    let groups = Groups::of(&resolved, compiled.identity.as_ref());
    Ok(Built { compiled, groups, inventory: Arc::new(inventory), told })
}

fn policy_status(policy: &PolicyInfo, reviews: &HashMap<String, i64>, deadlines: &HashMap<String, i64>) -> PolicyStatus {
    let PolicyInfo { name, title, severity, mode, priority, expires, built_in: _ } = policy;
    let mode = match mode {
        Mode::Enforce => "enforce",
        Mode::Monitor => "monitor",
    };
    PolicyStatus {
        name: name.clone(),
        title: title.clone(),
        severity: severity.clone(),
        mode,
        priority: *priority,
        expires: expires.and_then(moment),
        review_by: reviews.get(name).copied().and_then(moment),
        stop_by: deadlines.get(name).copied().and_then(moment),
    }
}

fn source_status(config: &AgentConfig, domain_lists: &HashSet<PathBuf>, source: Provenance) -> SourceStatus {
    let SourceFiles { vendors, countries_v4, countries_v6, countries_mmdb, asns, services } = &config.sources;
    let Provenance { path, entries, modified, sha256, shrunk_to, .. } = source;
    // Addresses and names change hands; the assignments of vendors and services are only added to.
    let (name, ages) = match &path {
        path if vendors.contains(path) => ("vendors", false),
        path if path == countries_v4 || path == countries_v6 || Some(path) == countries_mmdb.as_ref() => ("countries", true),
        path if Some(path) == asns.as_ref() => ("asns", true),
        path if path == services => ("services", false),
        path if domain_lists.contains(path) => ("domain_list", true),
        _ => ("prefix_list", true),
    };
    let modified = moment(modified);
    let stale_from = modified.zip(config.source_limits.max_age.filter(|_| ages)).and_then(|(modified, age)| modified.checked_add(age));
    let shrunk_to = shrunk_to.map(|entries| entries as u64);
    SourceStatus { name: name.to_owned(), file: path, entries: entries as u64, modified, sha256, stale_from, shrunk_to }
}

/// A second of the Unix epoch; `None` before it.
fn moment(second: i64) -> Option<SystemTime> {
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(second).ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const POLICY: &str = "
apiVersion: edge/v1
kind: Policy
metadata: {name: p, title: t}
spec:
  destinations: {there: {prefixes: [192.0.2.0/24], prefix_lists: [list.txt]}}
  rules: [{id: r, from: all, to: [there], action: drop}]
";

    fn built(policy: &str, list: Option<&str>) -> (Watched, Result<Built, BuildError>) {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("p.yaml"), policy).expect("a file");
        if let Some(list) = list {
            fs::write(folder.path().join("list.txt"), list).expect("a file");
        }
        let config = AgentConfig { policies: folder.path().to_owned(), ..AgentConfig::default() };
        let devices = Devices::open(folder.path(), 10, &config.identity);
        build(Path::new("/etc/edge/agent.yaml"), &config, &mut Sources::new(config.sources.clone()), &[], &devices)
    }

    #[test]
    fn what_was_built_is_told_without_the_agents_own_policy() {
        let (_, built) = built(POLICY, Some("198.51.100.0/24\n"));
        let Built { compiled, told, .. } = built.expect("a right policy");
        assert!(compiled.rules.iter().any(|rule| rule.id == "r"));
        assert_eq!(told.policies.iter().map(|policy| policy.name.as_str()).collect::<Vec<_>>(), ["p"]);
        assert!(told.sources.iter().any(|source| source.name == "prefix_list" && source.entries == 1));
    }

    #[test]
    fn the_stage_that_failed_is_named_and_what_it_misses_is_watched() {
        let (watched, result) = built(POLICY, None);
        assert_eq!(result.map(|_| ()).expect_err("a list is missing").stage, Stage::Resolve);
        assert!(watched.files.iter().any(|file| file.ends_with("list.txt")), "{watched:?}");
        assert!(watched.files.contains(Path::new("/etc/edge/agent.yaml")));

        let (watched, _) = built(&POLICY.replace("prefix_lists: [list.txt]", "domain_lists: [rpz:names.zone]"), None);
        assert!(watched.files.iter().any(|file| file.ends_with("names.zone")), "{watched:?}");

        let (_, result) = built(&POLICY.replace("action: drop", "action: explode"), None);
        let error = result.map(|_| ()).expect_err("no such action");
        assert_eq!(error.stage, Stage::Load);
        assert!(error.problems.contains("explode") && error.problems.contains("p.yaml:7"), "{}", error.problems);
    }
}
