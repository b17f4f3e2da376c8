//! TLS handshakes by a real client, whose first flight is cut to order on its way to the wire.

use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use edge_agent::engine::frame::{Ends, FrameSpec, TcpFlags, Transport};
use edge_ebpf::packet::Mac;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use xtask::lab::plan::gateway;
use xtask::lab::{Directory, Host};

use super::raw::RawSocket;

/// Less would take a slow machine for a blocked one.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longer than a segment needs to the far side.
const PAUSE: Duration = Duration::from_millis(20);
/// RFC 8446 section 5.1: type, version, length.
const RECORD_HEADER: usize = 5;
/// Bytes that one protocol of the padding takes in a ClientHello, its length included.
const PADDING: usize = 32;

#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// In one write: what TCP makes of it.
    Whole,
    /// In writes of so many bytes, each a segment.
    Segments(usize),
    /// In TLS records of so many bytes each, all in one write.
    Records(usize),
    /// The same, each in a segment of its own.
    RecordsApart(usize),
    /// What follows the first so many bytes is on the wire before they are, by a frame made by hand.
    Swapped(usize),
}

/// A handshake to make.
#[derive(Clone, Copy, Debug)]
pub struct Handshake<'a> {
    pub name: &'a str,
    pub to: SocketAddr,
    /// The ClientHello is made longer by about so many bytes.
    pub padding: usize,
    pub cut: Cut,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shaken {
    Complete,
    Refused,
    TimedOut,
    Failed(String),
}

impl Handshake<'_> {
    pub fn from(&self, host: &Host, directory: &Directory) -> Shaken {
        match host.namespace.run(|| Ok(self.shake(host, directory))).unwrap() {
            Ok(()) => Shaken::Complete,
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Shaken::TimedOut,
                ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused | ErrorKind::BrokenPipe => Shaken::Refused,
                _ => Shaken::Failed(error.to_string()),
            },
        }
    }

    fn shake(&self, host: &Host, directory: &Directory) -> io::Result<()> {
        let Self { name, to, padding, cut } = self;
        let name = ServerName::try_from((*name).to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(config(directory, *padding)), name).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello)?;
        let mut stream = TcpStream::connect_timeout(to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        match *cut {
            Cut::Whole => stream.write_all(&hello)?,
            Cut::Segments(size) => hello.chunks(size).try_for_each(|part| stream.write_all(part))?,
            Cut::Records(size) => stream.write_all(&records(&hello, size).concat())?,
            Cut::RecordsApart(size) => records(&hello, size).iter().try_for_each(|record| stream.write_all(record))?,
            Cut::Swapped(size) => {
                let (first, second) = hello.split_at(size);
                send_ahead(host, &stream, first.len(), second)?;
                sleep(PAUSE);
                stream.write_all(first)?;
                sleep(PAUSE);
                stream.write_all(second)?;
            }
        }
        while client.is_handshaking() {
            client.complete_io(&mut stream)?;
        }
        // As one does: without it the server sees an end that may be a cut.
        client.send_close_notify();
        client.write_tls(&mut stream).map(drop)
    }
}

/// A client that trusts the lab's certificate, with a ClientHello as long as wanted.
pub fn config(directory: &Directory, padding: usize) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(Host::trusted(directory)).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    let protocols = (0..padding / PADDING).map(|number| format!("padding/{number:0width$}", width = PADDING - "./padding/".len() + 1));
    config.alpn_protocols = protocols.map(String::into_bytes).chain([b"http/1.1".to_vec()]).collect();
    config
}

/// The same message in more records (RFC 8446 section 5.1 allows any cut).
fn records(hello: &[u8], size: usize) -> Vec<Vec<u8>> {
    let (header, message) = hello.split_at(RECORD_HEADER);
    let record = |part: &[u8]| [&header[..3], &u16::try_from(part.len()).unwrap().to_be_bytes(), part].concat();
    message.chunks(size).map(record).collect()
}

/// Sends bytes of the connection that its socket has yet to send, `after` so many others.
fn send_ahead(host: &Host, stream: &TcpStream, after: usize, bytes: &[u8]) -> io::Result<()> {
    let (sequence, acknowledgment) = numbers(stream)?;
    let (from, to) = (stream.local_addr()?, stream.peer_addr()?);
    let ends = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Ends::V4(from, to),
        (IpAddr::V6(from), IpAddr::V6(to)) => Ends::V6(from, to),
        _ => unreachable!("both ends of a connection are of one family"),
    };
    let transport = Transport::Tcp {
        source: from.port(),
        destination: to.port(),
        flags: TcpFlags { ack: true, ..TcpFlags::default() },
        sequence: sequence.wrapping_add(after as u32),
        acknowledgment,
    };
    let mac = octets(host.device.mac).into_iter().fold(0, |mac, octet| mac << 8 | u64::from(octet));
    let mut frame = FrameSpec { payload: bytes.to_vec(), ..FrameSpec::new(Mac(mac), ends, transport) }.build();
    frame[..6].copy_from_slice(&octets(gateway::INSIDE_MAC));
    RawSocket::open(&host.namespace, "eth0").send(&frame);
    Ok(())
}

fn octets(mac: &str) -> [u8; 6] {
    let octets: Vec<_> = mac.split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect();
    octets.try_into().unwrap()
}

/// The sequence number of the next byte to send, and of the next to receive. The kernel tells them to who would move the connection to
/// another host (`TCP_REPAIR` in linux/tcp.h).
fn numbers(stream: &TcpStream) -> io::Result<(u32, u32)> {
    const RECEIVE_QUEUE: libc::c_int = 1;
    const SEND_QUEUE: libc::c_int = 2;
    /// Back to work without a probe of the peer's window.
    const OFF_WITHOUT_PROBE: libc::c_int = -1;
    let descriptor = stream.as_raw_fd();
    let set = |option, value: libc::c_int| {
        let size = size_of_val(&value) as libc::socklen_t;
        // SAFETY: the value is of the size that is given with it.
        check(unsafe { libc::setsockopt(descriptor, libc::IPPROTO_TCP, option, (&raw const value).cast(), size) })
    };
    let next = |queue| {
        set(libc::TCP_REPAIR_QUEUE, queue)?;
        let mut number = 0_u32;
        let mut size = size_of_val(&number) as libc::socklen_t;
        // SAFETY: the value is of the size that is given with it.
        check(unsafe { libc::getsockopt(descriptor, libc::IPPROTO_TCP, libc::TCP_QUEUE_SEQ, (&raw mut number).cast(), &raw mut size) })?;
        Ok::<_, io::Error>(number)
    };
    set(libc::TCP_REPAIR, 1)?;
    let numbers = (next(SEND_QUEUE)?, next(RECEIVE_QUEUE)?);
    set(libc::TCP_REPAIR, OFF_WITHOUT_PROBE)?;
    Ok(numbers)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
