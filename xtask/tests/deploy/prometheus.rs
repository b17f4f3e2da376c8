//! Scrape configuration and rules, judged by Prometheus's own tool.

use std::fs;

use serde_json::json;

use crate::dashboard;
use crate::tool::{accepts, deploy, find, scratch};

#[test]
fn the_configuration_and_its_rules_are_valid() {
    let Some(mut promtool) = find("promtool", "prometheus") else { return };
    let said = accepts(promtool.args(["check", "config", "scrape.yaml"]).current_dir(deploy("prometheus")));
    assert!(said.contains("1 rule files found"), "{said}");
}

#[test]
fn each_alert_fires_when_it_should_and_only_then() {
    let Some(mut promtool) = find("promtool", "prometheus") else { return };
    accepts(promtool.args(["test", "rules", "alerts_test.yaml"]).current_dir(deploy("prometheus")));

    // An alert that nothing tests would pass the line above.
    let read = |file: &str| fs::read_to_string(deploy("prometheus").join(file)).expect("the file");
    let (alerts, tests) = (read("alerts.yaml"), read("alerts_test.yaml"));
    let names: Vec<_> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 3, "the alerts are found");
    for name in names {
        let fires = tests.contains(&format!("alertname: {name}\n        exp_alerts:\n"));
        let does_not = tests.contains(&format!("alertname: {name}, exp_alerts: []}}"));
        assert!(fires && does_not, "{name}: tested firing: {fires}, not firing: {does_not}");
    }
}

/// The dashboard's queries as recording rules, which promtool can check without data.
#[test]
fn each_query_of_the_dashboard_parses() {
    let Some(mut promtool) = find("promtool", "prometheus") else { return };
    let queries = dashboard::queries(&dashboard::load());
    let rules: Vec<_> =
        queries.iter().enumerate().map(|(index, (_, query))| json!({"record": format!("query:{index}"), "expr": query})).collect();
    let file = scratch("dashboard").join("rules.json");
    // JSON is YAML.
    fs::write(&file, json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string()).expect("written");
    let said = accepts(promtool.args(["check", "rules"]).arg(&file));
    assert!(said.contains(&format!("{} rules found", queries.len())), "{said}");
}
