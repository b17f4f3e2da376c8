//! A trie's nodes as a map: one value that holds them all, so that the program looks it up once and the agent writes it in one system call.
//! Its size is that of the trie, and so written into the object before it is loaded.

use aya::maps::MapData;
use edge_ebpf::abi::{NODES_VALUE, Node};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

use super::batch;
use super::error::Error;
use crate::policy::compile::Trie;

/// How many values of which size hold a trie's nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Bytes, a power of two.
    pub value_size: u32,
    pub values: u32,
}

impl Layout {
    pub fn of(trie: &Trie) -> Self {
        let bytes = size_of_val(trie.nodes.as_slice()).max(size_of::<Node>());
        let value_size = bytes.next_power_of_two().min(NODES_VALUE);
        Self { value_size: value_size as u32, values: bytes.div_ceil(value_size) as u32 }
    }

    /// The constants of the program: entries of a value less one, and 1 if there are more values than one.
    pub fn constants(self) -> (u32, u32) {
        (self.value_size / size_of::<u16>() as u32 - 1, u32::from(self.values > 1))
    }
}

/// Says in the object how large the values of `map` are, for which aya has no setting.
///
/// # Errors
/// If the object has no such map: it was not built from this source.
pub fn resize(elf: &mut [u8], map: &'static str, layout: Layout) -> Result<(), Error> {
    /// `struct bpf_map_def`: type, key size, value size, …
    const VALUE_SIZE: u64 = 8;
    let missing = || Error::Missing { what: "map", name: map };
    let place = {
        let file = object::File::parse(&*elf).map_err(|_| missing())?;
        let symbol = file.symbol_by_name(map).ok_or_else(missing)?;
        let section = file.section_by_index(symbol.section_index().ok_or_else(missing)?).map_err(|_| missing())?;
        let (offset, _) = section.file_range().ok_or_else(missing)?;
        (offset + symbol.address() + VALUE_SIZE) as usize
    };
    elf.get_mut(place..place + 4).ok_or_else(missing)?.copy_from_slice(&layout.value_size.to_ne_bytes());
    Ok(())
}

/// Writes the nodes into `map`, an array whose layout is theirs.
///
/// # Errors
/// If the kernel refuses a value.
pub fn fill(array: &MapData, map: &'static str, trie: &Trie) -> Result<(), Error> {
    let Layout { value_size, values } = Layout::of(trie);
    let size = value_size as usize / size_of::<u16>();
    let mut entries = trie.nodes.as_flattened().to_vec();
    entries.resize(size * values as usize, 0);
    let mut numbered = (0..).zip(entries.chunks_exact(size));
    numbered.try_for_each(|(index, value)| batch::set(array, index, value).map_err(|source| Error::Fill { map, source }))
}
