//! A service that is known by its payload: the phone's push connection, which has no name to go by.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use xtask::lab::agent::{Agent, Settings};
use xtask::lab::names::APART_SITE;
use xtask::lab::plan::PHONE;
use xtask::lab::{Host, Lab};

use crate::support::{RULE, agent_program, rule_packets};

const PORT: u16 = 5222;
const OTHER_PORT: u16 = 5223;
const PATIENCE: Duration = Duration::from_secs(1);
/// As the phone begins, with a length in the place of any bytes.
const SIGNED: &[u8] = b"\xc2\xfe\x00\x05\x00\x00\x00\x2a\x00\x02\x00\x16 and more";
const OTHER_BYTES: &[u8] = b"\xfe\xfe\x00\x05\xff\xff\xff\xff\x00\x02\x00\x16 and more";
const ONE_BYTE_OFF: &[u8] = b"\xc2\xfe\x00\x05\x00\x00\x00\x2a\x00\x02\x00\x17 and more";
const TOO_SHORT: &[u8] = b"\xc2\xfe\x00\x05\x00\x00\x00\x2a\x00\x02\x00";
const NAME: &str = "no-push";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Said {
    Answered,
    Reset,
    Nothing,
}

/// Sends back whatever comes, over TCP and UDP.
fn serve(lab: &Lab) {
    for to in APART_SITE.addresses().into_iter().flat_map(|address| [PORT, OTHER_PORT].map(|port| SocketAddr::new(address, port))) {
        let bind = || Ok((TcpListener::bind(to)?, UdpSocket::bind(to)?));
        let (listener, socket) = lab.servers.namespace.run(bind).unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut buffer = [0; 64];
                    // A client that is cut off is what the test is about.
                    while let Ok(length @ 1..) = stream.read(&mut buffer) {
                        let _ = stream.write_all(&buffer[..length]);
                    }
                });
            }
        });
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&buffer[..length], from);
            }
        });
    }
}

fn said(result: std::io::Result<usize>) -> Said {
    match result {
        Ok(1..) => Said::Answered,
        Ok(0) => Said::Nothing,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Said::Nothing,
        Err(_) => Said::Reset,
    }
}

fn over_tcp(host: &Host, to: SocketAddr, bytes: &[u8]) -> Said {
    let mut stream = host.namespace.run(|| Ok(TcpStream::connect_timeout(&to, PATIENCE)?)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    said(stream.read(&mut [0; 64]))
}

/// One flow, on which several datagrams may go.
fn udp_flow(host: &Host, to: SocketAddr) -> UdpSocket {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = host.namespace.run(|| Ok(UdpSocket::bind((any, 0))?)).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn over_udp(flow: &UdpSocket, bytes: &[u8]) -> Said {
    flow.send(bytes).unwrap();
    said(flow.recv(&mut [0; 64]))
}

fn settings(lab: &Lab, action: &str) -> Settings {
    let yaml = format!(
        "apiVersion: edge/v1\nkind: Policy\nmetadata: {{name: {NAME}, title: End to end, severity: low, issued: 2014-10-24}}\n\
         spec:\n  devices: {{phone: {{any: [{{mac: [\"{}\"]}}]}}}}\n  services:\n    \
         push: {{proto: tcp, ports: {PORT}, offset: 0, bytes: \"c2fe0005 ???????? 00020016\"}}\n    \
         push-by-udp: {{proto: udp, ports: {PORT}, offset: 0, bytes: \"c2fe0005 ???????? 00020016\"}}\n  rules:\n    \
         - {{id: {RULE}, from: phone, services: [push, push-by-udp], action: {action}}}\n",
        PHONE.mac
    );
    let file = lab.directory.write("policies/policy.yaml", &yaml).unwrap();
    Settings::new(file.parent().unwrap())
}

#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn a_connection_is_cut_off_by_the_bytes_that_it_begins_with() {
    let lab = Lab::start().unwrap();
    serve(&lab);
    let addresses = APART_SITE.addresses();
    let all_answered = |host: &Host, bytes: &[u8], port| {
        for address in addresses {
            let to = SocketAddr::new(address, port);
            assert_eq!(over_tcp(host, to, bytes), Said::Answered, "{} {to} {bytes:x?}", host.device.name);
            assert_eq!(over_udp(&udp_flow(host, to), bytes), Said::Answered, "{} {to} {bytes:x?}", host.device.name);
        }
    };
    for host in [&lab.phone, &lab.laptop] {
        all_answered(host, SIGNED, PORT);
        all_answered(host, SIGNED, OTHER_PORT);
    }

    let agent = Agent::start(&lab, &agent_program(), &settings(&lab, "reject")).unwrap();
    for to in addresses.map(|address| SocketAddr::new(address, PORT)) {
        let before = rule_packets(&agent, NAME);
        assert_eq!(over_tcp(&lab.phone, to, SIGNED), Said::Reset, "{to}");
        assert_eq!(over_udp(&udp_flow(&lab.phone, to), SIGNED), Said::Reset, "{to}");
        assert_eq!(rule_packets(&agent, NAME), before + 2, "{to}");
    }
    for bytes in [OTHER_BYTES, ONE_BYTE_OFF, TOO_SHORT] {
        all_answered(&lab.phone, bytes, PORT);
    }
    all_answered(&lab.phone, SIGNED, OTHER_PORT);
    all_answered(&lab.laptop, SIGNED, PORT);
}

/// What a flow has once shown it is, to its end: the bytes need not come again.
#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn a_flow_that_has_shown_the_bytes_stays_blocked() {
    let lab = Lab::start().unwrap();
    serve(&lab);
    for to in APART_SITE.addresses().map(|address| SocketAddr::new(address, PORT)) {
        let flow = udp_flow(&lab.phone, to);
        assert_eq!([over_udp(&flow, SIGNED), over_udp(&flow, OTHER_BYTES)], [Said::Answered; 2], "{to}");
    }

    let _agent = Agent::start(&lab, &agent_program(), &settings(&lab, "drop")).unwrap();
    for to in APART_SITE.addresses().map(|address| SocketAddr::new(address, PORT)) {
        let flow = udp_flow(&lab.phone, to);
        assert_eq!(over_udp(&flow, OTHER_BYTES), Said::Answered, "{to}");
        assert_eq!([over_udp(&flow, SIGNED), over_udp(&flow, OTHER_BYTES)], [Said::Nothing; 2], "{to}");
        assert_eq!(over_udp(&udp_flow(&lab.phone, to), OTHER_BYTES), Said::Answered, "{to}");
        let flow = udp_flow(&lab.laptop, to);
        assert_eq!([over_udp(&flow, SIGNED), over_udp(&flow, OTHER_BYTES)], [Said::Answered; 2], "{to}");
    }
}
