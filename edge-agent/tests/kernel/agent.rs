//! The agent as a process: what it does at the start, when files, addresses and interfaces change, and at its end.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use edge_agent::config::TableSizes;
use edge_agent::dataplane::snapshot::Role;
use edge_agent::dataplane::{Dataplane, Settings, WantedInterface, WantedMode};
use edge_agent::engine::frame::{Ends, FrameSpec, Transport};
use edge_agent::engine::message;
use edge_agent::policy::model::Action;
use edge_agent::quic::made;
use edge_agent::server::control::{AskError, Request, StatusReport, ask};
use edge_ebpf::abi::{OnUninspectable, Reason};
use edge_ebpf::name::quic::version::V1;
use edge_ebpf::packet::Mac;

use crate::namespace::{Namespace, ip, privileged};
use crate::policies::all;
use crate::sender::Sender;

pub const HEAD: &str = "apiVersion: edge/v1\nkind: Policy\nmetadata: {name: p, title: t}\nspec:\n";
const PATIENCE: Duration = Duration::from_secs(20);

/// An agent in a namespace of its own, whose inside interface is `lan`. Killed when dropped; what it enforces goes with the namespace.
pub struct Agent {
    namespace: Namespace,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Agent {
    /// One that is not running, with a policy that drops everything; there is no `lan` yet. `None` where the test is left out, see
    /// [`privileged`].
    fn configured(test: &str) -> Option<Self> {
        if !privileged(test) {
            return None;
        }
        let namespace = Namespace::enter();
        let folder = tempfile::tempdir().expect("a folder");
        let this = Self { namespace, folder, child: None };
        fs::create_dir(this.path("policies")).expect("a folder");
        // Port 0: metrics are nobody's matter here.
        let config = format!(
            "interfaces: {{inside: [lan]}}\npolicies: policies\nmetrics: {{listen: 127.0.0.1:0}}\ncontrol: {{socket: agent.sock}}\nstate: {{pins: {}, directory: state}}\n\
             sources: {{max_age: 400d}}\n",
            this.namespace.pins().root().display()
        );
        fs::write(this.path("agent.yaml"), config).expect("a file");
        this.policy("drop");
        Some(this)
    }

    /// The same with `lan`.
    pub fn with_lan(test: &str) -> Option<Self> {
        let this = Self::configured(test)?;
        this.namespace.veth("lan", "device");
        Some(this)
    }

