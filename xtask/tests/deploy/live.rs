//! Debian's Prometheus scrapes the real agent under traffic, and answers every query of the alerts and of the dashboard.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use xtask::build::agent_path;
use xtask::command::{find_program, output, workspace};
use xtask::lab::agent::{Agent, Settings};
use xtask::lab::client::{Family, Protocol, Try};
use xtask::lab::plan::{ELSEWHERE, PHONE, REPORTING, gateway, port};
use xtask::lab::process::{Process, wait_until};
use xtask::lab::{Lab, Namespace};

use crate::dashboard;
use crate::tool::deploy;

const LISTEN: &str = "127.0.0.1:9651";
/// Long enough for a rate over scrapes a second apart.
const PATIENCE: Duration = Duration::from_secs(30);

/// A policy in mode `monitor` that ends one day, and has a deadline, so that the panels and alerts of what would be blocked, and of dates, have something to show.
const TRIAL: &str = r#"
apiVersion: edge/v1
kind: Policy
metadata: {name: trial, title: What would happen to laptops, expires: 2199-12-31, stopBy: 2199-01-01}
spec:
  mode: monitor
  devices: {laptops: {mac: ["10:c5:95:00:00:00/24"]}}
  rules:
    - {id: look, from: laptops, action: drop}
"#;

#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn every_query_has_data_and_the_banned_device_raises_its_alert_and_is_named() -> Result<()> {
    if find_program("prometheus").is_none() {
        println!("skipped: prometheus is not installed; it is in Debian's package prometheus");
        return Ok(());
    }
    let lab = Lab::start()?;
    let policies = policies(&lab)?;
    let agent = Agent::start(&lab, &agent_path()?, &Settings::new(policies))?;
    let prometheus = Prometheus::start(&lab)?;

    // A rate needs two scrapes that differ, so the traffic goes on while the queries are asked.
    for (title, query) in dashboard::queries(&dashboard::load()) {
        prometheus.wait_for_data(&lab, &query).with_context(|| format!("the panel \"{title}\""))?;
    }

    let alerts = prometheus.alerts()?;
    ensure!(alerts.len() > 3, "Prometheus has not loaded the rules: {alerts:?}");
    for Alert { name, query, health } in &alerts {
        ensure!(health == "ok", "Prometheus cannot evaluate {name}: {health}");
        // An alert that does not fire has no data, but what it looks at must.
        let selectors = selectors(query);
        ensure!(!selectors.is_empty(), "{name} looks at nothing: {query}");
        for selector in selectors {
            prometheus.wait_for_data(&lab, &selector).with_context(|| format!("the alert {name}"))?;
        }
    }
    prometheus.wait_for_data(&lab, r#"ALERTS{alertname="EdgeBannedDeviceReporting", alertstate="firing", rule="no-reporting"}"#)?;
    let others = prometheus.query(r#"count by (alertname) (ALERTS{alertname!="EdgeBannedDeviceReporting"})"#)?;
    ensure!(others.is_empty(), "an alert that has no reason here: {others:?}");

    let recent = agent.command(&["status", "--recent", "1000", "--json"])?;
    let recent = String::from_utf8(recent.stdout)?;
    let reports = recent.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let is_evidence = |report: &Value| {
        report["rule"]["rule"] == "no-reporting"
            && report["device"] == PHONE.mac
            && report["destination"] == REPORTING.ipv4.to_string()
            && report["destination_port"] == port::UDP_ECHO
            && report["interface"] == gateway::INSIDE
            && report["verdict"] == "drop"
    };
    ensure!(reports.iter().any(is_evidence), "nothing tells of the phone: {recent}");
    ensure!(reports.iter().any(|report| report["rule"]["policy"] == "trial" && report["monitored"] == true), "nor of the trial: {recent}");
    Ok(())
}

/// A shipped policy with its lists, and the trial.
fn policies(lab: &Lab) -> Result<PathBuf> {
    let folder = lab.directory.path().join("policies");
    fs::create_dir_all(&folder)?;
    for shipped in ["iaf-2014", "lists"] {
        output(std::process::Command::new("cp").arg("--recursive").arg(workspace().join("policies").join(shipped)).arg(&folder))?;
    }
    lab.directory.write("policies/trial/trial.yaml", TRIAL)?;
    Ok(folder)
}

struct Prometheus<'lab> {
    gateway: &'lab Namespace,
    _process: Process,
}

#[derive(Debug)]
struct Alert {
    name: String,
    query: String,
    health: String,
}

