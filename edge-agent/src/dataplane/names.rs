//! What the program needs to look into packets: the table of names with its secrets, and the sizes of what is remembered.

use aya::EbpfLoader;
use aya::maps::{Array, Map, MapData};
use edge_ebpf::abi::{MAX_HELLOS, MAX_SIGNATURES, NameRules, SignatureEntry};
use edge_ebpf::inspect::{flow, learned, secret::SECRETS};
use edge_ebpf::name::hash::SEEDS;
use edge_ebpf::name::table::NameBucket;

use super::error::Error;
use super::object::{FLOWS, HELLOS, LEARNED, LEARNED_NAMES, NAME_RULES, NAMES, Object, SECRET_NUMBERS, Sharing};
use super::pins::Pins;
use super::pod::Value;
use super::tables::write;
use crate::config::TableSizes;
use crate::policy::compile::name_table::NameTable;
use crate::policy::compile::{Compiled, CompiledNames};

/// Numbers that nobody outside knows, so that nobody can make two names, flows or addresses meet in a table. They live as long as what is
/// remembered does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Secrets {
    pub tables: [u64; SECRETS],
    pub names: [u64; SEEDS],
}

/// As a map has them.
const NUMBERS: usize = SECRETS + SEEDS;

impl Secrets {
    /// For what packets are tried out on: nobody attacks it, and what was found once is found again.
    pub const KNOWN: Self = Self {
        tables: [
            0x2545_f491_4f6c_dd1d,
            0x9e37_79b9_7f4a_7c15,
            0xd1b5_4a32_d192_ed03,
            0xaef1_7502_108e_f2d9,
            0x8cb9_2ba7_2f3d_8dd7,
            0xc2b2_ae3d_27d4_eb4f,
            0x1656_67b1_9e37_79f9,
            0x27d4_eb2f_1656_67c5,
        ],
        names: [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 3, 5, 8],
    };

    /// # Errors
    /// If the kernel gives no random numbers.
    pub fn random() -> Result<Self, Error> {
        let mut bytes = [0; NUMBERS * 8];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).map_err(|error| Error::Random(error.into()))?;
        let mut numbers = [0; NUMBERS];
        for (number, bytes) in numbers.iter_mut().zip(bytes.chunks_exact(8)) {
            *number = u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
        }
        Ok(Self::of(numbers))
    }

    /// Those that were pinned; or new ones, pinned.
    ///
    /// # Errors
    /// If the pins cannot be read or written.
    pub fn pinned(pins: &Pins) -> Result<Self, Error> {
        if pins.has_map(SECRET_NUMBERS) {
            let map: Array<_, Value<[u64; NUMBERS]>> =
                Map::Array(pins.open_map(SECRET_NUMBERS)?).try_into().map_err(Error::map("open", SECRET_NUMBERS))?;
            let Value(numbers) = map.get(&0, 0).map_err(Error::map("read", SECRET_NUMBERS))?;
            return Ok(Self::of(numbers));
        }
        let secrets = Self::random()?;
        // Written before it is pinned: there is never one that is empty.
        let mut map: Array<MapData, Value<[u64; NUMBERS]>> = Array::create(1, 0).map_err(Error::map("create", SECRET_NUMBERS))?;
        map.set(0, Value(secrets.numbers()), 0).map_err(Error::map("write", SECRET_NUMBERS))?;
        let path = pins.map(SECRET_NUMBERS);
        map.pin(&path).map_err(|error| Error::io("pin", path)(std::io::Error::other(error)))?;
        Ok(secrets)
    }

    fn of(numbers: [u64; NUMBERS]) -> Self {
        let mut secrets = Self { tables: [0; SECRETS], names: [0; SEEDS] };
        let (tables, names) = numbers.split_at(SECRETS);
        secrets.tables.copy_from_slice(tables);
        secrets.names.copy_from_slice(names);
        secrets
    }

    fn numbers(&self) -> [u64; NUMBERS] {
        let mut numbers = [0; NUMBERS];
        let (tables, names) = numbers.split_at_mut(SECRETS);
        tables.copy_from_slice(&self.tables);
        names.copy_from_slice(&self.names);
        numbers
    }
}

/// Buckets of what is remembered: powers of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Buckets {
    flows: u32,
    learned: u32,
}

