//! The frames in which a test's device shows what it is known by, before the test's packet.

use std::net::{Ipv4Addr, Ipv6Addr};

use edge_ebpf::identity::syn::quirk;
use edge_ebpf::packet::Mac;

use super::frame::{Ends, FrameSpec, TcpFlags, Transport};
use super::message::{kind, query, wire_name};
use super::syn::{SynHeader, header};
use crate::policy::model::{PortProtocol, SynPattern};
use crate::policy::shown::{Shown, ShownDhcp, ShownHello};

/// Addresses for documentation (RFC 5737).
const DEVICE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const REMOTE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The names that nobody has (RFC 6761 section 6.4).
const NAME: &str = "shown.invalid";

/// Each from a port of its own from `port` on.
pub fn frames(device: Mac, shown: &[Shown], port: u16) -> Vec<Vec<u8>> {
    shown.iter().zip(0..).map(|(shown, index)| frame(device, shown, port.wrapping_add(index))).collect()
}

fn frame(device: Mac, shown: &Shown, source: u16) -> Vec<u8> {
    let tcp = |destination, payload| {
        let flags = TcpFlags { ack: true, ..TcpFlags::default() };
        let transport = Transport::Tcp { source, destination, flags, sequence: 1001, acknowledgment: 1 };
        (Ends::V4(DEVICE, REMOTE), transport, payload)
    };
    let (ends, transport, payload) = match shown {
        Shown::Syn(pattern) => return syn(device, pattern, source),
        Shown::Dhcp(said) => {
            let ends = Ends::V4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
            (ends, Transport::Udp { source: 68, destination: 67 }, discover(device, said))
        }
        Shown::Dhcp6(said) => {
            let ends = Ends::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2));
            (ends, Transport::Udp { source: 546, destination: 547 }, solicit(said))
        }
        Shown::Hello(hello) => tcp(443, client_hello(hello)),
        Shown::UserAgent(agent) => {
            tcp(80, format!("GET / HTTP/1.1\r\nHost: {NAME}\r\nUser-Agent: {agent}\r\nAccept: */*\r\n\r\n").into_bytes())
        }
        Shown::Name(name) => {
            let payload = query(&[(name.as_ref().as_str(), kind::A)]);
            (Ends::V4(DEVICE, REMOTE), Transport::Udp { source, destination: 53 }, payload)
        }
        Shown::Payload { protocol: PortProtocol::Tcp, port, bytes } => tcp(*port, bytes.clone()),
        Shown::Payload { protocol: PortProtocol::Udp, port, bytes } => {
            (Ends::V4(DEVICE, REMOTE), Transport::Udp { source, destination: *port }, bytes.clone())
        }
    };
    FrameSpec { payload, ..FrameSpec::new(device, ends, transport) }.build()
}

/// DHCPDISCOVER (RFC 2131 section 2, RFC 2132).
fn discover(device: Mac, ShownDhcp { vendor_class, host_name, parameters }: &ShownDhcp) -> Vec<u8> {
    let mut message = vec![1, 1, 6, 0];
    message.extend([0x5a; 4]);
    message.resize(28, 0);
    message.extend(device.octets());
    message.resize(236, 0);
    message.extend([0x63, 0x82, 0x53, 0x63, 53, 1, 1]);
    let parameters: Vec<u8> = parameters.iter().map(|option| *option as u8).collect();
    let texts = [(60, vendor_class), (12, host_name)].map(|(code, text)| (code, text.clone().unwrap_or_default().into_bytes()));
    for (code, value) in texts.into_iter().chain([(55, parameters)]).filter(|(_, value)| !value.is_empty()) {
        message.extend([&[code, value.len() as u8][..], &value].concat());
    }
    message.push(255);
    message
}

