//! Pages fetched with curl(1), the name and the address chosen apart.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use xtask::lab::{Directory, Host};

use super::web;

/// Less would take a slow machine for a blocked one.
const PATIENCE: &str = "2";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// HTTP/2 over TLS.
    Http2,
}

/// Where curl has the address from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    ByResolver,
    /// `--resolve`: as if a resolver had said so.
    Told(IpAddr),
    /// `--connect-to`: the connection goes elsewhere than the address of the page says.
    ConnectTo(IpAddr),
}

/// A page to fetch.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    pub way: Way,
    pub name: &'a str,
    pub port: u16,
    pub found: Found,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fetched {
    Reached,
    /// The resolver says that there is none.
    NoSuchName,
    /// Told no, by TCP RST or ICMP, at once or after the ClientHello or the request.
    Refused,
    TimedOut,
    Failed(String),
}

impl Page<'_> {
    pub fn fetch(&self, host: &Host, directory: &Directory) -> (Fetched, Duration) {
        let Self { way, name, port, found } = self;
        let (scheme, version, expected) = match way {
            Way::Http => ("http", "--http1.1", "200 1.1"),
            Way::Https => ("https", "--http1.1", "200 1.1"),
            Way::Http2 => ("https", "--http2", "200 2"),
        };
        let mut curl = host.command("curl");
        curl.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", PATIENCE, version])
            .args(["--write-out", "%{http_code} %{http_version}"])
            .arg("--cacert")
            .arg(Host::trusted(directory));
        match found {
            Found::ByResolver => {}
            Found::Told(address) => {
                curl.args(["--resolve", &format!("{name}:{port}:{}", bracketed(*address))]);
            }
            Found::ConnectTo(address) => {
                curl.args(["--connect-to", &format!("{name}:{port}:{}:{port}", bracketed(*address))]);
            }
        }
        let start = Instant::now();
        let output = curl.arg(format!("{scheme}://{name}:{port}/")).output().expect("curl is there: ./x setup --for test");
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        // Exit codes of curl(1): no such name, not connected, time-out, an error in the TLS handshake, nothing received, an error in that.
        let fetched = match output.status.code() {
            Some(0) if *said == format!("{}{expected}", web::PAGE) => Fetched::Reached,
            Some(6) => Fetched::NoSuchName,
            Some(7) => Fetched::Refused,
            Some(28) => Fetched::TimedOut,
            Some(35 | 52 | 56) if errors.contains("reset") => Fetched::Refused,
            code => Fetched::Failed(format!("{code:?}: {errors} {said}")),
        };
        (fetched, start.elapsed())
    }
}

fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}
