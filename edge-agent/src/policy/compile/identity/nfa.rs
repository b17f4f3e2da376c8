//! Patterns of facts as an automaton in which several states hold at once.

use crate::policy::model::{Family, Glob, SynPattern, SynWindow};
use edge_ebpf::identity::syn::{HEAD, NO_SCALE, at};

/// Some of the bytes that there are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ByteSet([u64; 4]);

impl ByteSet {
    pub const ALL: Self = Self([u64::MAX; 4]);
    const NONE: Self = Self([0; 4]);

    pub fn one(byte: u8) -> Self {
        Self::NONE.and(byte)
    }

    fn and(mut self, byte: u8) -> Self {
        self.0[usize::from(byte) / 64] |= 1 << (byte % 64);
        self
    }

    pub fn has(self, byte: u8) -> bool {
        self.0[usize::from(byte) / 64] >> (byte % 64) & 1 == 1
    }
}

fn either_case(byte: u8) -> ByteSet {
    ByteSet::one(byte.to_ascii_lowercase()).and(byte.to_ascii_uppercase())
}

#[derive(Clone, Debug, Default)]
pub struct NfaState {
    /// Bytes and where they lead to.
    pub edges: Vec<(ByteSet, u32)>,
    /// The signal that a fact is that ends here.
    pub accepts: Option<u32>,
    /// The signal that a fact is from here on whatever follows: nothing else of the signal matters then.
    pub settles: Option<u32>,
}

#[derive(Debug, Default)]
pub struct Nfa {
    pub states: Vec<NfaState>,
}

impl Nfa {
    fn push(&mut self) -> u32 {
        self.states.push(NfaState::default());
        (self.states.len() - 1) as u32
    }

    /// The next state behind one of the bytes.
    fn step(&mut self, from: u32, bytes: ByteSet) -> u32 {
        let next = self.push();
        self.states[from as usize].edges.push((bytes, next));
        next
    }

    fn accept(&mut self, state: u32, signal: u32) {
        self.states[state as usize].accepts = Some(signal);
    }

    fn settle(&mut self, state: u32, signal: u32) {
        self.states[state as usize].settles = Some(signal);
    }

    /// Any bytes may follow.
    fn repeat(&mut self, state: u32) {
        self.states[state as usize].edges.push((ByteSet::ALL, state));
    }

    /// The bytes themselves, and nothing behind them.
    pub fn exactly(&mut self, bytes: impl IntoIterator<Item = u8>, signal: u32) -> u32 {
        self.places(bytes.into_iter().map(ByteSet::one), signal)
    }

    /// One of the bytes at each place, and nothing behind them.
    pub fn places(&mut self, places: impl IntoIterator<Item = ByteSet>, signal: u32) -> u32 {
        let start = self.push();
        let end = self.steps(start, places);
        self.accept(end, signal);
        start
    }

    fn steps(&mut self, from: u32, places: impl IntoIterator<Item = ByteSet>) -> u32 {
        places.into_iter().fold(from, |state, bytes| self.step(state, bytes))
    }

    /// A text in any case.
    pub fn glob(&mut self, glob: &Glob, signal: u32) -> u32 {
        let start = self.push();
        if let Some(end) = self.letters(start, glob, either_case, signal) {
            self.accept(end, signal);
        }
        start
    }

    /// A name in DNS' form: behind its first length, other lengths are dots, and the root's is left out.
    pub fn name_glob(&mut self, glob: &Glob, signal: u32) -> u32 {
        let literal = |byte: u8| match byte {
            b'.' => (1..=0x2c).fold(ByteSet::one(b'.'), ByteSet::and),
            _ => either_case(byte),
        };
        let start = self.push();
        let first = self.step(start, ByteSet::ALL);
        if let Some(end) = self.letters(first, glob, literal, signal) {
            self.accept(end, signal);
            let root = self.step(end, ByteSet::one(0));
            self.accept(root, signal);
        }
        start
    }

