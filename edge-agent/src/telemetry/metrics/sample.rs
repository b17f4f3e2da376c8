//! A status with every kind of thing in it, for tests.

use std::time::{Duration, SystemTime};

use edge_ebpf::abi::{AnswerResult, Counter, Reason, Verdict};

use crate::agent::status::{DeviceCounts, PolicyStatus, SourceStatus, Stage, Status};
use crate::dataplane::snapshot::{InterfaceSnapshot, Role, RuleSnapshot, Snapshot, TableUse, XdpMode};

pub(crate) fn status() -> Status {
    let counter = |packets| Counter { packets, bytes: packets * 100 };
    let rule = |policy: &str, rule: &str, action: &str, active, packets| RuleSnapshot {
        policy: policy.into(),
        rule: rule.into(),
        action: action.into(),
        active,
        counter: counter(packets),
    };
    Status {
        version: "0.1.0",
        schema: 1,
        started_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_500),
        generation: 7,
        loaded_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(2)),
        ready: true,
        policies: vec![PolicyStatus {
            name: "iaf-xiaomi".into(),
            title: "A \"quoted\" title".into(),
            severity: "medium".into(),
            mode: "enforce",
            priority: 100,
            expires: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(86_400)),
            review_by: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(3_600)),
            stop_by: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(7_200)),
        }],
        warnings: vec!["rule `b` is shadowed".into()],
        sources: vec![SourceStatus {
            name: "countries".into(),
            file: "/usr/share/tor/geoip".into(),
            entries: 385_000,
            modified: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(3)),
            sha256: "00ff".into(),
            stale_from: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(5)),
            shrunk_to: None,
        }],
        load_failures: Stage::ALL.into_iter().map(|stage| (stage, u64::from(stage == Stage::Resolve))).collect(),
        last_failure: None,
        devices: DeviceCounts { known: 8, changes: vec![("tcp_syn", 2)] },
        snapshot: Snapshot {
            generation: 7,
            interfaces: vec![
                InterfaceSnapshot {
                    name: "lan0".into(),
                    role: Role::Inside,
                    mode: Some(XdpMode::Native),
                    lacks_answers: false,
                    verdicts: [counter(10), counter(20), counter(30)],
                },
                InterfaceSnapshot {
                    name: "wan0".into(),
                    role: Role::Outside,
                    mode: Some(XdpMode::Generic),
                    lacks_answers: false,
                    verdicts: [counter(0); 3],
                },
            ],
            rules: vec![
                rule("iaf-xiaomi", "no-reporting", "drop", true, 20),
                rule("gone", "old", "would_drop", false, u64::from(u32::MAX) + 1),
            ],
            uninspectable: vec![(Reason::Truncated, Verdict::Drop, counter(5))],
            answers: AnswerResult::ALL.into_iter().map(|result| (result, counter(result as u64 + 1))).collect(),
            tables: vec![
                TableUse { table: "rules", entries: 2, capacity: 1024 },
                TableUse { table: "learned", entries: 3, capacity: 65_536 },
            ],
            suppressed_reports: 9,
            suppressed_copies: 6,
        },
    }
}
