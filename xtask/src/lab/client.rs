//! What a device tries, with real clients, and what became of it.

use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::directory::Directory;
use super::host::Host;
use super::plan::{Server, port};

/// How long a client waits before it calls a server unreachable.
const PATIENCE: Duration = Duration::from_secs(1);

/// A way to talk to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// Its name, asked of the resolver by the C library.
    Lookup,
    Http,
    Https,
    /// A datagram that the server sends back.
    Echo,
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Lookup => "DNS",
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Echo => "UDP",
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    Ipv4,
    Ipv6,
}

/// What became of a try.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Reached,
    /// No answer at all: what a dropped packet looks like from outside.
    TimedOut,
    /// Told no: TCP RST, or an ICMP error.
    Refused,
    /// Its name has no address: the query was stopped.
    NoAddress,
    /// Something else went wrong.
    Failed(String),
}

impl Outcome {
    /// Kept from the server, one way or the other.
    pub fn is_blocked(&self) -> bool {
        matches!(self, Self::TimedOut | Self::Refused | Self::NoAddress)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Reached => "reached",
            Self::TimedOut => "blocked, no answer",
            Self::Refused => "blocked, refused",
            Self::NoAddress => "blocked, no address",
            Self::Failed(why) => why,
        })
    }
}

/// An outcome, and how long it took to be known.
#[derive(Clone, Debug)]
pub struct Answer {
    pub outcome: Outcome,
    pub took: Duration,
}

/// One try: who, what, to where.
#[derive(Clone, Copy, Debug)]
pub struct Try {
    pub protocol: Protocol,
    pub server: Server,
    pub family: Family,
}

impl Try {
    /// The address that it is for.
    pub fn address(&self) -> IpAddr {
        let [ipv4, ipv6] = self.server.addresses();
        match self.family {
            Family::Ipv4 => ipv4,
            Family::Ipv6 => ipv6,
        }
    }

    /// Makes the connection from the host.
    pub fn from(&self, host: &Host, directory: &Directory) -> Result<Answer> {
        let start = Instant::now();
        let outcome = match self.protocol {
            Protocol::Lookup => self.look_up(host),
            Protocol::Http => self.curl(host, "http", Host::trusted(directory)),
            Protocol::Https => self.curl(host, "https", Host::trusted(directory)),
            Protocol::Echo => self.echo(host),
        }?;
        Ok(Answer { outcome, took: start.elapsed() })
    }

    fn look_up(&self, host: &Host) -> Result<Outcome> {
        let database = match self.family {
            Family::Ipv4 => "ahostsv4",
            Family::Ipv6 => "ahostsv6",
        };
        let Output { status, stdout, .. } =
            host.command("getent").args([database, self.server.name]).output().context("cannot start getent")?;
        let address = self.address().to_string();
        let names_it = String::from_utf8_lossy(&stdout).lines().any(|line| line.split(' ').next() == Some(&*address));
        Ok(match status.code() {
            Some(0) if names_it => Outcome::Reached,
            Some(0) => Outcome::Failed("another address".to_owned()),
            _ => Outcome::TimedOut,
        })
    }

    fn curl(&self, host: &Host, scheme: &str, trusted: PathBuf) -> Result<Outcome> {
        let family = match self.family {
            Family::Ipv4 => "--ipv4",
            Family::Ipv6 => "--ipv6",
        };
        let Output { status, stdout, stderr } = host
            .command("curl")
            .args(["--silent", "--show-error", "--output", "/dev/null", "--write-out", "%{http_code} %{remote_ip}", family])
            .args(["--noproxy", "*", "--connect-timeout", &PATIENCE.as_secs().to_string(), "--max-time", "5"])
            .arg("--cacert")
            .arg(trusted)
            .arg(format!("{scheme}://{}/", self.server.name))
            .output()
            .context("cannot start curl")?;
        // Exit codes of curl(1): 6 is a name that nobody gives an address for, 7 a connection refused, by RST or by ICMP, and 28 a time-out.
        Ok(match status.code() {
            Some(0) if String::from_utf8_lossy(&stdout) == format!("200 {}", self.address()) => Outcome::Reached,
            Some(6) => Outcome::NoAddress,
            Some(7) => Outcome::Refused,
            Some(28) => Outcome::TimedOut,
            _ => Outcome::Failed(String::from_utf8_lossy(&stderr).trim().to_owned()),
        })
    }

    fn echo(&self, host: &Host) -> Result<Outcome> {
        let server = SocketAddr::new(self.address(), port::UDP_ECHO);
        let socket = host.namespace.run(|| {
            let any: IpAddr =
                if server.is_ipv4() { std::net::Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
            let socket = UdpSocket::bind((any, 0)).context("cannot open a socket")?;
            socket.connect(server).with_context(|| format!("no route to {server}"))?;
            socket.set_read_timeout(Some(PATIENCE)).context("cannot set a time limit")?;
            Ok(socket)
        })?;
        socket.send(b"hello").with_context(|| format!("cannot send to {server}"))?;
        let mut buffer = [0; 16];
        Ok(match socket.recv(&mut buffer) {
            Ok(length) if &buffer[..length] == b"hello" => Outcome::Reached,
            Ok(_) => Outcome::Failed("another datagram".to_owned()),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => Outcome::TimedOut,
            // ICMP "administratively prohibited" shows as one of these (icmp(7), ipv6(7)).
            Err(error) if matches!(error.raw_os_error(), Some(libc::ECONNREFUSED | libc::EHOSTUNREACH | libc::EACCES)) => Outcome::Refused,
            Err(error) => Outcome::Failed(error.to_string()),
        })
    }
}