    /// Where the glob ends; `None`: any letters may follow.
    fn letters(&mut self, start: u32, Glob(glob): &Glob, literal: impl Fn(u8) -> ByteSet, signal: u32) -> Option<u32> {
        let mut state = start;
        for byte in glob.bytes() {
            if byte == b'*' {
                self.repeat(state);
            } else {
                state = self.step(state, literal(byte));
            }
        }
        if glob.ends_with('*') {
            self.settle(state, signal);
            return None;
        }
        Some(state)
    }

    /// A SYN's shape, see [`edge_ebpf::identity::syn`].
    pub fn syn(&mut self, pattern: &SynPattern, signal: u32) -> u32 {
        let SynPattern { family, ttl, ip_options, mss, window, scale, options, quirks, payload } = pattern;
        let mut head = [ByteSet::ALL; HEAD];
        let mut number = |place: usize, bytes: &[u8]| {
            for (place, byte) in (place..).zip(bytes) {
                head[place] = ByteSet::one(*byte);
            }
        };
        if let Some(family) = family {
            let version = match family {
                Family::V4 => 4,
                Family::V6 => 6,
            };
            number(at::VERSION, &[version]);
        }
        ttl.iter().for_each(|ttl| number(at::TTL, &[*ttl]));
        ip_options.iter().for_each(|length| number(at::IP_OPTIONS, &[*length]));
        mss.iter().for_each(|mss| number(at::MSS, &mss.to_be_bytes()));
        match window {
            SynWindow::Any | SynWindow::Multiple(_) => {}
            SynWindow::Exactly(window) => number(at::WINDOW, &window.to_be_bytes()),
            SynWindow::OfMss(times) => number(at::OF_MSS, &[*times]),
            SynWindow::OfMtu(times) => number(at::OF_MTU, &[*times]),
        }
        scale.iter().for_each(|scale| number(at::SCALE, &[scale.unwrap_or(NO_SCALE)]));
        quirks.iter().for_each(|quirks| number(at::QUIRKS, &quirks.to_be_bytes()[1..]));
        payload.iter().for_each(|payload| number(at::PAYLOAD, &[u8::from(*payload)]));
        if let Some(options) = options {
            number(at::KINDS, &[options.len() as u8]);
        }
        let start = self.push();
        let [before, behind] = [&head[..at::WINDOW], &head[at::WINDOW + 2..]].map(<[ByteSet]>::to_vec);
        let mut state = self.steps(start, before);
        state = match window {
            SynWindow::Multiple(unit) => self.multiple(state, *unit),
            _ => self.steps(state, [head[at::WINDOW], head[at::WINDOW + 1]]),
        };
        state = self.steps(state, behind);
        match options {
            Some(options) => {
                let end = self.steps(state, options.iter().copied().map(ByteSet::one));
                self.accept(end, signal);
            }
            None => {
                self.repeat(state);
                self.settle(state, signal);
            }
        }
        start
    }

    /// A multiple of the unit in two bytes.
    fn multiple(&mut self, from: u32, unit: u16) -> u32 {
        let end = self.push();
        let mut groups: Vec<(ByteSet, ByteSet)> = Vec::new();
        for high in 0..=u8::MAX {
            let fits = |low: &u8| u16::from_be_bytes([high, *low]).is_multiple_of(unit);
            let lows = (0..=u8::MAX).filter(fits).fold(ByteSet::NONE, ByteSet::and);
            match groups.iter_mut().find(|(_, known)| *known == lows) {
                Some((highs, _)) => *highs = highs.and(high),
                None => groups.push((ByteSet::one(high), lows)),
            }
        }
        for (highs, lows) in groups.into_iter().filter(|(_, lows)| *lows != ByteSet::NONE) {
            let between = self.step(from, highs);
            self.states[between as usize].edges.push((lows, end));
        }
        end
    }
}
