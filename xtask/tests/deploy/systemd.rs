//! The units, judged by systemd.

use std::fs;

use crate::tool::{accepts, deploy, find, scratch};

/// The unit with programs that exist everywhere in the place of those it starts: `verify` wants them installed.
fn installed(unit: &str) -> std::path::PathBuf {
    let text = fs::read_to_string(deploy("systemd").join(unit)).expect("the unit");
    let folder = scratch(&format!("units-{unit}"));
    let path = folder.join(unit);
    fs::write(&path, text.replace("/usr/sbin/edge-agent", "/bin/true").replace("/usr/sbin/sysctl", "/bin/true")).expect("written");
    path
}

#[test]
fn systemd_has_nothing_to_say_about_the_units() {
    let Some(mut verify) = find("systemd-analyze", "systemd") else { return };
    verify.arg("verify").arg("--man=no").args(["edge-agent.service", "edge-forwarding.service"].map(installed));
    assert_eq!(accepts(&mut verify), "");
}

/// Of systemd's own score: 10 is a service with everything allowed; what is left of ours is the three capabilities and the network.
#[test]
fn the_agent_has_few_privileges() {
    let Some(mut security) = find("systemd-analyze", "systemd") else { return };
    accepts(security.args(["security", "--offline=true", "--threshold=25", "--no-pager"]).arg(installed("edge-agent.service")));
}
