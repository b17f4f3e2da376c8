//! The outside: web servers, a resolver, an echo, at addresses all over the world, all in one namespace.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::directory::Directory;
use super::namespace::Namespace;
use super::plan::{RESOLVER, RESOLVER_IPV6, SERVERS, port};
use super::process::{Process, wait_until};
use super::{names, resolver};
use crate::command::{find_program, output};

/// The servers' processes. The threads of the others end with ours.
pub struct Servers {
    _processes: Vec<Process>,
    pub namespace: Namespace,
}

impl Servers {
    /// Starts all of them in the namespace, which has their addresses, and waits until they listen.
    pub fn start(namespace: Namespace, directory: &Directory) -> Result<Self> {
        let mut processes = vec![resolver::start(&namespace, &[RESOLVER.into(), RESOLVER_IPV6.into()])?];
        let certificate = directory.path().join("server.pem");
        make_certificate(directory)?;
        for address in SERVERS.iter().flat_map(|server| server.addresses()) {
            let http = SocketAddr::new(address, port::HTTP);
            let listener = namespace.run(|| TcpListener::bind(http).with_context(|| format!("cannot listen on {http}")))?;
            thread::spawn(move || serve_http(&listener));

            let echo = SocketAddr::new(address, port::UDP_ECHO);
            let socket = namespace.run(|| UdpSocket::bind(echo).with_context(|| format!("cannot listen on {echo}")))?;
            thread::spawn(move || echo_datagrams(&socket));

            let https = SocketAddr::new(address, port::HTTPS);
            let mut command = namespace.command("openssl");
            command.args(["s_server", "-quiet", "-www", "-accept", &https.to_string()]).arg("-cert").arg(&certificate);
            processes.push(Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?);
            wait_until(Duration::from_secs(10), &format!("openssl listens on {https}"), || {
                namespace.run(|| Ok(TcpStream::connect(https).is_ok()))
            })?;
        }
        Ok(Self { _processes: processes, namespace })
    }
}

/// One certificate and key for all names, in `server.pem`; clients trust it alone.
fn make_certificate(directory: &Directory) -> Result<()> {
    let names: Vec<_> = SERVERS.iter().map(|server| server.name).chain(names::all()).map(|name| format!("DNS:{name}")).collect();
    let file = directory.path().join("server.pem");
    let mut openssl = Command::new(find_program("openssl").context("openssl is missing: run ./x setup --for run")?);
    openssl
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=edge lab"])
        .args(["-addext", &format!("subjectAltName={}", names.join(","))])
        // Some clients take no authority's certificate for a server's.
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        // Key and certificate after each other, in one file.
        .arg("-keyout")
        .arg(directory.path().join("server.key"))
        .arg("-out")
        .arg(&file);
    output(&mut openssl)?;
    let key = std::fs::read_to_string(directory.path().join("server.key")).context("openssl wrote no key")?;
    let certificate = std::fs::read_to_string(&file).context("openssl wrote no certificate")?;
    directory.write("server.pem", &(certificate + &key)).map(drop)
}

/// Answers every request alike, on a thread for each connection.
fn serve_http(listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        thread::spawn(move || {
            let mut reader = BufReader::new(&stream);
            let mut line = String::new();
            // The head ends with an empty line.
            while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
                line.clear();
            }
            // A client that has gone is none of our concern.
            let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n");
        });
    }
}

fn echo_datagrams(socket: &UdpSocket) {
    let mut buffer = [0; 65536];
    while let Ok((length, sender)) = socket.recv_from(&mut buffer) {
        // The sender asks again if it wants to.
        let _ = socket.send_to(&buffer[..length], sender);
    }
}
