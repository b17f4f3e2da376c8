//! Other filters, set up as their manuals say, in a network namespace.

use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use aya::programs::{ProgramInfo, loaded_programs};
use edge_agent::dataplane::interfaces::Interfaces;
use xtask::command::output;
use xtask::lab::Namespace;

/// How much of xdp-filter is loaded.
#[derive(Clone, Copy)]
pub enum Features {
    Ip,
    All,
}

/// Loads xdp-filter on an interface, which then drops all but frames to or from `allowed` (its policy `deny`).
///
/// It pins its maps at one place of the machine; a mount namespace keeps that place its own. Without libxdp's dispatcher in front, which
/// would cost it a few ns.
pub fn xdp_filter(namespace: &Namespace, interface: &str, features: Features, allowed: Ipv4Addr) -> Result<()> {
    let features = match features {
        Features::Ip => "-f ipv4,ipv6",
        Features::All => "",
    };
    let script = format!(
        "mount -t bpf bpf /sys/fs/bpf && xdp-filter load {interface} -m native -p deny {features} && xdp-filter ip -m dst {allowed}"
    );
    let mut command = namespace.command("unshare");
    command.args(["--mount", "sh", "-c", &script]).env("LIBXDP_SKIP_DISPATCHER", "1");
    output(&mut command).map(drop)
}

/// The XDP program on an interface.
pub fn program_on(namespace: &Namespace, interface: &str) -> Result<ProgramInfo> {
    let id = namespace.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let interfaces = runtime.block_on(async { Interfaces::open()?.all().await })?;
        let found = interfaces.into_iter().find(|candidate| candidate.name == interface).and_then(|found| found.xdp);
        Ok(found.with_context(|| format!("no XDP program on {interface}"))?.id)
    })?;
    loaded_programs().filter_map(Result::ok).find(|program| program.id() == id).with_context(|| format!("no program has the id {id}"))
}

/// nftables, dropping what goes to the prefixes, at the earliest place it has.
pub fn nftables(namespace: &Namespace, interface: &str, prefixes: &[String]) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    let ruleset = format!(
        "table netdev bench {{\n set banned {{ type ipv4_addr; flags interval; elements = {{ {} }} }}\n \
         chain ingress {{ type filter hook ingress device {interface} priority -500; ip daddr @banned drop; }}\n}}\n",
        prefixes.join(", ")
    );
    fs::write(file.path(), ruleset)?;
    output(namespace.command("nft").arg("-f").arg(file.path())).map(drop)
}

/// iptables with an ipset of the prefixes, before connection tracking.
pub fn iptables(namespace: &Namespace, interface: &str, prefixes: &[String]) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    let mut sets = String::from("create banned hash:net maxelem 1048576\n");
    prefixes.iter().for_each(|prefix| sets += &format!("add banned {prefix}\n"));
    fs::write(file.path(), sets)?;
    output(namespace.command("ipset").arg("restore").arg("-file").arg(file.path()))?;
    let rule = ["-t", "raw", "-A", "PREROUTING", "-i", interface, "-m", "set", "--match-set", "banned", "dst", "-j", "DROP"];
    output(namespace.command("iptables").args(rule)).map(drop)
}
