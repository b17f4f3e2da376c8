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
    /// Large, and one test's only: what needs it says so and goes without.
    optional: bool,
}

impl Need {
    const fn program(from: Purpose, name: &'static str, package: &'static str) -> Self {
        Self { from, what: What::Program(name), package, optional: false }
    }

    const fn file(from: Purpose, path: &'static str, package: &'static str) -> Self {
        Self { from, what: What::File(path), package, optional: false }
    }

    fn is_missing(&self) -> bool {
        match self.what {
            What::Program(name) => find_program(name).is_none(),
            What::File(path) => !Path::new(path).exists(),
        }
    }
}

enum What {
    Program(&'static str),
    File(&'static str),
}

const NEEDS: &[Need] = &[
    Need::file(Purpose::Run, "/etc/services", "netbase"),
    Need::file(Purpose::Run, "/usr/share/ieee-data/oui.csv", "ieee-data"),
    Need::file(Purpose::Run, "/usr/share/tor/geoip", "tor-geoipdb"),
    Need::program(Purpose::Run, "ip", "iproute2"),
    Need::program(Purpose::Run, "ethtool", "ethtool"),
    Need::program(Purpose::Run, "curl", "curl"),
    Need::program(Purpose::Run, "openssl", "openssl"),
    Need::program(Purpose::Run, "dnsmasq", "dnsmasq-base"),
    Need::program(Purpose::Test, "promtool", "prometheus"),
    Need::program(Purpose::Test, "dig", "bind9-dnsutils"),
    Need { optional: true, ..Need::program(Purpose::Test, "chromium", "chromium") },
    Need::program(Purpose::Bench, "xdp-filter", "xdp-tools"),
    Need::program(Purpose::Bench, "nft", "nftables"),
    Need::program(Purpose::Bench, "iptables", "iptables"),
    Need::program(Purpose::Bench, "ipset", "ipset"),
    Need::program(Purpose::Bench, "iperf3", "iperf3"),
    Need::program(Purpose::Ci, "qemu-system-x86_64", "qemu-system-x86"),
];

/// Installs what is missing for the purpose.
pub fn provide(purpose: Purpose) -> Result<()> {
    let missing = |optional| {
        let needs = NEEDS.iter().filter(|need| purpose.includes(need.from) && need.optional == optional && need.is_missing());
        needs.map(|need| need.package).collect::<Vec<_>>()
    };
    let (needed, wanted) = (missing(false), missing(true));
    if !needed.is_empty() {
        install_without_services(&needed)?;
    }
    if !wanted.is_empty()
        && is_root()
        && let Err(error) = install(&wanted)
    {
        println!("setup: going on without {}: {error:#}", wanted.join(", "));
    }
    Ok(())
}

fn install_without_services(missing: &[&str]) -> Result<()> {
    let services: Vec<_> = SERVICES.iter().filter(|(package, _)| missing.contains(package)).map(|(_, service)| *service).collect();
    // Masked, a service is not started by its installation. Where there is no systemd, nothing starts it either.
    let _ = systemctl("mask", &services);
    let installed = install(missing).with_context(|| format!("these are missing: {}", missing.join(", ")));
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
