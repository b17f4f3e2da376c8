//! Tries as the agent writes them and the program walks them.

/// From a trie's root, or over a run of bits, to a class or to the first node or skip of a block.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Link(pub u32);

impl Link {
    const NODE: u32 = 1 << 31;
    const SKIP: u32 = 1 << 30;
    /// Largest index of a node: places have 32 bits.
    pub const MAX: u32 = (1 << (32 - FANOUT.trailing_zeros())) - 1;

    pub const fn class(class: u32) -> Self {
        Self(class & (Self::SKIP - 1))
    }
    /// To the block that begins with the node at `index`.
    pub const fn node(index: u32) -> Self {
        Self((index & Self::MAX) | Self::NODE)
    }
    /// To the block that begins with the skip at `index`.
    pub const fn skip(index: u32) -> Self {
        Self((index & Self::MAX) | Self::SKIP)
    }
    pub const fn is_class(self) -> bool {
        self.0 < Self::SKIP
    }
    /// The class.
    pub const fn value(self) -> u32 {
        self.0
    }
    /// Where the block begins, in entries.
    pub const fn place(self) -> u32 {
        self.0 << FANOUT.trailing_zeros()
    }
    /// What it begins with.
    pub const fn first(self) -> Entry {
        if self.0 & Self::NODE != 0 { Entry::node(0) } else { Entry::skip(0) }
    }
}

/// One entry of a node: a class, or a node or skip of the same block, told apart by the top two bits.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Entry(pub u16);

impl Entry {
    const INNER: u16 = 1 << 15;
    const SKIP: u16 = 1 << 14;
    /// Largest index within a block.
    pub const MAX: u16 = Self::SKIP - 1;

    pub const fn class(class: u16) -> Self {
        Self(class & !Self::INNER)
    }
    pub const fn node(index: u16) -> Self {
        Self((index & Self::MAX) | Self::INNER)
    }
    pub const fn skip(index: u16) -> Self {
        Self((index & Self::MAX) | Self::INNER | Self::SKIP)
    }
    pub const fn is_class(self) -> bool {
        self.0 & Self::INNER == 0
    }
    pub const fn is_node(self) -> bool {
        self.0 & (Self::INNER | Self::SKIP) == Self::INNER
    }
    /// The class.
    pub const fn value(self) -> u32 {
        self.0 as u32
    }
    /// Where the node or skip is in its block, in entries.
    pub const fn place(self) -> u32 {
        ((self.0 & Self::MAX) as u32) << FANOUT.trailing_zeros()
    }
}

/// Links of a trie's root, indexed by the key's first 16 bits.
pub const ROOT: usize = 1 << 16;
/// Entries of a node, indexed by the next 4 bits: half a cache line, so that most of a trie of half a million prefixes stays in near caches.
pub const FANOUT: usize = 16;
/// Entries, or half a [`Skip`].
pub type Node = [u16; FANOUT];

/// Bytes of a value of a map of nodes, at the most: kernels before 6.13 know no larger ones in an array. More nodes are more values.
pub const NODES_VALUE: usize = 4 << 20;
/// Entries of such a value, as a power of two.
pub const NODES_BITS: u32 = (NODES_VALUE / size_of::<u16>()).trailing_zeros();

/// A run of key bits without a branch, in the places of two nodes: where `rest & mask == value`, `nibbles` of the rest are consumed and `next`
/// goes on; else the class is `miss`. "Rest" is the key less what was consumed before, left-aligned.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Skip {
    /// High and low half.
    pub mask: [u64; 2],
    pub value: [u64; 2],
    pub next: Link,
    /// A class.
    pub miss: u32,
    /// Units of four bits.
    pub nibbles: u32,
    pub reserved: [u32; 5],
}

impl Skip {
    /// Places of the fields, in entries.
    pub const MASK: u32 = 0;
    pub const VALUE: u32 = 8;
    pub const NEXT: u32 = 16;
    pub const MISS: u32 = 18;
    pub const NIBBLES: u32 = 20;
}

const _: () = {
    assert!(size_of::<Skip>() == 2 * size_of::<Node>());
    assert!(core::mem::offset_of!(Skip, mask) == 2 * Skip::MASK as usize);
    assert!(core::mem::offset_of!(Skip, value) == 2 * Skip::VALUE as usize);
    assert!(core::mem::offset_of!(Skip, next) == 2 * Skip::NEXT as usize);
    assert!(core::mem::offset_of!(Skip, miss) == 2 * Skip::MISS as usize);
    assert!(core::mem::offset_of!(Skip, nibbles) == 2 * Skip::NIBBLES as usize);
    assert!(size_of::<Node>() == 32);
};
