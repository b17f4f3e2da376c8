//! What is remembered of a flow: that its first data are awaited, that its ClientHello goes on, by what name or signature it was known.
//!
//! A table of buckets of four entries, each bucket a cache line: one look-up whatever the table's size, and no lock. A new flow takes the
//! place of one that was only awaited before that of one that is marked.

/// A flow in the table.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FlowEntry {
    tag: u32,
    sequence: u32,
    number: u16,
    /// The lower half of the generation's number, in which `number` and `signatures` mean something.
    generation: u16,
    signatures: u16,
    /// Of [`state`]; 0: the entry is free.
    state: u8,
    /// Bits of the hash beside the tag: two processors that write one entry at once leave halves that do not fit.
    check: u8,
}

pub const WAYS: usize = 4;
pub type FlowBucket = [FlowEntry; WAYS];

const _: () = assert!(size_of::<FlowBucket>() == 64);

/// Bits of [`Flow::state`].
pub mod state {
    /// The first data are to come, at [`super::Flow::sequence`].
    pub const AWAITED: u8 = 1;
    /// A ClientHello began at [`super::Flow::sequence`] and goes on.
    pub const PENDING: u8 = 2;
    /// [`super::Flow::number`] and [`super::Flow::signatures`] are what it was known by.
    pub const MARKED: u8 = 4;
    /// The agent has read its encrypted ClientHello.
    pub const KNOWN: u8 = 8;
}

impl FlowEntry {
    pub const fn is_free(&self) -> bool {
        self.state == 0
    }
}

/// What is remembered of one flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flow {
    pub state: u8,
    pub sequence: u32,
    /// Of the name; 0: none.
    pub number: u16,
    /// Bits of the signatures that it has shown.
    pub signatures: u16,
}

impl Flow {
    #[inline(always)]
    pub const fn is(self, state: u8) -> bool {
        self.state & state != 0
    }
}

/// Bucket of a flow. `mask`: number of buckets, a power of two, less one.
#[inline(always)]
pub const fn place(hash: u64, mask: u32) -> u32 {
    hash as u32 & mask
}

const fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

const fn check(hash: u64) -> u8 {
    (hash >> 24) as u8
}

#[inline(always)]
fn is_of(entry: &FlowEntry, hash: u64) -> bool {
    entry.tag == tag(hash) && entry.check == check(hash) && entry.state != 0
}

/// What is remembered of the flow. Marks of other generations mean nothing.
#[inline(always)]
pub fn find(bucket: &FlowBucket, hash: u64, generation: u32) -> Flow {
    let [a, b, c, d] = bucket;
    let entry = if is_of(a, hash) {
        *a
    } else if is_of(b, hash) {
        *b
    } else if is_of(c, hash) {
        *c
    } else if is_of(d, hash) {
        *d
    } else {
        return Flow::default();
    };
    let FlowEntry { tag: _, sequence, number, generation: marked_in, signatures, state, check: _ } = entry;
    if marked_in == generation as u16 {
        Flow { state, sequence, number, signatures }
    } else {
        Flow { state: state & (state::AWAITED | state::PENDING), sequence, number: 0, signatures: 0 }
    }
}

/// Whether anything is remembered of the flow.
#[inline(always)]
pub fn has(bucket: &FlowBucket, hash: u64) -> bool {
    let [a, b, c, d] = bucket;
    is_of(a, hash) || is_of(b, hash) || is_of(c, hash) || is_of(d, hash)
}

/// Remembers the flow, or forgets it where there is nothing to remember.
#[inline(always)]
pub fn put(bucket: &mut FlowBucket, hash: u64, generation: u32, flow: Flow) {
    let Flow { state, sequence, number, signatures } = flow;
    let entry = FlowEntry { tag: tag(hash), sequence, number, generation: generation as u16, signatures, state, check: check(hash) };
    let [a, b, c, d] = bucket;
    let way = if is_of(a, hash) {
        a
    } else if is_of(b, hash) {
        b
    } else if is_of(c, hash) {
        c
    } else if is_of(d, hash) {
        d
    } else if state == 0 {
        return;
    } else if a.state == 0 {
        a
    } else if b.state == 0 {
        b
    } else if c.state == 0 {
        c
    } else if d.state == 0 {
        d
    } else if a.state & state::MARKED == 0 {
        a
    } else if b.state & state::MARKED == 0 {
        b
    } else if c.state & state::MARKED == 0 {
        c
    } else if d.state & state::MARKED == 0 || hash & 2 == 0 {
        d
    } else {
        a
    };
    *way = entry;
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENERATION: u32 = 7;

    fn hash(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
    }

    fn marked(number: u16) -> Flow {
        Flow { state: state::MARKED, sequence: 0, number, signatures: 1 }
    }

    #[test]
    fn a_flow_is_found_as_it_was_put_and_forgotten_when_told() {
        let mut bucket = FlowBucket::default();
        assert!(bucket.iter().all(FlowEntry::is_free));
        let awaited = Flow { state: state::AWAITED, sequence: 9, number: 0, signatures: 0 };
        put(&mut bucket, hash(1), GENERATION, awaited);
        put(&mut bucket, hash(2), GENERATION, marked(3));
        assert_eq!((find(&bucket, hash(1), GENERATION), find(&bucket, hash(2), GENERATION)), (awaited, marked(3)));
        assert_eq!(find(&bucket, hash(3), GENERATION), Flow::default());
        assert_eq!(bucket.iter().filter(|entry| !entry.is_free()).count(), 2);
        put(&mut bucket, hash(1), GENERATION, Flow::default());
        assert_eq!(bucket.iter().filter(|entry| !entry.is_free()).count(), 1);
        assert!(!has(&bucket, hash(1)) && has(&bucket, hash(2)));
        put(&mut bucket, hash(3), GENERATION, Flow::default());
        assert!(!has(&bucket, hash(3)), "nothing to remember takes no place");
    }

    #[test]
    fn marks_are_of_their_generation_and_the_rest_of_any() {
        let mut bucket = FlowBucket::default();
        let both = Flow { state: state::MARKED | state::PENDING, sequence: 5, number: 3, signatures: 2 };
        put(&mut bucket, hash(1), GENERATION, both);
        let pending = Flow { state: state::PENDING, sequence: 5, number: 0, signatures: 0 };
        assert_eq!(find(&bucket, hash(1), GENERATION + 1), pending);
    }

    #[test]
    fn a_full_bucket_gives_up_what_is_not_marked_first() {
        let mut bucket = FlowBucket::default();
        for number in 1..=3 {
            put(&mut bucket, hash(number), GENERATION, marked(number as u16));
        }
        put(&mut bucket, hash(4), GENERATION, Flow { state: state::AWAITED, ..Flow::default() });
        put(&mut bucket, hash(5), GENERATION, marked(5));
        assert!((1..=3).all(|number| has(&bucket, hash(number))) && !has(&bucket, hash(4)) && has(&bucket, hash(5)));
        put(&mut bucket, hash(6), GENERATION, marked(6));
        assert!(has(&bucket, hash(6)));
        assert_eq!((1..=6).filter(|number| has(&bucket, hash(*number))).count(), WAYS);
    }
}
