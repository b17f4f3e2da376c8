//! `edge-agent replay` as a shell sees it, by every engine; the kernel's only as root.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use edge_agent::engine::frame::{Ends, FrameSpec, Transport};
use edge_ebpf::packet::Mac;
use serde_json::{Value, json};

use crate::writer::{Order, Record, link, pcap};

const POLICY: &str = "
apiVersion: edge/v1
kind: Policy
metadata: {name: p, title: t}
spec:
  devices: {phones: {any: [{mac: ['64:09:80:00:00:00/24']}]}}
  destinations:
    banned: {prefixes: [203.0.113.0/24]}
    scanners: {prefixes: [198.51.100.0/28]}
  rules:
    - {id: watch, from: all, to: banned, action: monitor}
    - {id: no-web, from: phones, to: banned, services: [tcp/443], action: reject}
    - {id: no-telnet, from: all, services: [tcp/23], action: drop}
    - {id: no-scans, from: all, to: scanners, direction: inbound, action: drop}
    - {id: slow, from: all, services: [udp/4242], action: rate_limit, rate: {bytes_per_second: 1000, burst: 2000}}
";
const PHONE: Mac = Mac(0x6409_8000_0001);
const LAPTOP: Mac = Mac(0x0025_9000_0001);
const INSIDE: [u8; 4] = [10, 0, 0, 7];
const BANNED: [u8; 4] = [203, 0, 113, 7];
const SCANNER: [u8; 4] = [198, 51, 100, 9];

/// Of a capture, with the policy above.
struct Replay {
    folder: tempfile::TempDir,
}

impl Replay {
    fn of(records: &[Record]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("p.yaml"), POLICY).expect("a file");
        fs::write(folder.path().join("capture.pcap"), pcap(Order::Little, false, link::ETHERNET.into(), records)).expect("a file");
        Self { folder }
    }

    fn capture(&self) -> PathBuf {
        self.folder.path().join("capture.pcap")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edge-agent"));
        command.args(["--config", "/nonexistent/agent.yaml", "replay", "--policies"]).arg(self.folder.path().join("p.yaml"));
        command.args(arguments).arg(self.capture()).output().expect("the agent's binary")
    }

    /// Lines of frames, and the summary.
    fn json(&self, arguments: &[&str]) -> (Vec<Value>, Value) {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect();
        let mut last = lines.pop().expect("a summary");
        assert_eq!(last.as_object().map(serde_json::Map::len), Some(1), "{last}");
        (lines, last["summary"].take())
    }
}

fn engines() -> Vec<&'static str> {
    let root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !root {
        eprintln!("not root: the kernel engine is left out of this test");
    }
    ["host", "oracle", "kernel"].into_iter().filter(|engine| root || *engine != "kernel").collect()
}

fn frame(device: Mac, from: [u8; 4], to: [u8; 4], transport: Transport) -> Vec<u8> {
    FrameSpec::new(device, Ends::V4(from.into(), to.into()), transport).build()
}

/// One frame of each kind that has a line of its own shape.
fn of_every_kind() -> Replay {
    let web = |device| frame(device, INSIDE, BANNED, Transport::syn(443));
    // IP announces no more than 4 bytes of TCP.
    let mut malformed = web(PHONE);
    malformed[17] = 24;
    let arp = [&[0xff; 6], PHONE.octets().as_slice(), &[8, 6], &[0; 46]].concat();
    let frames = [web(PHONE), web(LAPTOP), frame(LAPTOP, SCANNER, INSIDE, Transport::syn(80)), malformed, arp, web(PHONE), web(PHONE)];
    let mut records: Vec<Record> = (0..).zip(frames).map(|(second, data)| Record::whole(second, data)).collect();
    records[5].original = 1514;
    records[6] = records[6].clone().cut(40);
    Replay::of(&records)
}

