//! The kernel program's readers of facts beside those of this module, on messages made at random.

use edge_ebpf::identity::syn::{HEAD, NO_SCALE, at};
use edge_ebpf::identity::{dhcp as facts, user_agent};
use edge_ebpf::name::Span;
use edge_ebpf::packet::access::Frame;

use super::super::{dhcp6, text};
use super::*;

fn bytes(frame: &[u8], span: Span) -> Vec<u8> {
    frame.get(span.start as usize..span.end as usize).unwrap_or_default().to_vec()
}

fn text_of(value: Option<String>) -> Vec<u8> {
    value.unwrap_or_default().into_bytes()
}

/// Letters, so that no reader has to replace any.
fn letters(length: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(b"abc-.0".to_vec()), 0..length)
}

/// A message's options in the form that `encode` has, perhaps cut.
fn options<K: Clone + std::fmt::Debug + 'static>(kinds: Vec<K>, encode: fn(K, &[u8]) -> Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec((prop::sample::select(kinds), letters(7)), 0..10), 0..3usize).prop_map(move |(options, cut)| {
        let mut all: Vec<u8> = options.into_iter().flat_map(|(kind, value)| encode(kind, &value)).collect();
        all.truncate(all.len().saturating_sub(cut));
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn of_dhcp(message in 0..10u8, first in any::<bool>(), behind in 0..9usize,
        options in options(vec![0u8, 12, 53, 55, 60, 61, 255], |kind, value| match kind {
            0 => vec![0],
            255 => vec![255],
            kind => [&[kind, value.len() as u8], value].concat(),
        })) {
        let mut payload = vec![1, 1, 6, 0];
        payload.resize(236, 0);
        payload[28..34].copy_from_slice(&DEVICE.octets());
        payload.extend([99, 130, 83, 99]);
        let kind = [53, 1, message];
        payload.extend(if first { [&kind[..], &options].concat() } else { [&options[..], &kind].concat() });
        let frame = [text::framed(&payload), vec![12; behind]].concat();
        let mut said = facts::Said::default();
        let found = facts::read(&Frame::new(&frame), text::BEFORE, text::BEFORE + payload.len(), DEVICE, &mut said)
            .then(|| [said.parameters, said.vendor_class, said.host_name].map(|span| bytes(&frame, span)));
        let expected = dhcp::read(&payload)
            .filter(|dhcp| matches!(dhcp.message, Some(1 | 3 | 8)))
            .map(|dhcp| [dhcp.params, text_of(dhcp.vendor_class), text_of(dhcp.hostname)]);
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn of_dhcp6(message in 0..14u8, behind in 0..9usize, options in options(vec![1u16, 6, 16, 39], |kind, value| {
        let head = if kind == 16 { vec![0, 0, 1, 0x37, 0, (value.len() / 2) as u8] } else { Vec::new() };
        [&kind.to_be_bytes()[..], &((head.len() + value.len()) as u16).to_be_bytes(), &head, value].concat()
    })) {
        let payload = [&[message, 1, 2, 3], options.as_slice()].concat();
        let frame = [text::framed(&payload), vec![0; behind]].concat();
        let mut said = facts::Said::default();
        let found = facts::read_6(&Frame::new(&frame), text::BEFORE, text::BEFORE + payload.len(), &mut said)
            .then(|| {
                let name = bytes(&frame, said.host_name);
                let pairs = bytes(&frame, said.parameters);
                let pairs = pairs.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect::<Vec<_>>();
                (pairs, bytes(&frame, said.vendor_class), name.get(1..).unwrap_or_default().to_vec())
            });
        // No length or zero is among the letters, so the name's text is its bytes; a comma would be one.
        let expected = dhcp6::read(&payload).map(|dhcp| (dhcp.params, text_of(dhcp.vendor_class), text_of(dhcp.hostname)));
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn of_syns(
        options in prop::collection::vec((prop::sample::select(vec![1u8, 2, 3, 4, 5, 8, 30]), 0..11u8, 0..255u8, any::<bool>()), 0..7),
        window in prop::sample::select(vec![0u16, 512, 8192, 14_600, 64_240, 65_535]),
    ) {
        let mut written: Vec<u8> = Vec::new();
        for (kind, length, value, right) in options {
            let length = match kind {
                2 if right => 4,
                3 if right => 3,
                4 if right => 2,
                8 if right => 10,
                _ => length,
            };
            written.push(kind);
            if kind != 1 {
                written.push(length);
                written.resize(written.len() + usize::from(length.saturating_sub(2)), value);
            }
        }
        written.resize(written.len().next_multiple_of(4).min(40), 0);
        let mut frame = frame(Layer::syn(443), &written);
        // What was built as payload is the header's.
        let transport = frame.len() - written.len() - 20;
        frame[transport + 12] = (((20 + written.len()) / 4) << 4) as u8;
        frame[transport + 14..transport + 16].copy_from_slice(&window.to_be_bytes());
        let seen = observed([frame]);
        let [Observation::TcpSyn(syn)] = seen.as_slice() else { panic!("{seen:?}") };
        let TcpSyn { ttl: _, window, options, mss, wscale, shape } = syn;
        prop_assert_eq!(&shape[HEAD..], options.as_slice());
        let number = |place: usize| u16::from_be_bytes([shape[place], shape[place + 1]]);
        prop_assert_eq!((number(at::WINDOW), number(at::MSS)), (*window, mss.unwrap_or(0)));
        prop_assert_eq!(shape[at::SCALE], wscale.unwrap_or(NO_SCALE));
        let text = p0f::text(shape).expect("a shape");
        let patterns = p0f::parse(&text).expect("a signature");
        // A scale of 0 and none are one thing to p0f, unless the options tell.
        prop_assert!(patterns.iter().any(|pattern| p0f::matches(pattern, shape)) || *wscale == Some(0) || wscale.is_none(), "{}", text);
    }

    #[test]
    fn of_user_agents(
        lines in prop::collection::vec((prop::sample::select(vec!["Host", "User-Agent", "USER-AGENT", "User-Agents", "X-User-Agent", "A"]),
            prop::sample::select(vec![":", ": ", ":  "]), letters(20), prop::sample::select(vec!["\r\n", "\n"])), 0..6),
        path in letters(20),
    ) {
        let mut request = [&b"GET /"[..], &path, b" HTTP/1.1\r\n"].concat();
        for (name, colon, value, end) in lines {
            request.extend([name.as_bytes(), colon.as_bytes(), &value, end.as_bytes()].concat());
        }
        request.extend(b"\r\nUser-Agent: of the body\r\n");
        let framed = text::framed(&request);
        let found = bytes(&framed, user_agent::read(&Frame::new(&framed), text::BEFORE, framed.len()));
        let found = found.split(|byte| matches!(*byte, b'\r' | b'\n')).next().unwrap_or_default().trim_ascii().to_vec();
        let seen = observed([segment(80, 9, &request)]);
        let Some(Observation::HttpRequest { user_agent, .. }) = seen.first() else { panic!("{seen:?}") };
        prop_assert_eq!(found, text_of(user_agent.clone()));
    }
}
