//! The commands `check` and `schema` as a shell sees them: exit code and output.

use std::process::{Command, Output};

use serde_json::Value;

fn edge_agent(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_edge-agent")).args(arguments).output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn errors_give_1_and_warnings_0() {
    let config = ["--config", "/nonexistent/agent.yaml", "check"];
    for (file, code, severity) in [("duplicate-rule", 1, "error"), ("shadowed-by-always-allow", 0, "warning")] {
        let path = format!("tests/broken/{file}.yaml");
        let plain = edge_agent(&[&config[..], &[&path]].concat());
        assert_eq!(plain.status.code(), Some(code), "{plain:?}");
        assert!(String::from_utf8_lossy(&plain.stdout).starts_with(&format!("{severity}: ")), "{plain:?}");

        let json = edge_agent(&[&config[..], &["--json", &path]].concat());
        assert_eq!(json.status.code(), Some(code));
        let lines = lines(&json);
        let (summary, problems) = lines.split_last().unwrap();
        assert!(!problems.is_empty() && problems.iter().any(|problem| problem["severity"] == severity), "{problems:?}");
        assert_eq!(problems[0]["file"], path.as_str());
        assert!(problems[0]["line"].as_u64() > Some(0) && problems[0]["hint"].is_string(), "{problems:?}");
        assert_eq!(summary["summary"]["errors"], problems.iter().filter(|problem| problem["severity"] == "error").count());
        assert_eq!(summary["summary"]["set"].is_null(), code == 1);
    }
}

#[test]
fn domain_lists_are_told_of_one_by_one() {
    let config = ["--config", "/nonexistent/agent.yaml", "check"];
    let path = "tests/data/complete/names.yaml";
    let plain = String::from_utf8(edge_agent(&[&config[..], &[path]].concat()).stdout).unwrap();
    let told =
        "tests/data/complete/../lists/names.txt: plain, 3 names, 1 of them twice or covered by others; left out: no name: 1 (line 5)\n";
    assert!(plain.contains(told), "{plain}");
    let json = lines(&edge_agent(&[&config[..], &["--json", path]].concat()));
    let list = &json.iter().find(|line| line["domain_list"].is_object()).expect("a line of the list")["domain_list"];
    assert_eq!((&list["format"], &list["entries"], &list["names"]), (&"plain".into(), &3.into(), &2.into()));
    assert_eq!((&list["left_out"][0]["count"], &list["left_out"][0]["lines"][0]), (&1.into(), &5.into()));
}

#[test]
fn without_paths_the_configuration_is_needed() {
    let output = edge_agent(&["--config", "/nonexistent/agent.yaml", "check", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(lines(&output)[0]["file"], "/nonexistent/agent.yaml");
}

#[test]
fn the_schemas_define_all_that_they_refer_to() {
    for kind in ["policy", "agent"] {
        let output = edge_agent(&["schema", kind]);
        let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        let mut references = Vec::new();
        collect(&schema, &mut references);
        assert!(references.len() > 5, "{references:?}");
        for reference in references {
            let target = schema.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{kind}: {reference}"));
            assert_eq!(target["type"], "object", "{reference}");
            assert_eq!(target["additionalProperties"], false, "{reference}");
        }
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            references.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect(value, references));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}
