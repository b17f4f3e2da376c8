//! The ClientHello of DTLS (RFC 6347 section 4.2), where it is in one piece.

use super::{Observation, text};
use crate::identity::ja4::{Ja4, Transport};

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// Of a record: type, version, epoch, sequence number, length.
const RECORD: usize = 13;
/// Of a message: type, length, sequence number, offset and length of the fragment.
const MESSAGE: usize = 12;
/// Version and random number.
const SESSION: usize = 34;

pub fn read(datagram: &[u8]) -> Option<Observation> {
    let ([HANDSHAKE, 0xfe, _, 0, 0, ..], message) = datagram.split_at_checked(RECORD)? else { return None };
    let (header, body) = message.split_at_checked(MESSAGE)?;
    let [CLIENT_HELLO, length @ .., _, _, 0, 0, 0, _, _, _] = header else { return None };
    if length != &header[9..] {
        return None;
    }
    let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    let body = body.get(..length)?;
    let ja4 = Ja4::of_hello(body, Transport::Dtls)?;
    Some(Observation::DtlsClientHello { sni: text::server_name(&without_cookie(body)?)?, ja4: Some(ja4) })
}

/// As TLS has it.
fn without_cookie(body: &[u8]) -> Option<Vec<u8>> {
    let cookie = SESSION + 1 + usize::from(*body.get(SESSION)?);
    let behind = cookie + 1 + usize::from(*body.get(cookie)?);
    Some([body.get(..cookie)?, body.get(behind..)?].concat())
}
