//! The Grafana dashboard: its structure, and its queries for others to evaluate.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::tool::deploy;

pub fn load() -> Value {
    let text = fs::read_to_string(deploy("grafana/edge.json")).expect("the dashboard");
    serde_json::from_str(&text).expect("JSON")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// Each panel's title and query, with what Grafana would put in the place of its variables.
pub fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for panel in list(dashboard, "panels") {
        for target in list(panel, "targets") {
            let query = target["expr"].as_str().expect("a target has a query");
            let query = query.replace("$__rate_interval", "1m").replace("$__range", "5m").replace("$instance", ".*");
            queries.push((panel["title"].as_str().expect("a panel has a title").to_owned(), query));
        }
    }
    queries
}

#[test]
fn each_panel_has_its_id_its_place_and_the_chosen_data_source() {
    let dashboard = load();
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in list(&dashboard, "panels") {
        let title = &panel["title"];
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{title}: an id twice");
        let place = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        assert!(place("x") + place("w") <= 24, "{title} stands over the edge");
        for y in place("y")..place("y") + place("h") {
            for x in place("x")..place("x") + place("w") {
                assert!(cells.insert((x, y)), "{title} lies on another panel");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title} does not say what it shows");
        assert!(!list(panel, "targets").is_empty(), "{title} shows nothing");
        let sources = list(panel, "targets").iter().chain([panel]).map(|part| &part["datasource"]["uid"]);
        assert!(sources.into_iter().all(|uid| uid == "${datasource}"), "{title} is bound to one data source");
    }
    assert!(ids.len() > 10, "the panels are found");
}

#[test]
fn each_variable_used_is_defined() {
    let dashboard = load();
    let defined: BTreeSet<_> = list(&dashboard["templating"], "list").iter().filter_map(|variable| variable["name"].as_str()).collect();
    assert_eq!(defined, BTreeSet::from(["datasource", "instance"]));
    for (title, query) in queries(&dashboard) {
        assert!(!query.contains('$'), "{title}: {query} has a variable of no meaning");
    }
}
