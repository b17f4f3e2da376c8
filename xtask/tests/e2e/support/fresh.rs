//! An address for each number, a resolver that answers name number k with address number k, and a note of the packets that come to them.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use xtask::lab::{Lab, Namespace};

use super::raw::RawSocket;

/// For benchmarks (RFC 2544): 131,072 addresses.
const IPV4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
const IPV4_LENGTH: u32 = 15;
/// For documentation, as many as one likes.
const IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x18, 0, 0, 0, 0, 0);
const IPV6_LENGTH: u32 = 64;
pub const MOST: u32 = 1 << (32 - IPV4_LENGTH);

/// Types of records (RFC 1035, RFC 3596).
pub const A: u16 = 1;
pub const AAAA: u16 = 28;

/// Name number `number` of a zone.
pub fn name(number: u32, zone: &str) -> String {
    format!("n{number}.{zone}")
}

/// Address number `number` for a type of records.
pub fn address(number: u32, kind: u16) -> IpAddr {
    match kind {
        A => Ipv4Addr::from_bits(IPV4.to_bits() + number).into(),
        _ => Ipv6Addr::from_bits(IPV6.to_bits() + u128::from(number)).into(),
    }
}

fn number(address: IpAddr) -> Option<u32> {
    match address {
        IpAddr::V4(address) => address.to_bits().checked_sub(IPV4.to_bits()),
        IpAddr::V6(address) => address.to_bits().checked_sub(IPV6.to_bits())?.try_into().ok(),
    }
    .filter(|number| *number < MOST)
}

/// A query for one name (RFC 1035 section 4).
pub fn query(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    // Recursion desired; one question.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    message
}

/// The address at an answer's end, if it is the answer to the query.
pub fn answered(query: &[u8], answer: &[u8]) -> Option<IpAddr> {
    let kind = u16::from_be_bytes(query[query.len() - 4..query.len() - 2].try_into().ok()?);
    let is_its = answer.get(..2)? == &query[..2] && answer.get(12..query.len())? == &query[12..];
    let data = answer.get(query.len() + 12..)?;
    let address = match kind {
        A => IpAddr::from(<[u8; 4]>::try_from(data).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(data).ok()?),
    };
    is_its.then_some(address)
}

/// The answer to such a query: one record with the address of the name's number.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let first = query.get(13..13 + usize::from(*query.get(12)?))?;
    let number = std::str::from_utf8(first.strip_prefix(b"n")?).ok()?.parse().ok()?;
    let kind = u16::from_be_bytes(query.get(query.len().checked_sub(4)?..)?[..2].try_into().ok()?);
    let mut message = query.to_vec();
    // A response, recursion available; one answer.
    message[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
    // The question's name, type, class, a minute to live.
    message.extend([0xc0, 12]);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1, 0, 0, 0, 60]);
    match address(number, kind) {
        IpAddr::V4(address) => message.extend([&[0, 4][..], &address.octets()].concat()),
        IpAddr::V6(address) => message.extend([&[0, 16][..], &address.octets()].concat()),
    }
    Some(message)
}

/// A thread that ends with its value.
struct Worker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(mut work: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let work = move || {
            while !stopped.load(Ordering::Relaxed) {
                work();
            }
        };
        Self { stop, thread: Some(thread::spawn(work)) }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Its panic has been printed, and what it should have done is missed.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

const TICK: Duration = Duration::from_millis(100);

/// Answers until it is dropped.
pub struct Resolver {
    pub address: SocketAddr,
    _worker: Worker,
}

impl Resolver {
    pub fn start(namespace: &Namespace, address: IpAddr) -> Self {
        let socket = namespace.run(|| Ok(UdpSocket::bind((address, 53))?)).unwrap();
        socket.set_read_timeout(Some(TICK)).unwrap();
        let address = socket.local_addr().unwrap();
        let mut buffer = [0; 512];
        let _worker = Worker::start(move || match socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                if let Some(answer) = answer(&buffer[..length]) {
                    socket.send_to(&answer, from).unwrap();
                }
            }
            Err(error) => assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}"),
        });
        Self { address, _worker }
    }
}

/// Takes note of each packet that comes to one of the addresses, as the far side's wire shows it.
pub struct Arrivals {
    /// A bit for each number.
    numbers: Arc<Vec<AtomicU64>>,
    _worker: Worker,
}

impl Arrivals {
    /// The servers' namespace owns all of the addresses from now on.
    pub fn watch(lab: &Lab) -> Self {
        let namespace = &lab.servers.namespace;
        namespace
            .ip(&[&format!("route add local {IPV4}/{IPV4_LENGTH} dev lo"), &format!("-6 route add local {IPV6}/{IPV6_LENGTH} dev lo")])
            .unwrap();
        let wire = RawSocket::open(namespace, "eth0");
        wire.hold(64 << 20);
        let numbers: Arc<Vec<_>> = Arc::new((0..MOST / u64::BITS).map(|_| AtomicU64::new(0)).collect());
        let seen = Arc::clone(&numbers);
        let mut buffer = vec![0; 2048];
        let _worker = Worker::start(move || {
            let Some(number) = wire.receive_in(&mut buffer, TICK).and_then(destination).and_then(number) else { return };
            seen[(number / u64::BITS) as usize].fetch_or(1 << (number % u64::BITS), Ordering::Relaxed);
        });
        Self { numbers, _worker }
    }

    /// Whether a packet came to address number `number`.
    pub fn has(&self, number: u32) -> bool {
        self.numbers[(number / u64::BITS) as usize].load(Ordering::Relaxed) >> (number % u64::BITS) & 1 == 1
    }

    /// To how many of the addresses one came.
    pub fn addresses(&self) -> u64 {
        self.numbers.iter().map(|word| u64::from(word.load(Ordering::Relaxed).count_ones())).sum()
    }
}

/// Where an untagged IP packet goes.
fn destination(frame: &[u8]) -> Option<IpAddr> {
    match frame.get(12..14)? {
        [0x08, 0x00] => Some(<[u8; 4]>::try_from(frame.get(30..34)?).ok()?.into()),
        [0x86, 0xdd] => Some(<[u8; 16]>::try_from(frame.get(38..54)?).ok()?.into()),
        _ => None,
    }
}
