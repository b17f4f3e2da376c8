//! Messages by which devices are known beside their names, made to order: DHCP, first segments, hellos, requests. For the tests of the engines.

use edge_ebpf::packet::Mac;

use super::frame::{Ends, FrameSpec, Transport};

/// A client's message (RFC 2131 section 2). `options`: their numbers and values, of which the message's type is one.
pub fn dhcp(device: Mac, options: &[(u8, &[u8])]) -> Vec<u8> {
    let mut message = vec![1, 1, 6, 0];
    message.resize(28, 0);
    message.extend(device.octets());
    message.resize(236, 0);
    message.extend([0x63, 0x82, 0x53, 0x63]);
    for (number, value) in options {
        message.extend([*number, value.len() as u8]);
        message.extend(*value);
    }
    message.push(255);
    message
}

/// A client's message of DHCPv6 (RFC 8415 section 8).
pub fn dhcp6(kind: u8, options: &[(u16, &[u8])]) -> Vec<u8> {
    let mut message = vec![kind, 1, 2, 3];
    for (number, value) in options {
        message.extend([*number, value.len() as u16].into_iter().flat_map(u16::to_be_bytes));
        message.extend(*value);
    }
    message
}

/// What a first segment's headers say beside addresses and ports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opening {
    pub time_to_live: u8,
    pub window: u16,
    /// TCP options, a multiple of four bytes and at most 40.
    pub options: Vec<u8>,
    /// Of IPv4: identification, and the bits before the fragment's offset.
    pub id: u16,
    pub fragment_bits: u8,
    /// TOS or traffic class.
    pub service: u8,
    /// Of IPv6.
    pub flow_label: u32,
    /// TCP's flags beside SYN.
    pub flags: u8,
    pub urgent: u16,
}

impl Default for Opening {
    fn default() -> Self {
        Self {
            time_to_live: 64,
            window: 65535,
            options: Vec::new(),
            id: 0,
            fragment_bits: 2,
            service: 0,
            flow_label: 0,
            flags: 0,
            urgent: 0,
        }
    }
}

impl Opening {
    /// The frame with such headers; checksums are not reckoned again.
    ///
    /// # Panics
    /// If it is no segment of TCP.
    pub fn build(&self, spec: &FrameSpec) -> Vec<u8> {
        let Self { time_to_live, window, options, id, fragment_bits, service, flow_label, flags, urgent } = self;
        assert!(matches!(spec.transport, Transport::Tcp { .. }), "only TCP opens");
        let mut frame = spec.build();
        let ip = 14 + 4 * spec.tags.len();
        let tcp = frame.len() - spec.payload.len() - 20;
        let longer = |frame: &mut Vec<u8>, at: usize| {
            let length = u16::from_be_bytes([frame[at], frame[at + 1]]) + options.len() as u16;
            frame[at..at + 2].copy_from_slice(&length.to_be_bytes());
        };
        match spec.ends {
            Ends::V4(..) => {
                longer(&mut frame, ip + 2);
                frame[ip + 1] = *service;
                frame[ip + 8] = *time_to_live;
                if spec.fragment.is_none() {
                    frame[ip + 4..ip + 6].copy_from_slice(&id.to_be_bytes());
                    frame[ip + 6] = fragment_bits << 5;
                }
            }
            Ends::V6(..) => {
                longer(&mut frame, ip + 4);
                let first = 6 << 28 | u32::from(*service) << 20 | flow_label & 0x000f_ffff;
                frame[ip..ip + 4].copy_from_slice(&first.to_be_bytes());
                frame[ip + 7] = *time_to_live;
            }
        }
        frame[tcp + 12] = ((20 + options.len()) as u8 / 4) << 4;
        frame[tcp + 13] |= flags;
        frame[tcp + 14..tcp + 16].copy_from_slice(&window.to_be_bytes());
        frame[tcp + 18..tcp + 20].copy_from_slice(&urgent.to_be_bytes());
        frame.splice(tcp + 20..tcp + 20, options.iter().copied());
        frame
    }
}

/// A ClientHello (RFC 8446 section 4.1.2) with these ciphers, and extensions by number and value; `record`: bytes of each record, if not one.
pub fn hello(version: u16, ciphers: &[u16], extensions: &[(u16, Vec<u8>)], record: Option<usize>) -> Vec<u8> {
    let ciphers: Vec<u8> = ciphers.iter().flat_map(|cipher| cipher.to_be_bytes()).collect();
    let extension = |(kind, value): &(u16, Vec<u8>)| [&kind.to_be_bytes(), &(value.len() as u16).to_be_bytes(), value.as_slice()].concat();
    let extensions: Vec<u8> = extensions.iter().flat_map(extension).collect();
    let counted = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let body = [&version.to_be_bytes()[..], &[0x5a; 32], &[0], &counted(&ciphers), &[1, 0], &counted(&extensions)].concat();
    let message = [&[1][..], &(body.len() as u32).to_be_bytes()[1..], &body].concat();
    let parts = message.chunks(record.unwrap_or(message.len()).max(1));
    parts.flat_map(|part| [&[22, 3, 1], counted(part).as_slice()].concat()).collect()
}

/// The values of extensions that JA4 looks into.
pub mod extension {
    pub const SERVER_NAME: u16 = 0;
    pub const SIGNATURE_ALGORITHMS: u16 = 13;
    pub const ALPN: u16 = 16;
    pub const SUPPORTED_VERSIONS: u16 = 43;

    fn words(words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    pub fn server_name(name: &[u8]) -> Vec<u8> {
        [&words(&[name.len() as u16 + 3])[..], &[0], &words(&[name.len() as u16]), name].concat()
    }

    pub fn signature_algorithms(algorithms: &[u16]) -> Vec<u8> {
        [words(&[2 * algorithms.len() as u16]), words(algorithms)].concat()
    }

    pub fn alpn(protocols: &[&[u8]]) -> Vec<u8> {
        let list: Vec<u8> = protocols.iter().flat_map(|name| [&[name.len() as u8], *name].concat()).collect();
        [words(&[list.len() as u16]), list].concat()
    }

    pub fn supported_versions(versions: &[u16]) -> Vec<u8> {
        [vec![2 * versions.len() as u8], words(versions)].concat()
    }
}

/// The request with a User-Agent behind its first line.
pub fn with_user_agent(mut request: Vec<u8>, user_agent: &[u8]) -> Vec<u8> {
    let line = request.iter().position(|byte| *byte == b'\n').map_or(request.len(), |end| end + 1);
    request.splice(line..line, [b"User-Agent: ", user_agent, b"\r\n"].concat());
    request
}
