//! What no policy can cut off.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use xtask::lab::Lab;
use xtask::lab::agent::Agent;
use xtask::lab::client::{Family, Outcome, Protocol, Try};
use xtask::lab::plan::{ELSEWHERE, PHONE, gateway};

use crate::support::{Policy, agent_program, with_policy};

const SSH: u16 = 22;
/// Not in the pinhole.
const TELNET: u16 = 23;
const BLOCKED_AFTER: Duration = Duration::from_secs(1);

#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn under_a_ban_of_everything_ssh_dhcp_arp_and_neighbour_discovery_go_on() {
    let lab = Lab::start().unwrap();
    let gateway_addresses: [IpAddr; 2] = [gateway::INSIDE_IPV4.into(), gateway::INSIDE_IPV6.into()];
    let listen = |port| lab.gateway.run(|| Ok(gateway_addresses.map(|address| TcpListener::bind((address, port)).unwrap()))).unwrap();
    // Connections are accepted by the kernel while the listeners live.
    let _listeners = [SSH, TELNET].map(listen);
    let dhcp_server = lab.gateway.run(|| Ok(UdpSocket::bind(("0.0.0.0", 67))?)).unwrap();
    dhcp_server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let ban = Policy { name: "nothing", from: "all", to: "any", action: "drop" };
    let _agent = Agent::start(&lab, &agent_program(), &with_policy(&lab, &ban)).unwrap();

    for address in gateway_addresses {
        // Each side has to find the other's hardware address anew: ARP, or neighbour discovery.
        lab.phone.namespace.ip(&["neigh flush dev eth0"]).unwrap();
        lab.gateway.ip(&[&format!("neigh flush dev {}", gateway::INSIDE)]).unwrap();
        assert!(connects(&lab, address, SSH), "ssh to {address}");
        assert!(!connects(&lab, address, TELNET), "telnet to {address}");
    }
    // Only to the gateway's own addresses.
    let elsewhere = ELSEWHERE.ipv4.into();
    let _listener = lab.servers.namespace.run(|| Ok(TcpListener::bind((elsewhere, SSH))?)).unwrap();
    assert!(!connects(&lab, elsewhere, SSH), "ssh to another host");
    for family in [Family::Ipv4, Family::Ipv6] {
        let tried = Try { protocol: Protocol::Http, server: ELSEWHERE, family };
        assert_ne!(tried.from(&lab.phone, &lab.directory).unwrap().outcome, Outcome::Reached);
    }

    // RFC 2131 section 4.1: from port 68 to port 67, broadcast.
    let discover = || {
        let client = UdpSocket::bind(("0.0.0.0", 68))?;
        client.set_broadcast(true)?;
        client.send_to(b"discover", ("255.255.255.255", 67))?;
        Ok(())
    };
    lab.phone.namespace.run(discover).unwrap();
    let mut buffer = [0; 64];
    let (length, sender) = dhcp_server.recv_from(&mut buffer).expect("DHCP reaches the gateway");
    assert_eq!((&buffer[..length], sender.ip()), (&b"discover"[..], IpAddr::from(PHONE.ipv4)));
}

fn connects(lab: &Lab, address: IpAddr, port: u16) -> bool {
    let to = SocketAddr::new(address, port);
    lab.phone.namespace.run(|| Ok(TcpStream::connect_timeout(&to, BLOCKED_AFTER).is_ok())).unwrap()
}