impl<'lab> Prometheus<'lab> {
    /// With the shipped configuration, but asking every second.
    fn start(lab: &'lab Lab) -> Result<Self> {
        let shipped = fs::read_to_string(deploy("prometheus/scrape.yaml"))?;
        let fast = shipped.replace("_interval: 15s", "_interval: 1s");
        ensure!(fast != shipped, "the shipped configuration has no interval of 15 s");
        let configuration = lab.directory.write("prometheus/scrape.yaml", &fast)?;
        lab.directory.write("prometheus/alerts.yaml", &fs::read_to_string(deploy("prometheus/alerts.yaml"))?)?;

        let mut command = lab.gateway.command("prometheus");
        command
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", lab.directory.path().join("prometheus/data").display()))
            .arg(format!("--web.listen-address={LISTEN}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut process = Process::start(&mut command)?;
        wait_until(PATIENCE, "Prometheus is ready", || {
            process.check()?;
            Ok(get(&lab.gateway, "/-/ready", &[]).is_ok())
        })?;
        Ok(Self { gateway: &lab.gateway, _process: process })
    }

    fn query(&self, query: &str) -> Result<Vec<Value>> {
        let answer = get(self.gateway, "/api/v1/query", &[("query", query)])?;
        let answer: Value = serde_json::from_str(&answer).with_context(|| format!("not JSON: {answer}"))?;
        match (&answer["status"], &answer["data"]["result"]) {
            (Value::String(status), Value::Array(result)) if status == "success" => Ok(result.clone()),
            _ => bail!("{query}: {answer}"),
        }
    }

    /// Makes traffic until the query has a result.
    fn wait_for_data(&self, lab: &Lab, query: &str) -> Result<()> {
        wait_until(PATIENCE, &format!("there is data for {query}"), || {
            if !self.query(query)?.is_empty() {
                return Ok(true);
            }
            make_traffic(lab)?;
            Ok(false)
        })
    }

    fn alerts(&self) -> Result<Vec<Alert>> {
        let all = || -> Result<Vec<Alert>> {
            let answer: Value = serde_json::from_str(&get(self.gateway, "/api/v1/rules", &[("type", "alert")])?)?;
            let rules = answer["data"]["groups"].as_array().into_iter().flatten().filter_map(|group| group["rules"].as_array()).flatten();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            Ok(rules.map(|rule| Alert { name: text(&rule["name"]), query: text(&rule["query"]), health: text(&rule["health"]) }).collect())
        };
        let mut alerts = Vec::new();
        wait_until(PATIENCE, "Prometheus has evaluated the rules", || {
            alerts = all()?;
            Ok(alerts.iter().all(|alert| alert.health != "unknown"))
        })?;
        Ok(alerts)
    }
}

fn get(namespace: &Namespace, path: &str, parameters: &[(&str, &str)]) -> Result<String> {
    let mut curl = namespace.command("curl");
    curl.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "10", "--fail-with-body", "--get"]);
    for (name, value) in parameters {
        curl.arg("--data-urlencode").arg(format!("{name}={value}"));
    }
    output(curl.arg(format!("http://{LISTEN}{path}")))
}

/// The phone is kept from its server, and the laptop is not.
fn make_traffic(lab: &Lab) -> Result<()> {
    let ipv4 = |protocol, server| Try { protocol, server, family: Family::Ipv4 };
    // By its address: the name would not be resolved.
    ipv4(Protocol::Echo, REPORTING).from(&lab.phone, &lab.directory)?;
    ipv4(Protocol::Http, ELSEWHERE).from(&lab.laptop, &lab.directory)?;
    Ok(())
}

/// The metrics that a query names, each with its label matchers.
fn selectors(query: &str) -> Vec<String> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(at) = rest.find(is_name) {
        let (name, tail) = rest[at..].split_at(rest[at..].find(|letter| !is_name(letter)).unwrap_or(rest.len() - at));
        let matchers = match (tail.starts_with('{'), tail.find('}')) {
            (true, Some(end)) => &tail[..=end],
            _ => "",
        };
        if name.starts_with("edge_") || name == "up" {
            found.push(format!("{name}{matchers}"));
        }
        rest = &tail[matchers.len()..];
    }
    found
}

#[test]
fn selectors_are_found_with_their_matchers() {
    let query = r#"sum by (rule) (increase(edge_a_total{action=~"drop|up"}[5m])) * on (up_time) group_left (title) edge_b > 0 and up == 1"#;
    assert_eq!(selectors(query), [r#"edge_a_total{action=~"drop|up"}"#, "edge_b", "up"]);
}
