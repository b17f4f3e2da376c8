//! What agent.yaml means for the kernel's side.

use crate::config::{AgentConfig, Interfaces, XdpChoice};
use crate::dataplane::snapshot::Role;
use crate::dataplane::{Settings, WantedInterface, WantedMode};

/// Reports that a CPU may make in a second: enough to see who tries what, and far from filling the ring.
const REPORT_LIMIT: u32 = 200;

pub fn settings(config: &AgentConfig) -> Settings {
    let Interfaces { inside, outside } = &config.interfaces;
    let mode = match config.xdp {
        XdpChoice::Native => WantedMode::Native,
        XdpChoice::Generic => WantedMode::Generic,
        XdpChoice::NativeOrGeneric => WantedMode::NativeOrGeneric,
    };
    let wanted = |role| move |name: &String| WantedInterface { name: name.clone(), role, mode };
    Settings {
        pins: config.pins.clone(),
        interfaces: inside.iter().map(wanted(Role::Inside)).chain(outside.iter().map(wanted(Role::Outside))).collect(),
        conduct: config.conduct,
        tables: config.tables,
        report_limit: REPORT_LIMIT,
    }
}
