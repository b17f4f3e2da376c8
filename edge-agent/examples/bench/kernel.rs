//! Programs in the kernel: the filter's, loaded as the agent does it, and the bench's own, from an object beside it.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, Map, ProgramArray};
use aya::programs::xdp::{XdpLinkId, XdpMode};
use aya::programs::{Program, ProgramInfo, Xdp};
use aya::{Ebpf, EbpfLoader};
use aya_obj::generated::bpf_prog_type;
use edge_agent::config::{Conduct, TableSizes};
use edge_agent::dataplane;
use edge_agent::dataplane::interface_hash::InterfaceHash;
use edge_agent::dataplane::nodes::{self, Layout};
use edge_agent::dataplane::object::{Constants, Object, Sharing, V4_NODES, V6_NODES};
use edge_agent::dataplane::pod::Value;
use edge_agent::dataplane::snapshot::Role;
use edge_agent::dataplane::tables;
use edge_agent::policy::compile::Compiled;

static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("EDGE_BENCH_OBJECT"));

/// The filter with a policy set in force, on no interface yet.
pub fn filter(compiled: &Compiled) -> Result<Object> {
    let interfaces = InterfaceHash::new(&[]).context("no interfaces collide")?;
    let slots: Vec<u32> = (0..).take(compiled.counters().count()).collect();
    let rules = tables::rule_entries(compiled, &slots);
    let constants = Constants {
        generation: 1,
        conduct: Conduct::default(),
        clock_source: 0,
        interfaces: &interfaces,
        rules: &rules,
        tables: TableSizes::default(),
    };
    let mut object = Object::create(&constants, compiled, Sharing::Private)?;
    tables::fill(&mut object, compiled, &rules)?;
    object.load_programs()?;
    Ok(object)
}

/// Identifies the program for frames towards devices.
pub fn answers(object: &mut Object) -> Result<ProgramInfo> {
    Ok(object.answers()?.info()?)
}

/// Identifies the program for devices' frames.
pub fn inside(object: &mut Object) -> Result<ProgramInfo> {
    Ok(object.program(Role::Inside)?.info()?)
}

/// Attaches the program for devices' frames to an interface of the calling thread's network namespace.
pub fn attach(object: &mut Object, interface: &str) -> Result<XdpLinkId> {
    object.program(Role::Inside)?.attach(interface, XdpMode::Driver).with_context(|| format!("cannot attach to {interface}"))
}

pub fn detach(object: &mut Object, link: XdpLinkId) -> Result<()> {
    Ok(object.program(Role::Inside)?.detach(link)?)
}

/// Bytes that a generator writes into a frame.
pub const BLOCK: usize = 64;
pub type Block = [u8; BLOCK];

/// The bench's programs, with the destinations of a policy set in their tables.
pub struct Programs(Ebpf);

impl Programs {
    /// Without any destination.
    pub fn plain() -> Result<Self> {
        EbpfLoader::new().load(OBJECT).map(Self).context("the bench's object cannot be loaded")
    }

    /// With the tries of the set.
    pub fn holding(compiled: &Compiled) -> Result<Self> {
        let (v4, v6) = (&compiled.v4, &compiled.v6);
        let mut elf = OBJECT.to_vec();
        let layouts = [(V4_NODES, v4), (V6_NODES, v6)].map(|(map, trie)| (map, Layout::of(trie)));
        let [v4_constants, v6_constants] = layouts.map(|(_, layout)| layout.constants());
        let mut loader = EbpfLoader::new();
        for (map, layout) in layouts {
            nodes::resize(&mut elf, map, layout)?;
            loader.map_max_entries(map, layout.values);
        }
        let ebpf = loader
            .override_global("V4_ROOT", Value::of(v4.root.as_ref()), true)
            .override_global("V6_ROOT", Value::of(v6.root.as_ref()), true)
            .override_global("V4_MASK", &v4_constants.0, true)
            .override_global("V4_MANY", &v4_constants.1, true)
            .override_global("V6_MASK", &v6_constants.0, true)
            .override_global("V6_MANY", &v6_constants.1, true)
            .load(&elf)
            .context("the bench's object cannot be loaded")?;
        for (map, trie) in [(V4_NODES, v4), (V6_NODES, v6)] {
            let Some(Map::Array(array)) = ebpf.map(map) else { bail!("the bench's object has no array {map}") };
            nodes::fill(array, map, trie)?;
        }
        Ok(Self(ebpf))
    }

