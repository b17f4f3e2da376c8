//! A network in a box: a phone and a laptop on a switch, the gateway with the real agent, and servers in and out of China, each in a
//! network namespace of its own, with no route out. `./x run` shows it; the end-to-end tests are run in it.
//!
//! ```text
//!  phone ──┐
//!          ├─ switch ── inside0 gateway outside0 ── servers, resolver
//!  laptop ─┘
//! ```

pub mod agent;
pub mod client;
mod directory;
mod host;
pub mod metrics;
pub mod names;
mod namespace;
mod pass;
pub mod plan;
pub mod process;
pub mod resolver;
mod servers;
pub mod signal;

use std::os::fd::OwnedFd;

use anyhow::{Result, bail};

use crate::command::{is_root, output};
pub use directory::{Directory, LabId, remove_leftovers};
pub use host::Host;
pub use namespace::Namespace;
use plan::{DEVICES, Device, RESOLVER, RESOLVER_IPV6, SERVERS, UPSTREAM_IPV4, UPSTREAM_IPV6, gateway};
pub use servers::Servers;

/// The whole network, up and running but for the agent. Dropped, it is gone.
///
/// The order of the fields is the order of their end: links and processes before the folder that they use.
pub struct Lab {
    pub phone: Host,
    pub laptop: Host,
    pub gateway: Namespace,
    pub switch: Namespace,
    pub servers: Servers,
    /// The program at the far end of the inside link.
    _pass: OwnedFd,
    pub directory: Directory,
}

impl Lab {
    /// Builds it; needs root.
    pub fn start() -> Result<Self> {
        if !is_root() {
            bail!("the lab's network namespaces can be made by root only: run it with sudo");
        }
        remove_leftovers();
        let id = LabId::next();
        let directory = Directory::new(id)?;
        let switch = Namespace::new(id.namespace("switch"))?;
        let gateway = Namespace::new(id.namespace("gateway"))?;
        let servers = Namespace::new(id.namespace("servers"))?;

        switch.ip(&["link add bridge0 type bridge forward_delay 0", "link set bridge0 up"])?;
        let pass = connect_inside(&gateway, &switch)?;
        connect_outside(&gateway, &servers)?;
        let [phone, laptop] = DEVICES.map(|device| -> Result<Host> {
            let namespace = Namespace::new(id.namespace(device.name))?;
            connect_device(&device, &namespace, &switch)?;
            Host::new(device, namespace, &directory)
        });
        let servers = Servers::start(servers, &directory)?;
        Ok(Self { phone: phone?, laptop: laptop?, gateway, switch, servers, _pass: pass, directory })
    }
}

fn connect_inside(gateway: &Namespace, switch: &Namespace) -> Result<OwnedFd> {
    let (inside, mac, to) = (gateway::INSIDE, gateway::INSIDE_MAC, gateway.name());
    switch
        .ip(&[&format!("link add uplink0 type veth peer name {inside} address {mac} netns {to}"), "link set uplink0 master bridge0 up"])?;
    gateway.ip(&[
        &format!("addr add {}/24 dev {inside}", gateway::INSIDE_IPV4),
        &format!("addr add {}/64 dev {inside}", gateway::INSIDE_IPV6),
        &format!("link set {inside} up"),
    ])?;
    // VLAN tags stay in the frames, as on a wire.
    set_features(switch, "uplink0", &[("tx-vlan-hw-insert", false), ("tx-vlan-stag-hw-insert", false)])?;
    pass::attach(switch, "uplink0")
}

fn connect_outside(gateway: &Namespace, servers: &Namespace) -> Result<()> {
    let outside = gateway::OUTSIDE;
    gateway.ip(&[
        &format!("link add {outside} type veth peer name eth0 netns {}", servers.name()),
        &format!("addr add {}/24 dev {outside}", gateway::OUTSIDE_IPV4),
        &format!("addr add {}/64 dev {outside}", gateway::OUTSIDE_IPV6),
        &format!("link set {outside} up"),
        &format!("route add default via {UPSTREAM_IPV4}"),
        &format!("-6 route add default via {UPSTREAM_IPV6}"),
    ])?;
    gateway.sysctl(&[("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")])?;
    servers.ip(&[
        &format!("addr add {UPSTREAM_IPV4}/24 dev eth0"),
        &format!("addr add {UPSTREAM_IPV6}/64 dev eth0"),
        &format!("addr add {RESOLVER}/32 dev lo"),
        &format!("addr add {RESOLVER_IPV6}/128 dev lo"),
        "link set eth0 up",
        &format!("route add default via {}", gateway::OUTSIDE_IPV4),
        &format!("-6 route add default via {}", gateway::OUTSIDE_IPV6),
    ])?;
    let servers_addresses = SERVERS.map(|server| (server.ipv4, server.ipv6));
    for (ipv4, ipv6) in servers_addresses.into_iter().chain(names::SITES.map(|site| (site.ipv4, site.ipv6))) {
        servers.ip(&[&format!("addr add {ipv4}/32 dev lo"), &format!("addr add {ipv6}/128 dev lo")])?;
    }
    Ok(())
}

fn connect_device(device: &Device, namespace: &Namespace, switch: &Namespace) -> Result<()> {
    let Device { name, mac, ipv4, ipv6 } = device;
    switch.ip(&[
        &format!("link add {name} type veth peer name eth0 address {mac} netns {}", namespace.name()),
        &format!("link set {name} master bridge0 up"),
    ])?;
    namespace.ip(&[
        &format!("addr add {ipv4}/24 dev eth0"),
        &format!("addr add {ipv6}/64 dev eth0"),
        "link set eth0 up",
        &format!("route add default via {}", gateway::INSIDE_IPV4),
        &format!("-6 route add default via {}", gateway::INSIDE_IPV6),
    ])
}

/// Turns an interface's offloads on or off.
pub fn set_features(namespace: &Namespace, interface: &str, features: &[(&str, bool)]) -> Result<()> {
    let mut ethtool = namespace.command("ethtool");
    ethtool.args(["-K", interface]);
    for (feature, on) in features {
        ethtool.arg(feature).arg(if *on { "on" } else { "off" });
    }
    output(&mut ethtool).map(drop)
}