    /// Runs it until it is ready.
    pub fn started(&mut self) -> StatusReport {
        self.start();
        self.until("ready", |report| report.ready)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// One policy with one rule, for everything.
    fn policy(&self, action: &str) {
        self.replace("policies/p.yaml", &format!("{HEAD}  rules: [{{id: r, from: all, action: {action}}}]\n"));
    }

    /// One that drops what goes to a list of so many addresses.
    fn list_policy(&self, addresses: u8) {
        self.list(addresses);
        let to = "  destinations: {listed: {prefix_lists: [../list.txt]}}\n";
        self.replace("policies/p.yaml", &format!("{HEAD}{to}  rules: [{{id: r, from: all, to: [listed], action: drop}}]\n"));
    }

    fn list(&self, addresses: u8) {
        self.replace("list.txt", &(0..addresses).map(|number| format!("192.0.2.{}\n", 2 * number)).collect::<String>());
    }

    pub fn replace(&self, name: &str, text: &str) {
        fs::write(self.path("next"), text).expect("a file");
        fs::rename(self.path("next"), self.path(name)).expect("renamed");
    }

    pub fn command(&self, command: &str) -> Command {
        let mut agent = Command::new(env!("CARGO_BIN_EXE_edge-agent"));
        agent.arg("--config").arg(self.path("agent.yaml")).arg(command);
        agent
    }

    pub fn run(&self, command: &str) -> Output {
        self.command(command).output().expect("the agent's binary")
    }

    pub fn start(&mut self) {
        let log = fs::File::options().append(true).create(true).open(self.path("log")).expect("a file");
        self.child = Some(self.command("run").stderr(log).stdin(Stdio::null()).spawn().expect("the agent's binary"));
    }

    /// What the agent says once `done` is true of it.
    pub fn until(&mut self, what: &str, done: impl Fn(&StatusReport) -> bool) -> StatusReport {
        let start = Instant::now();
        loop {
            let report = self.status();
            if let Some(report) = report.as_ref().filter(|report| done(report)) {
                return report.clone();
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().expect("a child"));
            assert!(start.elapsed() < PATIENCE && ended.is_none(), "never {what} ({ended:?}): {report:#?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn status(&self) -> Option<StatusReport> {
        match ask(&self.path("agent.sock"), Request::Status) {
            Ok(Ok(report)) => Some(serde_json::from_value(report).expect("a report")),
            Ok(Err(_)) | Err(AskError::NoAgent { .. } | AskError::Io { .. }) => None,
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// As at a reboot: it ends in good order, and the kernel has forgotten all of it.
    pub fn reboot(&mut self) {
        let mut child = self.child.take().expect("it runs");
        // SAFETY: no memory is passed, and the process is this one's child, which was not waited for.
        assert_eq!(unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) }, 0);
        assert!(child.wait().expect("it ran").success(), "{}", self.log());
        self.namespace.pins().remove().expect("removed");
    }

    /// Ends the process as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it runs");
            child.wait().expect("it ran");
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
        // Whatever a failed test leaves; the namespace's own clean-up tells of what does not go.
        let _ = self.namespace.pins().remove();
    }
}

fn action(report: &StatusReport) -> Option<&str> {
    report.rules.iter().find(|rule| rule.policy == "p" && rule.active).map(|rule| rule.action.as_str())
}

#[test]
fn files_that_change_are_put_in_force_and_broken_ones_are_told_of() {
    let Some(mut agent) = Agent::with_lan("files_that_change_are_put_in_force") else { return };
    let first = agent.started();
    assert_eq!((action(&first), first.policies.as_slice()), (Some("drop"), ["p".to_owned()].as_slice()));

    agent.policy("pass");
    let second = agent.until("reloaded", |report| report.generation > first.generation);
    assert_eq!(action(&second), Some("pass"));

    agent.policy("explode");
    let broken = agent.until("told of the broken policy", |report| report.last_failure.is_some());
    assert_eq!((action(&broken), broken.generation, broken.ready, broken.enforcing), (Some("pass"), second.generation, false, true));
    let reload = agent.run("reload");
    assert_eq!(reload.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&reload.stderr).contains("explode"));

    agent.policy("reject");
    let mended = agent.until("ready again", |report| report.ready);
    assert_eq!((action(&mended), mended.last_failure.as_ref()), (Some("reject"), None));
}

/// (entries in force, entries of a file that was not taken) of the list.
fn list(report: &StatusReport) -> Option<(u64, Option<u64>)> {
    report.sources.iter().find(|source| source.source == "prefix_list").map(|source| (source.entries, source.shrunk_to))
}

#[test]
fn a_list_that_changes_is_put_in_force_and_one_that_lost_too_much_is_not() {
    let Some(mut agent) = Agent::with_lan("a_list_that_changes_is_put_in_force") else { return };
    agent.list_policy(20);
    let first = agent.started();
    assert_eq!(list(&first), Some((20, None)));

    agent.list(12);
    let second = agent.until("told of a list that lost 40 %", |report| list(report) == Some((12, None)));
    assert!(second.generation > first.generation);
    let hash =
        |report: &StatusReport| report.sources.iter().find(|source| source.source == "prefix_list").map(|source| source.sha256.clone());
    assert!(hash(&first).is_some_and(|hash| hash.len() == 64) && hash(&first) != hash(&second));

    agent.list(5);
    let held = agent.until("told that the list shrank", |report| list(report).is_some_and(|(_, shrunk)| shrunk.is_some()));
    assert_eq!((list(&held), hash(&held), held.ready, held.last_failure.as_ref()), (Some((12, Some(5))), hash(&second), true, None));
    assert!(agent.log().contains("lost too many entries and is not taken"), "{}", agent.log());
    assert!(String::from_utf8_lossy(&agent.run("status").stdout).contains("has 5 now, which is not taken"));

    agent.kill();
    agent.start();
    let restarted = agent.until("ready", |report| report.agent && report.ready);
    assert_eq!(list(&restarted), Some((12, Some(5))), "another process remembers");
    let plain = agent.run("reload");
    assert!(plain.status.success());
    assert_eq!(agent.status().as_ref().and_then(list), Some((12, Some(5))), "a reload says nothing about the list");
    let accepted = agent.command("reload").arg("--accept-shrink").output().expect("the agent's binary");
    assert!(accepted.status.success(), "{}", String::from_utf8_lossy(&accepted.stderr));
    assert_eq!(agent.status().as_ref().and_then(list), Some((5, None)));
}

#[test]
fn a_share_that_is_configured_otherwise_takes_what_was_held_and_an_old_list_is_told_of() {
    let Some(mut agent) = Agent::with_lan("a_share_that_is_configured_otherwise") else { return };
    agent.list_policy(20);
    agent.started();
    agent.list(5);
    agent.until("told that the list shrank", |report| list(report) == Some((20, Some(5))));
    let config = fs::read_to_string(agent.path("agent.yaml")).expect("a file");
    agent.replace("agent.yaml", &config.replace("sources: {max_age: 400d}", "sources: {max_age: 10d, max_shrink: 90%}"));
    let taken = agent.until("reloaded", |report| list(report) == Some((5, None)));
    assert!(taken.sources.iter().all(|source| !source.stale), "{:?}", taken.sources);

    let long_ago = std::time::SystemTime::now() - Duration::from_secs(11 * 86_400);
    let file = fs::File::options().write(true).open(agent.path("list.txt")).expect("a file");
    file.set_modified(long_ago).expect("its owner may");
    let old = agent.until("told that the list is old", |report| report.sources.iter().any(|source| source.stale));
    assert_eq!(list(&old), Some((5, None)), "it is in force all the same");
}

#[test]
fn an_interface_that_vanishes_and_comes_back_is_filtered_again() {
    let Some(mut agent) = Agent::configured("an_interface_that_vanishes") else { return };
    agent.start();
    let before = agent.until("running without the interface", |_| true);
    assert_eq!((before.ready, before.enforcing), (false, false));
    for _ in 0..2 {
        agent.namespace.veth("lan", "device");
        agent.until("ready", |report| report.ready);
        assert!(agent.namespace.program("lan").is_some());
        ip(&["link", "delete", "lan"]);
        agent.until("aware that it has gone", |report| !report.ready);
    }
}

#[test]
fn an_interface_that_another_tool_has_is_told_of_until_it_lets_go() {
    let Some(mut agent) = Agent::configured("an_interface_that_another_tool_has") else { return };
    agent.start();
    agent.until("running without the interface", |_| true);

    agent.namespace.veth("taken", "device");
    let pins = agent.namespace.pins().root().with_file_name(format!("edge-kernel-{}-tool", std::process::id()));
    let wanted = WantedInterface { name: "taken".to_owned(), role: Role::Inside, mode: WantedMode::Native };
    let conduct = [OnUninspectable::Pass; Reason::ALL.len()].into();
    let settings = Settings { pins, interfaces: vec![wanted], conduct, tables: TableSizes::default(), report_limit: 0 };
    let mut tool = Dataplane::open(settings.clone()).expect("opens");
    tool.swap(&all("p", Action::Pass), &settings, &agent.namespace.interfaces()).expect("attaches");
    let program = agent.namespace.program("taken");
    ip(&["link", "set", "taken", "down"]);
    ip(&["link", "set", "taken", "name", "lan"]);

    let refused = agent.until("told that it is taken", |report| report.last_failure.is_some());
    assert!(refused.last_failure.is_some_and(|failure| failure.contains("lan already carries")));
    assert_eq!((refused.ready, agent.namespace.program("lan")), (false, program));
    tool.detach().expect("detaches");
    let mended = agent.until("ready", |report| report.ready);
    assert_eq!(mended.last_failure, None);
}

#[test]
fn the_pinhole_follows_the_gateways_own_addresses() {
    let Some(mut agent) = Agent::with_lan("the_pinhole_follows") else { return };
    agent.started();
    let reloads = |agent: &Agent| agent.log().matches("addresses changed").count();
    // Its link-local address is a change of its own, and may come late.
    std::thread::sleep(Duration::from_secs(3));
    let before = reloads(&agent);
    ip(&["address", "add", "192.0.2.1/24", "dev", "lan"]);
    let start = Instant::now();
    while reloads(&agent) == before {
        assert!(start.elapsed() < PATIENCE, "never reloaded\n{}", agent.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(agent.until("ready", |report| report.ready).enforcing);
}

#[test]
fn without_right_policies_it_gives_up_unless_an_earlier_generation_is_in_force() {
    let Some(mut agent) = Agent::with_lan("without_right_policies") else { return };
    agent.policy("explode");
    let refused = agent.run("run");
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("nothing is enforced") && said.contains("explode") && said.contains("p.yaml:5"), "{said}");
    assert_eq!(agent.namespace.program("lan"), None);

    agent.policy("drop");
    let good = agent.started();
    agent.kill();
    let program = agent.namespace.program("lan");
    let left = agent.run("status");
    assert_eq!(left.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&left.stdout).starts_with("enforcing without an agent"));

    agent.policy("explode");
    agent.start();
    let kept = agent.until("up", |report| report.agent);
    assert_eq!((kept.enforcing, kept.ready, kept.generation), (true, false, good.generation));
    assert!(kept.last_failure.is_some_and(|failure| failure.contains("explode")));
    assert_eq!((action(&agent.status().expect("up")), agent.namespace.program("lan")), (Some("drop"), program));

    agent.policy("pass");
    let mended = agent.until("ready", |report| report.ready);
    assert_eq!(action(&mended), Some("pass"));
}

#[test]
fn a_running_agent_detaches_and_ends_on_command() {
    let Some(mut agent) = Agent::with_lan("a_running_agent_detaches") else { return };
    agent.started();
    let detached = agent.run("detach");
    assert!(detached.status.success());
    assert!(String::from_utf8_lossy(&detached.stdout).contains("detached from lan"));
    assert_eq!(agent.namespace.program("lan"), None);
    let status = agent.child.take().expect("started").wait().expect("ends");
    assert!(status.success());
    assert_eq!(agent.run("status").status.code(), Some(1), "nothing is enforced");
    assert!(String::from_utf8_lossy(&agent.run("detach").stdout).contains("nothing to detach"));
}

#[test]
fn an_initial_that_is_held_passes_or_not_by_its_name_once_the_agent_has_read_it() {
    let Some(mut agent) = Agent::with_lan("an_initial_that_is_held") else { return };
    let to = "  destinations: {vendor: {domains: [miui.com]}}\n";
    agent.replace("policies/p.yaml", &format!("{HEAD}{to}  rules: [{{id: r, from: all, to: [vendor], action: drop}}]\n"));
    let config = fs::read_to_string(agent.path("agent.yaml")).expect("a file");
    agent.replace("agent.yaml", &format!("{config}names: {{quic: inspect}}\n"));
    let before = agent.started();
    let (named, other) = (initial(40_001, "connect.miui.com"), initial(40_002, "example.com"));
    // As fast as a socket takes them: far more than is copied.
    let sender = Sender::start("device", vec![named.clone(), other.clone()]);
    let passed = |report: &StatusReport| report.interfaces[0].verdicts.get("pass").map_or(0, |count| count.packets);
    let rule = |report: &StatusReport| report.rules.iter().find(|rule| rule.policy == "p").map_or(0, |rule| rule.count.packets);
    let settled = passed(&before) + 1000;
    let first = agent.until("aware of both names", |report| rule(report) > 0 && passed(report) > settled);
    assert!(first.uninspectable.iter().any(|row| (row.reason.as_str(), row.verdict.as_str()) == ("quic", "drop")));

    agent.replace("policies/p.yaml", &format!("{HEAD}{to}  rules: [{{id: s, from: all, to: [vendor], action: drop}}]\n"));
    let anew =
        |report: &StatusReport| report.rules.iter().find(|rule| rule.rule == "s" && rule.active).map_or(0, |rule| rule.count.packets);
    let second = agent.until("aware of them again after a swap", |report| anew(report) > 0);
    agent.until("passing the other", |report| passed(report) > passed(&second) + 1000);
    assert!(sender.end() > 0);
}

/// A client's first datagram, which names a server.
fn initial(port: u16, server_name: &str) -> Vec<u8> {
    let server_name = Some(server_name.as_bytes());
    let hello = message::Hello { server_name, ech: false, padding: None, record: None }.build().split_off(5);
    let payload = made::initial(V1, 0, &[7; 8], &[7; 8], 0, &made::crypto(0, &hello));
    let ends = Ends::to(std::net::IpAddr::from([203, 0, 113, 5]));
    FrameSpec { payload, ..FrameSpec::new(Mac(0x6409_8000_0001), ends, Transport::Udp { source: port, destination: 443 }) }.build()
}
