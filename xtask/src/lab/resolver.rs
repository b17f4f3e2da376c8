//! A resolver that knows the lab's names and no other: one among the servers, which every device asks, and one on the gateway for tests.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Result;

use super::names::{ALIASES, ALLOWED, SITES};
use super::namespace::Namespace;
use super::plan::SERVERS;
use super::process::{Process, wait_until};

const PORT: u16 = 53;
/// A record of type HTTPS (RFC 9460): priority 1, the name itself, `alpn=h2`.
const HTTPS_RECORD: &str = "65,00010000010003026832";

/// Starts dnsmasq at the addresses, over UDP and TCP, and waits until it listens.
pub fn start(namespace: &Namespace, addresses: &[IpAddr]) -> Result<Process> {
    let mut command = namespace.command("dnsmasq");
    command
        .args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces", "--user=nobody"])
        .args(["--pid-file=", "--log-facility=-", "--quiet-dhcp", "--local=/example/", "--local-ttl=60"])
        .args(addresses.iter().map(|address| format!("--listen-address={address}")));
    for server in SERVERS {
        command.arg(format!("--host-record={},{},{}", server.name, server.ipv4, server.ipv6));
    }
    for site in SITES {
        command.args(site.names.iter().map(|name| format!("--host-record={name},{},{}", site.ipv4, site.ipv6)));
    }
    command.args(ALIASES.map(|(alias, to)| format!("--cname={alias},{to}")));
    command.arg(format!("--dns-rr={ALLOWED},{HTTPS_RECORD}"));
    let mut process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
    for address in addresses {
        let address = SocketAddr::new(*address, PORT);
        wait_until(Duration::from_secs(10), &format!("dnsmasq listens on {address}"), || {
            process.check()?;
            namespace.run(|| Ok(TcpStream::connect(address).is_ok()))
        })?;
    }
    Ok(process)
}