#[test]
fn each_frame_has_a_line_with_the_keys_of_the_interface() {
    let replay = of_every_kind();
    let keys = ["frame", "verdict", "policy", "rule", "monitored", "device", "groups", "remote", "name", "reason"];
    let (phone, laptop) = ("64:09:80:00:00:01", "00:25:90:00:00:01");
    let rejected = |number| {
        json!({"frame": number, "verdict": "reject", "policy": "p", "rule": "no-web", "monitored": ["p/watch"], "device": phone,
            "groups": ["p/phones"], "remote": "203.0.113.7", "name": null, "reason": null})
    };
    let expected = [
        rejected(1),
        json!({"frame": 2, "verdict": "pass", "policy": null, "rule": null, "monitored": ["p/watch"], "device": laptop,
            "groups": [], "remote": "203.0.113.7", "name": null, "reason": null}),
        json!({"frame": 3, "verdict": "drop", "policy": "p", "rule": "no-scans", "monitored": [], "device": null,
            "groups": [], "remote": "198.51.100.9", "name": null, "reason": null}),
        json!({"frame": 4, "verdict": "drop", "policy": null, "rule": null, "monitored": [], "device": phone,
            "groups": ["p/phones"], "remote": "203.0.113.7", "name": null, "reason": "truncated"}),
        json!({"frame": 5, "verdict": "pass", "policy": null, "rule": null, "monitored": [], "device": null,
            "groups": [], "remote": null, "name": null, "reason": null}),
        rejected(6),
        json!({"frame": 7, "verdict": null, "policy": null, "rule": null, "monitored": [], "device": null,
            "groups": [], "remote": null, "name": null, "reason": "headers cut by the snap length"}),
    ];
    for engine in engines() {
        let (lines, summary) = replay.json(&["--engine", engine]);
        for line in &lines {
            let seen: BTreeSet<_> = line.as_object().expect("an object").keys().map(String::as_str).collect();
            assert_eq!(seen, BTreeSet::from(keys), "{engine}");
        }
        assert_eq!(lines, expected, "{engine}");
        let expected = json!({
            "engine": engine, "frames": 7, "breaks_off": false, "cut": 2,
            "verdicts": {"pass": 2, "drop": 2, "reject": 2},
            "rules": {"p/watch": 3, "p/no-web": 2, "p/no-scans": 1},
            "uninspectable": {"truncated": 1},
            "not_replayed": {"headers cut by the snap length": 1},
        });
        assert_eq!(summary, expected, "{engine}");
    }
}

#[test]
fn the_text_form_has_a_line_a_frame_and_a_summary() {
    let replay = of_every_kind();
    let all = fs::read(replay.capture()).expect("a file");
    fs::write(replay.capture(), [all.as_slice(), &[1; 10]].concat()).expect("a file");
    let expected = [
        "      1  reject  64:09:80:00:00:01  203.0.113.7                              p/no-web (monitored: p/watch)",
        "      2  pass    00:25:90:00:00:01  203.0.113.7                               (monitored: p/watch)",
        "      3  drop    outside            198.51.100.9                             p/no-scans",
        "      4  drop    64:09:80:00:00:01  203.0.113.7                              uninspectable: truncated",
        "      5  pass    outside            -",
        "      6  reject  64:09:80:00:00:01  203.0.113.7                              p/no-web (monitored: p/watch)",
        "      7  -       not replayed: headers cut by the snap length",
        "7 frames (ENGINE engine)",
        "      2  drop",
        "      2  pass",
        "      2  reject",
        "      1  by rule p/no-scans",
        "      2  by rule p/no-web",
        "      3  by rule p/watch",
        "      1  uninspectable: truncated",
        "      1  not replayed: headers cut by the snap length",
        "      2  cut by the snap length",
        "the capture breaks off: there is more in it, or was",
    ];
    for engine in engines() {
        let output = replay.run(&["--engine", engine]);
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let expected = expected.join("\n").replace("ENGINE", engine) + "\n";
        assert_eq!((output.status.code(), text.as_str()), (Some(0), expected.as_str()));
    }
}