    /// With what a generator writes at `place` of its frames, in turn: a power of two.
    pub fn varying(blocks: &[Block], place: usize) -> Result<Self> {
        let count = u32::try_from(blocks.len())?;
        let (mask, place) = (count - 1, u32::try_from(place)?);
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("BLOCKS", count)
            .override_global("BLOCK_MASK", &mask, true)
            .override_global("BLOCK_AT", &place, true)
            .load(OBJECT)
            .context("the bench's object cannot be loaded")?;
        let mut array: Array<_, [u64; BLOCK / 8]> = ebpf.map_mut("BLOCKS").context("the bench's object has no map BLOCKS")?.try_into()?;
        for (index, block) in (0..).zip(blocks) {
            let (words, _) = block.as_chunks::<8>();
            let mut value = [0; BLOCK / 8];
            for (value, word) in value.iter_mut().zip(words) {
                *value = u64::from_be_bytes(*word);
            }
            array.set(index, value, 0)?;
        }
        Ok(Self(ebpf))
    }

    pub fn load(&mut self, name: &str) -> Result<ProgramInfo> {
        let program = self.0.program_mut(name).with_context(|| format!("the bench's object has no program {name}"))?;
        match &mut *program {
            Program::SchedClassifier(program) => program.load(),
            program => <&mut Xdp>::try_from(program)?.load(),
        }
        .with_context(|| format!("the bench's program {name} cannot be loaded"))?;
        Ok(program.info()?)
    }

    pub fn xdp(&mut self, name: &str) -> Result<&mut Xdp> {
        let program = self.0.program_mut(name).with_context(|| format!("the bench's object has no program {name}"))?;
        Ok(program.try_into()?)
    }

    /// Makes the generators jump into `target`.
    pub fn jump_to(&mut self, target: &ProgramInfo) -> Result<()> {
        let map = if target.program_type() == bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS { "TARGET_TC" } else { "TARGET" };
        let mut array = ProgramArray::try_from(self.0.map_mut(map).with_context(|| format!("the bench's object has no map {map}"))?)?;
        Ok(array.set(0, &target.fd()?, 0)?)
    }

    /// What the generators write, in turn and from the start again.
    pub fn set_keys(&mut self, keys: &[[u64; 2]]) -> Result<()> {
        let mut array: Array<_, [u64; 2]> = self.0.map_mut("KEYS").context("the bench's object has no map KEYS")?.try_into()?;
        for (index, key) in (0..array.len()).zip(keys.iter().cycle()) {
            array.set(index, key, 0)?;
        }
        Ok(())
    }

    /// Fills the kernel's prefix tries with (prefix length, address, class).
    pub fn set_prefixes(&mut self, v4: &[(u32, u32, u32)], v6: &[(u32, u128, u32)]) -> Result<()> {
        let mut trie: LpmTrie<_, [u8; 4], u32> = self.0.map_mut("LPM_V4").context("the bench's object has no map LPM_V4")?.try_into()?;
        for (length, address, class) in v4 {
            trie.insert(&Key::new(*length, address.to_be_bytes()), class, 0)?;
        }
        let mut trie: LpmTrie<_, [u8; 16], u32> = self.0.map_mut("LPM_V6").context("the bench's object has no map LPM_V6")?.try_into()?;
        for (length, address, class) in v6 {
            trie.insert(&Key::new(*length, address.to_be_bytes()), class, 0)?;
        }
        Ok(())
    }
}

/// A set in force, with what tells what it must say.
pub struct Loaded {
    pub compiled: Arc<Compiled>,
    pub object: Object,
}

impl Loaded {
    pub fn new(compiled: Arc<Compiled>) -> Result<Self> {
        let mut object = filter(&compiled)?;
        // Or it would be 1970 for schedules.
        object.array(dataplane::object::CLOCK)?.set(0, Value(dataplane::clock::now()), 0)?;
        Ok(Self { object, compiled })
    }
}