impl Buckets {
    fn of(TableSizes { learned, flows, devices: _ }: TableSizes, sharing: Sharing<'_>) -> Result<Self, Error> {
        let buckets = |entries: u32, ways: usize| (entries / ways as u32).next_power_of_two();
        let mut wanted = Self { flows: buckets(flows, flow::WAYS), learned: buckets(learned, learned::WAYS) };
        if let Sharing::Pinned(pins) = sharing {
            for (map, wanted) in [(FLOWS, &mut wanted.flows), (LEARNED, &mut wanted.learned)] {
                if !pins.has_map(map) {
                    continue;
                }
                let pinned = pins.open_map(map)?.info().map_err(Error::map("look at", map))?.max_entries();
                if pinned != *wanted {
                    tracing::warn!(
                        table = map,
                        entries = u64::from(pinned) * 4,
                        "keeps the size that it was made with, not the configured one; to change it, `edge-agent detach` and start the agent"
                    );
                    *wanted = pinned;
                }
            }
        }
        Ok(wanted)
    }
}

/// The constants that the loader borrows until it has loaded.
pub struct Looking<'a> {
    names: Option<&'a CompiledNames>,
    table: NameTable,
    /// Of what is remembered.
    secrets: [u64; SECRETS],
    buckets: Buckets,
    has_names: u32,
    has_learned_monitored: u32,
    watching: u64,
    signatures: [SignatureEntry; MAX_SIGNATURES],
    signature_count: u32,
    name_mask: u32,
    flow_mask: u32,
    learned_mask: u32,
}

impl<'a> Looking<'a> {
    /// # Errors
    /// If the pins cannot be read, or names cannot be told apart whatever is tried.
    pub fn new(compiled: &'a Compiled, sizes: TableSizes, sharing: Sharing<'_>) -> Result<Self, Error> {
        let secrets = match sharing {
            Sharing::Pinned(pins) => Secrets::pinned(pins)?,
            Sharing::Private => Secrets::KNOWN,
        };
        let names = compiled.names.as_ref();
        let table = match names {
            Some(names) => NameTable::build(|| names.names.iter(), &secrets.names).map_err(Error::Names)?,
            None => NameTable::empty(),
        };
        let buckets = Buckets::of(sizes, sharing)?;
        let mut signatures = [SignatureEntry::default(); MAX_SIGNATURES];
        for (place, entry) in signatures.iter_mut().zip(&compiled.signatures) {
            *place = *entry;
        }
        Ok(Self {
            names,
            secrets: secrets.tables,
            buckets,
            has_names: u32::from(names.is_some()),
            has_learned_monitored: u32::from(names.is_some_and(|names| names.has_learned_monitored)),
            watching: compiled.watching(),
            signatures,
            signature_count: compiled.signatures.len() as u32,
            name_mask: table.mask(),
            table,
            flow_mask: buckets.flows - 1,
            learned_mask: buckets.learned - 1,
        })
    }

    pub const fn table(&self) -> &NameTable {
        &self.table
    }

    /// Tells the loader.
    pub fn specialise(&'a self, loader: &mut EbpfLoader<'a>, compiled: &'a Compiled) {
        let Self {
            names,
            table,
            secrets,
            buckets: Buckets { flows, learned },
            has_names,
            has_learned_monitored,
            watching,
            signatures,
            signature_count,
            name_mask,
            flow_mask,
            learned_mask,
        } = self;
        loader
            .override_global("HAS_NAMES", has_names, true)
            .override_global("HAS_LEARNED_MONITORED", has_learned_monitored, true)
            .override_global("NAMED", &compiled.named, true)
            .override_global("SIGNED", &compiled.signed, true)
            .override_global("WATCHING", watching, true)
            .override_global("NOTHING", &compiled.nothing, true)
            .override_global("SIGNATURES", Value::of(signatures), true)
            .override_global("SIGNATURE_COUNT", signature_count, true)
            .override_global("NAME_SEEDS", &table.seeds, true)
            .override_global("NAME_MASK", name_mask, true)
            .override_global("SECRET_NUMBERS", secrets, true)
            .override_global("FLOW_MASK", flow_mask, true)
            .override_global("LEARNED_MASK", learned_mask, true)
            .map_max_entries(NAMES, table.buckets.len() as u32)
            .map_max_entries(NAME_RULES, names.map_or(1, |names| names.rules.len() as u32))
            .map_max_entries(FLOWS, *flows)
            .map_max_entries(LEARNED, *learned)
            .map_max_entries(LEARNED_NAMES, *learned * learned::WAYS as u32)
            .map_max_entries(HELLOS, MAX_HELLOS);
    }

    /// Fills the tables of the generation.
    ///
    /// # Errors
    /// If the kernel refuses a value.
    pub fn fill(&self, object: &mut Object) -> Result<(), Error> {
        if let Some(names) = self.names {
            write::<NameBucket>(object, NAMES, &self.table.buckets)?;
            write::<NameRules>(object, NAME_RULES, &names.rules)?;
        }
        Ok(())
    }
}
