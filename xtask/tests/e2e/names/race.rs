//! Between an answer and the first packet to its address there is no time in which that packet passes.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use xtask::lab::agent::Agent;
use xtask::lab::plan::gateway;
use xtask::lab::process::wait_until;
use xtask::lab::{Host, Lab};

use crate::support::fresh::{A, AAAA, Arrivals, MOST, Resolver, address, answered, name, query};
use crate::support::town::NamePolicy;
use crate::support::{agent_program, rule_packets};

/// In all; a half by each resolver, and of these a quarter by each way.
const TIMES: u32 = 100_000;
const WATCHED: &str = "watched.example";
const FREE: &str = "free.example";
const PORT: u16 = 9001;
const PATIENCE: Duration = Duration::from_secs(5);
/// Of the servers' namespace, where nothing else listens for queries.
const FAR_RESOLVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 54);
/// The same on the gateway.
const NEAR_RESOLVER: Ipv4Addr = gateway::INSIDE_IPV4;

/// Not about DNS, so that the phone's queries are answered.
const POLICY: NamePolicy<'static> =
    NamePolicy { name: "race", domains: &[WATCHED], learned: "enforce", services: &["tcp/9001", "udp/9001"], action: "drop" };

/// Asks for each name of the zone and, by the same thread, sends to the address as soon as the answer is there.
fn run(host: &Host, resolvers: &[Resolver; 2], zone: &str, numbers: impl Iterator<Item = u32> + Send) -> Result<()> {
    host.namespace.run(|| {
        let datagrams = [UdpSocket::bind("0.0.0.0:0")?, UdpSocket::bind("[::]:0")?];
        let queries = [ask(resolvers[0].address)?, ask(resolvers[1].address)?];
        let mut buffer = [0; 512];
        for number in numbers {
            let query = query(number as u16, &name(number, zone), kind(number));
            let resolver = &queries[(number & 1) as usize];
            resolver.send(&query).context("cannot ask")?;
            let address = loop {
                let length = resolver.recv(&mut buffer).with_context(|| format!("no answer about number {number}"))?;
                // An answer to a former query is of no use.
                if let Some(address) = answered(&query, &buffer[..length]) {
                    break address;
                }
            };
            let to = SocketAddr::new(address, PORT);
            if number & 4 == 0 {
                datagrams[usize::from(address.is_ipv6())].send_to(b"at once", to).context("cannot send")?;
            } else {
                syn(to)?;
            }
        }
        Ok(())
    })
}

/// Each address is one name's alone, and its number says by which way it is asked for and sent to.
fn kind(number: u32) -> u16 {
    if number & 2 == 0 { A } else { AAAA }
}

fn ask(resolver: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(resolver)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Begins a connection, and waits for nothing.
fn syn(to: SocketAddr) -> Result<()> {
    // SAFETY: takes numbers.
    let socket = unsafe {
        libc::socket(
            if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 },
            libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            0,
        )
    };
    ensure!(socket >= 0, "cannot open a socket: {}", std::io::Error::last_os_error());
    // SAFETY: just opened, and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let begun = match to {
        SocketAddr::V4(to) => {
            // SAFETY: a plain structure of numbers, for which zeros are valid.
            let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
            address.sin_family = libc::AF_INET as u16;
            address.sin_port = to.port().to_be();
            address.sin_addr.s_addr = u32::from_ne_bytes(to.ip().octets());
            connect(&socket, &address)
        }
        SocketAddr::V6(to) => {
            // SAFETY: as above.
            let mut address: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
            address.sin6_family = libc::AF_INET6 as u16;
            address.sin6_port = to.port().to_be();
            address.sin6_addr.s6_addr = to.ip().octets();
            connect(&socket, &address)
        }
    };
    let error = std::io::Error::last_os_error();
    ensure!(begun == 0 || error.raw_os_error() == Some(libc::EINPROGRESS), "cannot connect to {to}: {error}");
    Ok(())
}

/// connect(2) with one of the families' addresses.
fn connect<T>(socket: &OwnedFd, address: &T) -> libc::c_int {
    // SAFETY: the address is of the size that is given with it.
    unsafe { libc::connect(socket.as_raw_fd(), (&raw const *address).cast(), size_of::<T>() as libc::socklen_t) }
}

#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn not_one_packet_outruns_the_answer_that_gave_its_address() {
    let lab = Lab::start().unwrap();
    lab.servers.namespace.ip(&[&format!("addr add {FAR_RESOLVER}/32 dev lo")]).unwrap();
    let resolvers = [Resolver::start(&lab.servers.namespace, FAR_RESOLVER.into()), Resolver::start(&lab.gateway, NEAR_RESOLVER.into())];
    let arrivals = Arrivals::watch(&lab);
    let all_arrive = |zone, numbers: std::ops::Range<u32>| {
        let (before, expected) = (arrivals.addresses(), u64::from(numbers.end - numbers.start));
        run(&lab.phone, &resolvers, zone, numbers).unwrap();
        wait_until(PATIENCE, &format!("{expected} packets have arrived for {zone}"), || Ok(arrivals.addresses() - before == expected))
            .unwrap();
    };
    // Numbers of each part are its own: an address that was learned once stays so.
    let few = (MOST - TIMES) / 4;
    all_arrive(WATCHED, 0..few);
    all_arrive(FREE, few..2 * few);

    let agent = Agent::start(&lab, &agent_program(), &POLICY.settings(&lab)).unwrap();
    let watched = 2 * few..2 * few + TIMES;
    run(&lab.phone, &resolvers, WATCHED, watched.clone()).unwrap();
    // Packets stay in order on their way: once these have arrived, the others would have.
    all_arrive(FREE, watched.end..MOST);
    let outran: Vec<_> = watched.filter(|number| arrivals.has(*number)).map(|number| address(number, kind(number))).collect();
    assert!(outran.is_empty(), "{} of {TIMES} packets arrived, to {:?}…", outran.len(), &outran[..outran.len().min(8)]);
    assert_eq!(rule_packets(&agent, POLICY.name), u64::from(TIMES), "each is dropped by the rule, and counted");
    // The laptop is nobody's concern: it reaches an address that was learned.
    let learned = 2 * few + 1;
    run(&lab.laptop, &resolvers, WATCHED, learned..learned + 1).unwrap();
    wait_until(PATIENCE, "the laptop's packet has arrived", || Ok(arrivals.has(learned))).unwrap();
}
