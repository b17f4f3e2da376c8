//! QUIC's Initial packets: the client's side decrypted (RFC 9001, RFC 9369), and the ClientHello out of their CRYPTO frames (RFC 9000).
//!
//! Their keys come from the connection ID that the client chose, so everyone on the way can read them; who changes a byte is found out.

mod crypto;
mod header;
mod initial;
pub mod made;

use std::collections::BTreeMap;

use self::crypto::Keys;
use self::header::Header;

/// Bytes of a ClientHello that are collected: what is longer is none.
const LONGEST: u64 = 1 << 16;

/// What is known of a client's side of a connection.
#[derive(Default)]
pub struct Client {
    /// Of the first Initial. Later ones carry the ID that the server chose, and the same keys.
    keys: Option<Keys>,
    /// Pieces of the handshake, by their place in it.
    pieces: BTreeMap<u64, Vec<u8>>,
    /// The hello that was told last.
    told: Vec<u8>,
}

impl Client {
    /// Reads a datagram, and returns the body of the ClientHello (without the message's header) if it is complete with it. The same one
    /// sent again is not returned again.
    pub fn datagram(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        let mut rest = datagram;
        let mut new = false;
        while let Some(header) = Header::read(rest) {
            let (packet, behind) = rest.split_at(header.end);
            new |= self.packet(&header, packet);
            rest = behind;
        }
        let hello = if new { self.hello() } else { None };
        let hello = hello.filter(|hello| *hello != self.told)?;
        self.told.clone_from(&hello);
        Some(hello)
    }

    /// Whether any of its Initials could be decrypted.
    pub const fn has_read(&self) -> bool {
        self.keys.is_some()
    }

    /// Whether it is an Initial of the client with a piece of the handshake.
    fn packet(&mut self, header: &Header<'_>, packet: &[u8]) -> bool {
        if !header.is_initial {
            return false;
        }
        let mut own = Keys::of_client(header.version, header.destination);
        let read = own.find_map(|keys| keys.decrypt(header, packet).map(|payload| (keys, payload)));
        let payload = match read {
            // A first one, or the first after the server sent the client elsewhere (Retry).
            Some((keys, payload)) => {
                if self.keys.as_ref() != Some(&keys) {
                    self.keys = Some(keys);
                    self.pieces.clear();
                }
                payload
            }
            None => match self.keys.as_ref().and_then(|keys| keys.decrypt(header, packet)) {
                Some(payload) => payload,
                None => return false,
            },
        };
        let mut new = false;
        for (offset, piece) in initial::pieces(&payload) {
            if !piece.is_empty() && offset + piece.len() as u64 <= LONGEST {
                // Of two pieces at one place the longer one says more; a client that sends other bytes there breaks its own handshake.
                let known = self.pieces.entry(offset).or_default();
                if known.len() <= piece.len() {
                    *known = piece.to_vec();
                }
                new = true;
            }
        }
        new
    }

    fn hello(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for (offset, piece) in &self.pieces {
            let have = bytes.len() as u64;
            if *offset > have {
                break;
            }
            if let Some(new) = piece.get((have - offset) as usize..) {
                bytes.extend_from_slice(new);
            }
        }
        // Type 1 and the length in three bytes (RFC 8446 section 4).
        let [1, high, middle, low, body @ ..] = bytes.as_slice() else { return None };
        let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
        body.get(..length).map(<[u8]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
    use edge_ebpf::name::quic::version::{V1, V2};
    use proptest::prelude::*;

    use super::*;

    const FIRST: &[u8] = &[7; 8];
    const OTHER: &[u8] = &[1, 2, 3];

    fn hello(length: usize) -> Vec<u8> {
        let body = (0..length).map(|place| place as u8);
        [1, 0, (length >> 8) as u8, length as u8].into_iter().chain(body).collect()
    }

    proptest! {
        #[test]
        fn pieces_in_any_order_over_any_initials(
            (cuts, order) in prop::collection::btree_set(1usize..1800, 0..8)
                .prop_flat_map(|cuts| (Just(cuts.clone()), Just((0..=cuts.len()).collect::<Vec<_>>()).prop_shuffle())),
            v2 in any::<bool>(),
        ) {
            let message = hello(1796);
            let bounds: Vec<usize> = [0].into_iter().chain(cuts).chain([message.len()]).collect();
            let (version, kind) = if v2 { (V2, 0x10) } else { (V1, 0) };
            let mut client = Client::default();
            for (turn, place) in order.iter().enumerate() {
                let (start, end) = (bounds[*place], bounds[place + 1]);
                // The packets after the first go to the ID that the server chose.
                let to = if turn == 0 { FIRST } else { OTHER };
                let packet = made::initial(version, kind, to, FIRST, turn as u8, &made::crypto(start, &message[start..end]));
                let found = client.datagram(&packet);
                prop_assert_eq!(found.as_deref(), (turn + 1 == order.len()).then_some(&message[4..]));
                // Sent again it says nothing new.
                prop_assert_eq!(client.datagram(&packet), None);
            }
        }

        #[test]
        fn a_changed_packet_is_not_believed(place in 0usize..1100, value in 1u8..) {
            let mut packet = made::initial(V1, 0, FIRST, FIRST, 0, &made::crypto(0, &hello(300)));
            packet[place] ^= value;
            prop_assert_eq!(Client::default().datagram(&packet), None);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let [first, _, _, _, version, ..] = bytes.as_mut_slice() {
                *first |= 0xc0;
                *version = 1;
            }
            prop_assert_eq!(Client::default().datagram(&bytes), None);
        }
    }

    #[test]
    fn several_packets_in_a_datagram() {
        let message = hello(400);
        let packets: Vec<u8> = [(0, 100), (100, 404)]
            .into_iter()
            .flat_map(|(start, end)| made::initial(V1, 0, FIRST, FIRST, start as u8, &made::crypto(start, &message[start..end])))
            .collect();
        assert_eq!(Client::default().datagram(&packets).as_deref(), Some(&message[4..]));
    }
}