#[test]
fn addresses_that_are_named_are_inside_and_no_others() {
    let replay = Replay::of(&[
        Record::whole(0, frame(PHONE, INSIDE, BANNED, Transport::syn(23))),
        Record::whole(1, frame(LAPTOP, SCANNER, INSIDE, Transport::syn(23))),
    ]);
    let verdicts = |arguments: &[&str]| -> Vec<(Value, Value, Value)> {
        let (lines, _) = replay.json(&[arguments, &["--engine", "host"]].concat());
        lines.iter().map(|line| (line["rule"].clone(), line["device"].clone(), line["remote"].clone())).collect()
    };
    let (phone, laptop) = ("64:09:80:00:00:01", "00:25:90:00:00:01");
    let default = [(json!("no-telnet"), json!(phone), json!("203.0.113.7")), (json!("no-scans"), json!(null), json!("198.51.100.9"))];
    assert_eq!(verdicts(&[]), default);
    let other_way = [(json!(null), json!(null), json!("10.0.0.7")), (json!("no-telnet"), json!(laptop), json!("10.0.0.7"))];
    assert_eq!(verdicts(&["--inside", "198.51.100.0/24"]), other_way);
    let both = [default[0].clone(), other_way[1].clone()];
    assert_eq!(verdicts(&["--inside", "198.51.100.0/24", "--inside", "10.0.0.0/8"]), both);
}

/// 1,014 bytes each on the wire, of which 60 are captured: the burst pays for one and not for two, and a second for one more.
#[test]
fn a_rate_is_one_of_the_wires_bytes() {
    let mut large = FrameSpec::new(PHONE, Ends::V4(INSIDE.into(), BANNED.into()), Transport::udp(4242));
    large.payload = vec![0; 1014 - 42];
    let record = |second| Record::whole(second, large.build()).cut(60);
    let replay = Replay::of(&[record(0), record(0), record(2)]);
    for engine in engines() {
        let (lines, summary) = replay.json(&["--engine", engine]);
        assert_eq!(lines.iter().map(|line| line["verdict"].clone()).collect::<Vec<_>>(), ["pass", "drop", "pass"], "{engine}");
        assert_eq!(summary["cut"], 3);
    }
}

/// The engines' tables know the hours of about a year; captures that were joined may span more.
#[test]
fn schedules_hold_years_apart() {
    const HOUR: u32 = 3600;
    const DAY: u32 = 24 * HOUR;
    let frame = || frame(LAPTOP, INSIDE, BANNED, Transport::syn(25));
    // The first is at noon.
    let times = [0, 8 * HOUR, 500 * DAY, 500 * DAY + 8 * HOUR, 2000 * DAY, 2000 * DAY + 8 * HOUR];
    let replay = Replay::of(&times.map(|second| Record::whole(second, frame())));
    let at_day = "    - {id: by-day, from: all, services: [tcp/25], action: drop, when: {hours: '08:00-18:00'}}\n";
    fs::write(replay.folder.path().join("p.yaml"), POLICY.to_owned() + at_day).expect("a file");
    for engine in engines() {
        let (lines, _) = replay.json(&["--engine", engine]);
        let verdicts: Vec<_> = lines.iter().map(|line| line["verdict"].clone()).collect();
        assert_eq!(verdicts, ["drop", "pass", "drop", "pass", "drop", "pass"], "{engine}");
    }
}

#[test]
fn what_is_wrong_ends_with_a_reason() {
    let replay = Replay::of(&[]);
    fs::write(replay.capture(), "no capture").expect("a file");
    let output = replay.run(&["--engine", "host"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("give a file in the pcap or pcapng format"), "{output:?}");

    fs::write(replay.folder.path().join("p.yaml"), POLICY.replace("action: drop", "action: explode")).expect("a file");
    let output = replay.run(&["--engine", "host"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("explode"), "{output:?}");

    assert_eq!(replay.run(&["--engine", "guess"]).status.code(), Some(2));
    assert_eq!(replay.run(&["--inside", "everything"]).status.code(), Some(2));
}

#[test]
fn an_empty_capture_has_a_summary_only() {
    let (lines, summary) = Replay::of(&[]).json(&["--engine", "host"]);
    assert!(lines.is_empty());
    assert_eq!((&summary["frames"], &summary["verdicts"]), (&json!(0), &json!({})));
}
