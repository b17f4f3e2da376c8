//! What the machine must have besides Rust, and how Debian calls it.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::command::{find_program, is_root, output, run};

/// What set-up is for; each includes the one before, but for the last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
pub enum Purpose {
    /// The agent with its kernel program.
    Build,
    /// The agent's data sources, and the lab's servers and clients.
    Run,
    /// Everything that a test starts.
    Test,
    /// Formatting and lints besides.
    Ci,
    /// What `Run` has, and the filters to compare with.
    Bench,
}

impl Purpose {
    fn includes(self, other: Self) -> bool {
        match (self, other) {
            (Self::Bench, other) => other <= Self::Run || other == Self::Bench,
            (purpose, other) => other <= purpose,
        }
    }
}

/// Something that a command needs, and the package that brings it.
struct Need {
    from: Purpose,
    what: What,
    package: &'static str,
}

enum What {
    Program(&'static str),
    File(&'static str),
}

const NEEDS: &[Need] = &[
    Need { from: Purpose::Run, what: What::File("/etc/services"), package: "netbase" },
    Need { from: Purpose::Run, what: What::File("/usr/share/ieee-data/oui.csv"), package: "ieee-data" },
    Need { from: Purpose::Run, what: What::File("/usr/share/tor/geoip"), package: "tor-geoipdb" },
    Need { from: Purpose::Run, what: What::Program("ip"), package: "iproute2" },
    Need { from: Purpose::Run, what: What::Program("ethtool"), package: "ethtool" },
    Need { from: Purpose::Run, what: What::Program("curl"), package: "curl" },
    Need { from: Purpose::Run, what: What::Program("openssl"), package: "openssl" },
    Need { from: Purpose::Run, what: What::Program("dnsmasq"), package: "dnsmasq-base" },
    Need { from: Purpose::Test, what: What::Program("promtool"), package: "prometheus" },
    Need { from: Purpose::Bench, what: What::Program("xdp-filter"), package: "xdp-tools" },
    Need { from: Purpose::Bench, what: What::Program("nft"), package: "nftables" },
    Need { from: Purpose::Bench, what: What::Program("iptables"), package: "iptables" },
    Need { from: Purpose::Bench, what: What::Program("ipset"), package: "ipset" },
    Need { from: Purpose::Bench, what: What::Program("iperf3"), package: "iperf3" },
    Need { from: Purpose::Ci, what: What::Program("qemu-system-x86_64"), package: "qemu-system-x86" },
];

/// Installs what is missing for the purpose.
pub fn provide(purpose: Purpose) -> Result<()> {
    let is_missing = |need: &&Need| match need.what {
        What::Program(name) => find_program(name).is_none(),
        What::File(path) => !Path::new(path).exists(),
    };
    let missing: Vec<_> = NEEDS.iter().filter(|need| purpose.includes(need.from)).filter(is_missing).map(|need| need.package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let services: Vec<_> = SERVICES.iter().filter(|(package, _)| missing.contains(package)).map(|(_, service)| *service).collect();
    // Masked, a service is not started by its installation. Where there is no systemd, nothing starts it either.
    let _ = systemctl("mask", &services);
    let installed = install(&missing).with_context(|| format!("these are missing: {}", missing.join(", ")));
    let _ = systemctl("unmask", &services);
    let _ = systemctl("disable", &services);
    installed
}

/// Services that come with what we want for its files or programs, and that nobody asked for: `tor-geoipdb` depends on `tor`.
const SERVICES: [(&str, &str); 2] = [("tor-geoipdb", "tor.service"), ("prometheus", "prometheus.service")];

fn systemctl(verb: &str, services: &[&str]) -> Result<()> {
    if services.is_empty() || !is_root() {
        return Ok(());
    }
    output(Command::new("systemctl").arg("--quiet").arg(verb).args(services)).map(drop)
}

/// Installs Debian packages, or says what to type where that is not ours to do.
pub fn install(packages: &[&str]) -> Result<()> {
    if find_program("apt-get").is_none() {
        bail!("this is not a Debian machine: install the equivalents of the Debian packages {}", packages.join(" "));
    }
    if !is_root() {
        bail!("run this once: sudo apt-get update && sudo apt-get install --no-install-recommends {}", packages.join(" "));
    }
    println!("setup: installing {}", packages.join(" "));
    run(apt_get().args(["-qq", "update"]))?;
    run(apt_get().args(["-qq", "install", "--no-install-recommends", "--yes", "-o=Dpkg::Use-Pty=0"]).args(packages))
}

/// Whether the package lists, as they are, offer a package. False without apt.
pub fn is_offered(package: &str) -> bool {
    let policy = output(Command::new("apt-cache").args(["policy", package]));
    policy.is_ok_and(|text| text.lines().any(|line| line.trim().starts_with("Candidate: ") && !line.ends_with("(none)")))
}

/// Brings the package lists up to date, where that is ours to do.
pub fn update() -> Result<()> {
    if is_root() && find_program("apt-get").is_some() { run(apt_get().args(["-qq", "update"])) } else { Ok(()) }
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    // dpkg tells of every package even where it is asked to be quiet; errors go elsewhere.
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).stdout(Stdio::null());
    command
}