/// SOLICIT (RFC 8415 section 8, RFC 4704).
fn solicit(ShownDhcp { vendor_class, host_name, parameters }: &ShownDhcp) -> Vec<u8> {
    let mut message = vec![1, 0x5a, 0x5a, 0x5a];
    let option = |code: u16, value: Vec<u8>| [words(&[code]), framed(&value, 2)].concat();
    if !parameters.is_empty() {
        message.extend(option(6, words(parameters)));
    }
    if let Some(class) = vendor_class {
        message.extend(option(16, [vec![0, 0, 1, 0x37], framed(class.as_bytes(), 2)].concat()));
    }
    if let Some(name) = host_name {
        message.extend(option(39, [vec![0], wire_name(name)].concat()));
    }
    message
}

/// The hello in one record (RFC 8446 section 4.1.2), its extensions in order of their numbers.
fn client_hello(hello: &ShownHello) -> Vec<u8> {
    let ShownHello { version, has_name, ciphers, extensions, algorithms, alpn } = hello;
    let own = |kind: u16| {
        let body = match kind {
            13 => framed(&words(algorithms), 2),
            43 => framed(&words(&[*version]), 1),
            _ => Vec::new(),
        };
        (kind, body)
    };
    let mut all: Vec<(u16, Vec<u8>)> = extensions.iter().map(|kind| own(*kind)).collect();
    if *has_name {
        all.push((0, framed(&[&[0], &*framed(NAME.as_bytes(), 2)].concat(), 2)));
    }
    if let Some(protocol) = alpn {
        all.push((16, framed(&framed(protocol, 1), 2)));
    }
    all.sort();
    let extensions: Vec<u8> = all.iter().flat_map(|(kind, body)| [words(&[*kind]), framed(body, 2)].concat()).collect();
    // Those that say their versions in an extension say 1.2 here.
    let legacy = if hello.extensions.contains(&43) { 0x0303 } else { *version };
    let body =
        [words(&[legacy]), vec![0x5a; 32], framed(&[], 1), framed(&words(ciphers), 2), framed(&[0], 1), framed(&extensions, 2)].concat();
    let message = [&[1], &*framed(&body, 3)].concat();
    [&[22, 3, 1], &*framed(&message, 2)].concat()
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// Behind their number in so many bytes, at most eight.
fn framed(bytes: &[u8], size: usize) -> Vec<u8> {
    [&(bytes.len() as u64).to_be_bytes()[8 - size..], bytes].concat()
}

/// Without checksums, which no engine asks for.
fn syn(device: Mac, pattern: &SynPattern, source: u16) -> Vec<u8> {
    // What cannot be made was reported when the policy was loaded.
    let Ok(SynHeader { is_v6, ttl, ip_options, quirks, window, options, has_payload }) = header(pattern) else { return Vec::new() };
    let has = |bit: u32| quirks & bit != 0;
    let number = |bit: u32, number: u32| if has(bit) { number } else { 0 };
    let flags = 0x02 | number(quirk::URGENT, 0x20) | number(quirk::PUSH, 0x08);
    let mut tcp = words(&[source, 443]);
    tcp.extend(if has(quirk::SEQUENCE_ZERO) { [0; 4] } else { [0, 0, 3, 0xe8] });
    tcp.extend(number(quirk::ACK_NONZERO, 7).to_be_bytes());
    tcp.extend([((20 + options.len()) as u8 / 4) << 4, flags as u8]);
    tcp.extend(words(&[window, 0, number(quirk::URGENT_POINTER, 7) as u16]));
    tcp.extend(&options);
    tcp.extend(has_payload.then_some(b'x'));
    let mut frame = vec![0x02, 0, 0, 0, 0, 0xfe];
    frame.extend(device.octets());
    let ecn = number(quirk::ECN, 2);
    if is_v6 {
        let first = 6 << 28 | ecn << 20 | number(quirk::FLOW, 0x5a5a);
        frame.extend(words(&[0x86dd]));
        frame.extend(first.to_be_bytes());
        frame.extend(words(&[tcp.len() as u16]));
        frame.extend([6, ttl]);
        frame.extend(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10).octets());
        frame.extend(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets());
    } else {
        let fragment = number(quirk::DF, 0x4000) | number(quirk::RESERVED, 0x8000);
        let has_id = if has(quirk::DF) { has(quirk::ID_NONZERO) } else { !has(quirk::ID_ZERO) };
        let length = 20 + ip_options;
        frame.extend(words(&[0x0800]));
        frame.extend([0x40 | (length / 4) as u8, ecn as u8]);
        frame.extend(words(&[(length + tcp.len()) as u16, if has_id { 0x5a5a } else { 0 }, fragment as u16]));
        frame.extend([ttl, 6, 0, 0]);
        frame.extend(DEVICE.octets());
        frame.extend(REMOTE.octets());
        // No operations.
        frame.extend(vec![1; ip_options]);
    }
    frame.extend(tcp);
    frame
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use edge_ebpf::abi::identity::{FactKind, FactState};
    use edge_ebpf::identity::automaton::{States, walk};
    use edge_ebpf::identity::syn::ShapeBytes;
    use edge_ebpf::identity::{dhcp, hello, syn as shape, user_agent};
    use edge_ebpf::name::Span;
    use edge_ebpf::packet::Packet;
    use edge_ebpf::packet::access::Frame;

    use super::*;
    use crate::policy::compile::identity::CompiledIdentity;
    use crate::policy::expectation::PolicyTest;
    use crate::policy::model::Ja4Pattern;
    use crate::policy::problem::{Problems, Source};
    use crate::policy::schema::Policy;
    use crate::policy::yaml;

    const MAC: Mac = Mac(0x6409_8000_0001);

    /// Of a test whose device shows this.
    fn shown(shows: &str) -> Result<Vec<Shown>, String> {
        let text = format!(
            "apiVersion: edge/v1\nkind: Policy\nmetadata: {{name: p}}\nspec:\n  rules: [{{id: r, from: all, action: drop}}]\n  tests:\n    - name: t\n      from: {{mac: \"64:09:80:00:00:01\", shows: {shows}}}\n      to: {{address: 192.0.2.1, service: tcp/1}}\n      expect: {{verdict: drop}}\n"
        );
        let mut problems = Problems::default();
        let documents = yaml::read(&Arc::new(Source { path: "p.yaml".into(), text }), &mut problems);
        let policy = Policy::decode(&documents[0], &mut problems).expect("a policy");
        if problems.errors() > 0 {
            return Err(problems.to_string());
        }
        let [PolicyTest { shows, .. }] = policy.tests.as_slice() else { panic!("one test") };
        Ok(shows.clone())
    }

    /// The one frame of it, and where its payload lies.
    fn frame(shows: &str) -> (Vec<u8>, Packet, usize, usize) {
        let [frame] = frames(MAC, &shown(shows).expect("a right test"), 30_000).try_into().expect("one frame");
        let packet = Packet::parse(&Frame::new(&frame));
        let (start, end) = packet.payload(&Frame::new(&frame));
        (frame, packet, start, end)
    }

    fn bytes(frame: &[u8], Span { start, end }: Span) -> &[u8] {
        &frame[start as usize..end as usize]
    }

    #[test]
    fn clients_of_dhcp_say_what_the_test_says() {
        let (seen, _, start, end) = frame("[{dhcp: {vendor_class: android-dhcp-11, hostname: Redmi-1, params: [1, 3, 6]}}]");
        let mut said = dhcp::Said::default();
        assert!(dhcp::read(&Frame::new(&seen), start, end, MAC, &mut said));
        let read = [said.vendor_class, said.host_name, said.parameters].map(|span| bytes(&seen, span).to_vec());
        assert_eq!(read, [b"android-dhcp-11".to_vec(), b"Redmi-1".to_vec(), vec![1, 3, 6]]);

        let (seen, _, start, end) = frame("[{dhcp6: {vendor_class: android, hostname: redmi.lan, params: [23, 300]}}]");
        assert!(dhcp::read_6(&Frame::new(&seen), start, end, &mut said));
        let read = [said.vendor_class, said.host_name, said.parameters].map(|span| bytes(&seen, span).to_vec());
        assert_eq!(read, [b"android".to_vec(), b"\x05redmi\x03lan\0".to_vec(), vec![0, 23, 1, 44]]);
    }

    #[derive(Clone, Copy)]
    struct Table<'a>(&'a CompiledIdentity);

    impl States for Table<'_> {
        fn state(&self, number: u32) -> Option<&FactState> {
            self.0.states.get(number as usize)
        }
    }

    #[test]
    fn a_syn_has_the_shape_that_it_is_made_of() {
        for signature in [
            "4:64:0:*:mss*44,8:mss,sok,ts,nop,ws:df,id+:0",
            "4:128:0:1460:8192,8:mss,nop,ws,nop,nop,sok:df,id+:0",
            "6:64:0:1440:mtu*4,none:mss,sok,ts,eol+3::0",
            "4:64:0:*:*,none:*:*:*",
            "4:255:8:1380:%8192,0:mss,nop,ws,?27,eol+1:id-,ecn,0+,seq-,ack+,uptr+,pushf+,opt+:+",
            "6:32:0:*:1024,15:mss,ws,nop:flow,exws,urgf+:0",
            "4:64:0:1460:65535,none:mss,nop,nop,ts,sok,eol+1:ts1-,ts2+,df:0",
        ] {
            let pattern: SynPattern = signature.parse().expect("a signature");
            let (seen, packet, ..) = frame(&format!("[{{tcp_syn: \"{signature}\"}}]"));
            let mut bytes = ShapeBytes([0; 64]);
            let length = shape::read(&Frame::new(&seen), &packet, &mut bytes);
            let compiled = crate::policy::compile::identity::of_shape(&pattern);
            let shape = &bytes.0[..length];
            let start = u32::from(compiled.starts[FactKind::TcpSyn as usize]);
            let set = walk(&Table(&compiled), &Frame::new(shape), start, 0, length, false, 0);
            assert_eq!(compiled.sets[set as usize], [0], "{signature}: {shape:?}");
        }
    }

    #[test]
    fn a_hello_has_the_letters_and_parts_of_its_ja4() {
        for text in [
            "t13d0204h2_1301,1302_000a,002b_",
            "t12i0102_",
            "t13d0305h2_1301,1302,1303_000d,002b,0033_0403,0804",
            "t12i010100_c02f_000d_0401",
        ] {
            if !text.contains("000d") {
                assert!(shown(&format!("[{{tls: {{ja4_r: \"{text}\"}}}}]")).is_err(), "{text}");
                continue;
            }
            let (seen, _, start, end) = frame(&format!("[{{tls: {{ja4_r: \"{text}\"}}}}]"));
            // Behind the headers of the record and the message.
            let read = hello::read(&Frame::new(&seen), start + 9, end, hello::Transport::Tcp).expect("a hello");
            let pattern: Ja4Pattern = text.parse().expect("a JA4");
            let own = crate::policy::compile::identity::key_of(&pattern).expect("all of it is known");
            assert_eq!(read.asking(own.parts()), own, "{text}");
        }
    }

    #[test]
    fn a_request_has_the_agent() {
        let (seen, _, start, end) = frame("[{http: {user_agent: \"Mozilla/5.0 MIUI\"}}]");
        let found = bytes(&seen, user_agent::read(&Frame::new(&seen), start, end)).to_vec();
        assert!(found.starts_with(b"Mozilla/5.0 MIUI\r\n"));
    }

    #[test]
    fn names_and_bytes_are_frames_of_their_own() {
        let shown = shown("[{names: [a.example, b.example]}, {signature: {proto: udp, port: 7, offset: 2, bytes: c2fe}}]").expect("right");
        let frames = frames(MAC, &shown, 30_000);
        assert_eq!(frames.len(), 3);
        assert!(frames[1].windows(9).any(|bytes| bytes == b"\x01b\x07exampl"));
        assert!(frames[2].ends_with(&[0, 0, 0xc2, 0xfe]));
    }
}
