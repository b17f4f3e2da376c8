//! Names in QUIC's Initials that the kernel holds, out of as many of them as a ClientHello takes.

use std::time::{Duration, Instant};

use edge_ebpf::name::Reading;
use edge_ebpf::name::tls::{self, Hello};
use edge_ebpf::packet::access::Frame;

use super::recent::Recent;
use crate::dataplane::teach::WireName;
use crate::engine::observe::segment::Flow;
use crate::engine::observe::text::{BEFORE, framed};
use crate::quic;

/// Flows whose hello is being put together, how long that may take, and datagrams that it may take.
const FLOWS: usize = 2048;
const AGE: Duration = Duration::from_secs(60);
const DATAGRAMS: u32 = 8;

/// What a flow's hello says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Greeting {
    /// More of it is to come.
    Incomplete,
    /// It cannot be read, and so much of it that there will be no other.
    Unreadable,
    Read {
        name: Option<WireName>,
        /// The name may be that of a front, and the true one encrypted (RFC 9849).
        fronted: bool,
    },
}

pub struct Initials(Recent<Flow, Pending>);

#[derive(Default)]
struct Pending {
    client: quic::Client,
    datagrams: u32,
}

impl Default for Initials {
    fn default() -> Self {
        Self(Recent::new(FLOWS, AGE))
    }
}

impl Initials {
    pub fn datagram(&mut self, flow: Flow, datagram: &[u8], now: Instant) -> Greeting {
        let Pending { client, datagrams } = self.0.entry(flow, now);
        *datagrams += 1;
        let greeting = match client.datagram(datagram) {
            Some(hello) => read(&hello),
            None if client.has_read() && *datagrams < DATAGRAMS => return Greeting::Incomplete,
            None => Greeting::Unreadable,
        };
        // Should the flow be held again, its client begins again.
        self.0.remove(&flow);
        greeting
    }
}

fn read(body: &[u8]) -> Greeting {
    let bytes = framed(body);
    let mut hello = Hello::default();
    let reading = tls::hello(&Frame::new(&bytes), BEFORE, bytes.len(), &mut hello);
    let fronted = hello.ech != 0;
    let text = bytes.get(hello.name.start as usize..hello.name.end as usize);
    match (reading, text.and_then(WireName::of_text)) {
        (Reading::Name, Some(name)) => Greeting::Read { name: Some(name), fronted },
        (Reading::NoName, _) => Greeting::Read { name: None, fronted },
        _ => Greeting::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use edge_ebpf::name::quic::version::V1;
    use edge_ebpf::packet::Address;

    use super::*;
    use crate::engine::message;
    use crate::quic::made;

    const ID: &[u8] = &[7; 8];

    fn flow(source_port: u16) -> Flow {
        let address = Address { high: 1 << 32, low: 0 };
        Flow { source: address, destination: address, source_port, destination_port: 443, protocol: 17 }
    }

    /// The message without its record.
    fn hello(server_name: Option<&[u8]>, ech: bool) -> Vec<u8> {
        message::Hello { server_name, ech, padding: Some(1200), record: None }.build().split_off(5)
    }

    fn initials(hello: &[u8]) -> Vec<Vec<u8>> {
        let parts = (0..).step_by(1000).zip(hello.chunks(1000));
        parts.map(|(offset, part)| made::initial(V1, 0, ID, ID, offset as u8, &made::crypto(offset, part))).collect()
    }

    #[test]
    fn a_hello_in_two_datagrams_in_any_order_is_told_and_told_again_when_it_comes_again() {
        let now = Instant::now();
        let mut all = Initials::default();
        let datagrams = initials(&hello(Some(b"Connect.Miui.com"), false));
        assert_eq!(datagrams.len(), 2);
        let told = Greeting::Read { name: WireName::of_text(b"connect.miui.com"), fronted: false };
        for [first, second] in [[0, 1], [1, 0]] {
            assert_eq!(all.datagram(flow(1), &datagrams[first], now), Greeting::Incomplete);
            assert_eq!(all.datagram(flow(2 + first as u16), &datagrams[first], now), Greeting::Incomplete, "another flow");
            assert_eq!(all.datagram(flow(1), &datagrams[second], now), told);
        }
        assert_eq!(all.0.len(), 2);
    }

    #[test]
    fn a_hello_without_a_name_and_one_with_a_front() {
        let greet = |server_name, ech| {
            let mut all = Initials::default();
            initials(&hello(server_name, ech)).iter().map(|datagram| all.datagram(flow(1), datagram, Instant::now())).last()
        };
        assert_eq!(greet(None, false), Some(Greeting::Read { name: None, fronted: false }));
        let fronted = Greeting::Read { name: WireName::of_text(b"front.example"), fronted: true };
        assert_eq!(greet(Some(b"front.example"), true), Some(fronted));
        assert_eq!(greet(Some(b"a..b"), false), Some(Greeting::Unreadable));
    }

    #[test]
    fn what_does_not_come_to_an_end_is_given_up_and_what_is_none_is_not_kept() {
        let now = Instant::now();
        let mut all = Initials::default();
        let datagrams = initials(&hello(Some(b"miui.com"), false));
        for _ in 1..DATAGRAMS {
            assert_eq!(all.datagram(flow(1), &datagrams[0], now), Greeting::Incomplete);
        }
        assert_eq!(all.datagram(flow(1), &datagrams[0], now), Greeting::Unreadable);
        assert_eq!(all.datagram(flow(1), &message::quic_initial(1, 1200), now), Greeting::Unreadable, "of no key");
        assert_eq!(all.0.len(), 0);
        for port in 0..5000 {
            all.datagram(flow(port), &datagrams[0], now);
        }
        assert_eq!(all.0.len(), FLOWS);
    }
}
