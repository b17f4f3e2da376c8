use std::io::Write;
use std::process::{Command, Stdio};

use super::*;
use crate::dataplane::counters::RuleKey;

/// Of one device, two of one rule.
fn attempts() -> Arc<Attempts> {
    let attempts = Attempts::default();
    for at in [4, 8] {
        let mut report = crate::telemetry::history::sample(7);
        report.at = jiff::Timestamp::from_second(at).expect("a time");
        report.device = "64:09:80:00:00:01".into();
        report.rule = Some(RuleKey { policy: "iaf-xiaomi".into(), rule: "no-reporting".into(), action: "drop".into() });
        attempts.count(&report);
    }
    Arc::new(attempts)
}

fn text(source: impl Fn() -> Result<Status, StatusError> + Send + Sync + 'static) -> String {
    Exporter::new(Arc::new(source), Arc::default(), attempts(), Arc::default()).scrape().expect("metrics")
}

/// The exposition as a set of samples: which wrong value would still pass is then visible in this list.
#[test]
fn every_number_of_the_status_has_its_sample() {
    let text = text(|| Ok(sample::status()));
    let mut samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    samples.sort_unstable();
    let expected = r#"
edge_build_info{schema="1",version="0.1.0"} 1
edge_copies_suppressed_total 6
edge_copies_total{kind="answer_over_tcp",result="incomplete"} 0
edge_copies_total{kind="answer_over_tcp",result="nothing"} 0
edge_copies_total{kind="answer_over_tcp",result="taught"} 0
edge_copies_total{kind="answer_over_tcp",result="unreadable"} 0
edge_copies_total{kind="answer_over_tcp",result="untold"} 0
edge_copies_total{kind="client_hello",result="incomplete"} 0
edge_copies_total{kind="client_hello",result="nothing"} 0
edge_copies_total{kind="client_hello",result="taught"} 0
edge_copies_total{kind="client_hello",result="unreadable"} 0
edge_copies_total{kind="client_hello",result="untold"} 0
edge_copies_total{kind="fact",result="incomplete"} 0
edge_copies_total{kind="fact",result="nothing"} 0
edge_copies_total{kind="fact",result="taught"} 0
edge_copies_total{kind="fact",result="unreadable"} 0
edge_copies_total{kind="fact",result="untold"} 0
edge_copies_total{kind="long_answer",result="incomplete"} 0
edge_copies_total{kind="long_answer",result="nothing"} 0
edge_copies_total{kind="long_answer",result="taught"} 0
edge_copies_total{kind="long_answer",result="unreadable"} 0
edge_copies_total{kind="long_answer",result="untold"} 0
edge_copies_total{kind="quic_initial",result="incomplete"} 0
edge_copies_total{kind="quic_initial",result="nothing"} 0
edge_copies_total{kind="quic_initial",result="taught"} 0
edge_copies_total{kind="quic_initial",result="unreadable"} 0
edge_copies_total{kind="quic_initial",result="untold"} 0
edge_device_changes_total{kind="tcp_syn"} 2
edge_devices 8
edge_dns_answers_total{result="learned"} 1
edge_dns_answers_total{result="malformed"} 4
edge_dns_answers_total{result="nothing"} 2
edge_dns_answers_total{result="tcp"} 5
edge_dns_answers_total{result="too_long"} 3
edge_generation 7
edge_interface_bytes_total{interface="lan0",role="inside",verdict="drop"} 2000
edge_interface_bytes_total{interface="lan0",role="inside",verdict="pass"} 1000
edge_interface_bytes_total{interface="lan0",role="inside",verdict="reject"} 3000
edge_interface_bytes_total{interface="wan0",role="outside",verdict="drop"} 0
edge_interface_bytes_total{interface="wan0",role="outside",verdict="pass"} 0
edge_interface_bytes_total{interface="wan0",role="outside",verdict="reject"} 0
edge_interface_enforcing{interface="lan0",role="inside"} 1
edge_interface_enforcing{interface="wan0",role="outside"} 1
edge_interface_packets_total{interface="lan0",role="inside",verdict="drop"} 20
edge_interface_packets_total{interface="lan0",role="inside",verdict="pass"} 10
edge_interface_packets_total{interface="lan0",role="inside",verdict="reject"} 30
edge_interface_packets_total{interface="wan0",role="outside",verdict="drop"} 0
edge_interface_packets_total{interface="wan0",role="outside",verdict="pass"} 0
edge_interface_packets_total{interface="wan0",role="outside",verdict="reject"} 0
edge_interface_xdp_mode{interface="lan0",mode="generic",role="inside"} 0
edge_interface_xdp_mode{interface="lan0",mode="native",role="inside"} 1
edge_interface_xdp_mode{interface="wan0",mode="generic",role="outside"} 1
edge_interface_xdp_mode{interface="wan0",mode="native",role="outside"} 0
edge_loaded_timestamp_seconds 2
edge_policy_deadline_timestamp_seconds{policy="iaf-xiaomi"} 7200
edge_policy_expires_timestamp_seconds{policy="iaf-xiaomi"} 86400
edge_policy_info{mode="enforce",policy="iaf-xiaomi",priority="100",severity="medium",title="A \"quoted\" title"} 1
edge_policy_load_failures_total{stage="compile"} 0
edge_policy_load_failures_total{stage="load"} 0
edge_policy_load_failures_total{stage="resolve"} 1
edge_policy_load_failures_total{stage="swap"} 0
edge_policy_load_ok 1
edge_policy_review_due{policy="iaf-xiaomi"} 1
edge_policy_warnings 1
edge_ready 1
edge_reports_malformed_total 0
edge_reports_suppressed_total 9
edge_reports_total 0
edge_rule_bytes_total{action="drop",policy="iaf-xiaomi",rule="no-reporting"} 2000
edge_rule_bytes_total{action="would_drop",policy="gone",rule="old"} 429496729600
edge_rule_device_attempts_total{device="64:09:80:00:00:01",policy="iaf-xiaomi",rule="no-reporting"} 2
edge_rule_device_last_timestamp_seconds{device="64:09:80:00:00:01",policy="iaf-xiaomi",rule="no-reporting"} 8
edge_rule_packets_total{action="drop",policy="iaf-xiaomi",rule="no-reporting"} 20
edge_rule_packets_total{action="would_drop",policy="gone",rule="old"} 4294967296
edge_scrape_failures_total 0
edge_source_entries{file="/usr/share/tor/geoip",source="countries"} 385000
edge_source_info{file="/usr/share/tor/geoip",sha256="00ff",source="countries"} 1
edge_source_modified_timestamp_seconds{file="/usr/share/tor/geoip",source="countries"} 3
edge_source_shrunk{file="/usr/share/tor/geoip",source="countries"} 0
edge_source_stale_timestamp_seconds{file="/usr/share/tor/geoip",source="countries"} 5
edge_table_capacity{table="learned"} 65536
edge_table_capacity{table="rules"} 1024
edge_table_entries{table="learned"} 3
edge_table_entries{table="rules"} 2
edge_uninspectable_bytes_total{reason="truncated",verdict="drop"} 500
edge_uninspectable_packets_total{reason="truncated",verdict="drop"} 5
process_start_time_seconds 1.5
"#;
    assert_eq!(samples, expected.lines().skip(1).collect::<Vec<_>>());
}

