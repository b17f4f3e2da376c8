//! DNS messages out of one direction of a TCP connection (RFC 1035 section 4.2.2), whose segments may come in any order.

use std::collections::BTreeMap;

/// Segments that wait for one before them, and bytes of them: more, and that one was not copied.
const WAITING: usize = 16;
const WAITING_BYTES: usize = 1 << 16;
/// Furthest from where the stream is that a segment of it may be: beyond it is another connection's.
const WINDOW: u32 = 1 << 17;

#[derive(Default)]
pub struct Stream {
    /// Sequence number of the next byte; `None` before the first segment, which begins with a message.
    next: Option<u32>,
    /// What came before its turn, by its sequence number.
    ahead: BTreeMap<u32, Vec<u8>>,
    /// A message's beginning.
    pending: Vec<u8>,
}

impl Stream {
    /// Takes a segment, and returns the messages that it completes.
    pub fn segment(&mut self, sequence: u32, payload: &[u8]) -> Vec<Vec<u8>> {
        let next = *self.next.get_or_insert(sequence);
        let distance = sequence.wrapping_sub(next);
        if distance > 0 && distance < WINDOW {
            let waiting: usize = self.ahead.values().map(Vec::len).sum();
            if self.ahead.len() < WAITING && waiting + payload.len() <= WAITING_BYTES {
                self.ahead.insert(sequence, payload.to_vec());
                return Vec::new();
            }
            self.begin(sequence);
        } else if distance >= WINDOW && distance.wrapping_neg() > WINDOW {
            self.begin(sequence);
        }
        self.take(sequence, payload);
        while let Some(first) = self.ahead.keys().copied().find(|first| !self.is_ahead(*first)) {
            let payload = self.ahead.remove(&first).unwrap_or_default();
            self.take(first, &payload);
        }
        self.messages()
    }

    /// What came before is lost, and messages begin here.
    fn begin(&mut self, sequence: u32) {
        *self = Self { next: Some(sequence), ..Self::default() };
    }

    fn is_ahead(&self, sequence: u32) -> bool {
        self.next.is_some_and(|next| (1..1 << 31).contains(&sequence.wrapping_sub(next)))
    }

    /// `sequence` is not behind the next byte's.
    fn take(&mut self, sequence: u32, payload: &[u8]) {
        let Some(next) = &mut self.next else { return };
        if let Some(new) = payload.get(next.wrapping_sub(sequence) as usize..) {
            *next = next.wrapping_add(new.len() as u32);
            self.pending.extend_from_slice(new);
        }
    }

    fn messages(&mut self) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        while let [high, low, rest @ ..] = self.pending.as_slice() {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            // Long enough for a header, and a response: else these are not the bytes that they are taken for.
            if length < 12 || rest.get(2).is_some_and(|flags| flags & 0x80 == 0) {
                self.pending.clear();
                break;
            }
            let Some(message) = rest.get(..length) else { break };
            messages.push(message.to_vec());
            self.pending.drain(..2 + length);
        }
        messages
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.pending.len() + self.ahead.values().map(Vec::len).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::message::over_tcp;

    fn message(number: u8, length: usize) -> Vec<u8> {
        let mut message = vec![number; length];
        message[2] = 0x81;
        message
    }

    proptest! {
        #[test]
        fn segments_in_any_order_once_or_twice(
            (cuts, order) in prop::collection::btree_set(1usize..630, 0..8)
                .prop_flat_map(|cuts| (Just(cuts.clone()), Just((1..=cuts.len()).collect::<Vec<_>>()).prop_shuffle())),
            start in any::<u32>(),
        ) {
            let messages = [message(1, 12), message(2, 400), message(3, 212)];
            let bytes = over_tcp(&messages);
            let bounds: Vec<usize> = [0].into_iter().chain(cuts).chain([bytes.len()]).collect();
            let mut stream = Stream::default();
            let mut seen = Vec::new();
            for place in [0].into_iter().chain(order) {
                let (from, to) = (bounds[place], bounds[place + 1]);
                for _ in 0..2 {
                    seen.extend(stream.segment(start.wrapping_add(from as u32), &bytes[from..to]));
                }
            }
            prop_assert_eq!(seen, messages);
            prop_assert_eq!(stream.bytes(), 0);
        }

        #[test]
        fn whatever_comes_the_bytes_that_are_kept_are_bounded(
            segments in prop::collection::vec((any::<u8>(), 1usize..16_384, any::<u8>()), 1..200),
        ) {
            let mut stream = Stream::default();
            for (place, length, value) in segments {
                stream.segment(u32::from(place) << 8, &vec![value | 0x80; length]);
                prop_assert!(stream.bytes() <= (2 << 16) + 16_384 + WAITING_BYTES, "{}", stream.bytes());
            }
        }
    }

    #[test]
    fn a_gap_that_is_not_filled_ends_by_itself_and_so_do_bytes_that_are_no_messages() {
        let whole = over_tcp(&[message(1, 100)]);
        let mut stream = Stream::default();
        assert!(stream.segment(0, &whole[..50]).is_empty());
        let mut at = 200;
        let mut seen = Vec::new();
        for _ in 0..=WAITING {
            seen = stream.segment(at, &whole);
            at += whole.len() as u32;
        }
        assert_eq!(seen, [message(1, 100)], "the last begins anew");
        assert!(stream.segment(at, &[0, 3, 1, 2, 3]).is_empty());
        assert_eq!(stream.segment(at + 5, &whole).len(), 1);
        assert_eq!(stream.segment(at.wrapping_add(1 << 30), &whole).len(), 1, "another connection");
    }
}