#[test]
fn a_detached_interface_enforces_in_no_mode() {
    let text = text(|| {
        let mut status = sample::status();
        status.snapshot.interfaces[0].mode = None;
        Ok(status)
    });
    assert!(text.contains("edge_interface_enforcing{interface=\"lan0\",role=\"inside\"} 0\n"));
    assert!(text.contains("edge_interface_xdp_mode{interface=\"lan0\",mode=\"native\",role=\"inside\"} 0\n"));
}

#[test]
fn an_interface_whose_dns_answers_are_not_read_does_not_enforce_all() {
    let text = text(|| {
        let mut status = sample::status();
        status.snapshot.interfaces[0].lacks_answers = true;
        Ok(status)
    });
    assert!(text.contains("edge_interface_enforcing{interface=\"lan0\",role=\"inside\"} 0\n"));
    assert!(text.contains("edge_interface_xdp_mode{interface=\"lan0\",mode=\"native\",role=\"inside\"} 1\n"));
}

#[test]
fn a_file_that_is_not_taken_is_told_of_and_one_that_never_ages_has_no_such_time() {
    let text = text(|| {
        let mut status = sample::status();
        (status.sources[0].shrunk_to, status.sources[0].stale_from) = (Some(7), None);
        Ok(status)
    });
    assert!(text.contains("\nedge_source_shrunk{file=\"/usr/share/tor/geoip\",source=\"countries\"} 1\n"));
    assert!(!text.contains("edge_source_stale_timestamp_seconds"));
}

#[test]
fn a_review_is_due_from_its_day_on_and_what_does_not_expire_has_no_date() {
    let text = text(|| {
        let mut status = sample::status();
        status.policies[0].review_by = Some(SystemTime::now() + std::time::Duration::from_secs(3600));
        status.policies[0].expires = None;
        Ok(status)
    });
    assert!(text.contains("edge_policy_review_due{policy=\"iaf-xiaomi\"} 0\n"));
    assert!(!text.contains("edge_policy_expires_timestamp_seconds"));
}

#[test]
fn a_failed_load_is_told_while_the_old_policies_are_in_force() {
    let text = text(|| {
        let failure = crate::agent::status::Failure {
            at: SystemTime::UNIX_EPOCH,
            stage: crate::agent::status::Stage::Load,
            problems: "unknown key".into(),
        };
        Ok(Status { last_failure: Some(failure), ready: false, ..sample::status() })
    });
    assert!(text.contains("\nedge_policy_load_ok 0\n") && text.contains("\nedge_ready 0\n") && text.contains("\nedge_generation 7\n"));
}

#[test]
fn a_failed_scrape_is_counted_for_the_next() {
    let broken = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let source = Arc::clone(&broken);
    let exporter = Exporter::new(
        Arc::new(move || match source.load(Ordering::Relaxed) {
            true => Err(StatusError("map RULE_COUNTERS: EPERM".into())),
            false => Ok(sample::status()),
        }),
        Arc::default(),
        Arc::default(),
        Arc::default(),
    );
    assert!(exporter.scrape().is_err());
    broken.store(false, Ordering::Relaxed);
    assert!(exporter.scrape().expect("metrics").contains("\nedge_scrape_failures_total 1\n"));
}

/// Names, types and help texts, judged by Prometheus itself.
#[test]
fn promtool_finds_nothing() {
    let spawned =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut promtool = match spawned {
        Ok(child) => child,
        Err(error) => {
            println!("skipped: promtool does not run here ({error}); it is in Debian's package prometheus");
            return;
        }
    };
    let text = text(|| Ok(sample::status()));
    promtool.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}
