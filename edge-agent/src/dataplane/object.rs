//! The embedded BPF object, loaded for one generation: constants baked in, own tables, shared counters.

use std::io;

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, RingBuf};
use aya::programs::{ProgramError, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader};
use edge_ebpf::abi::identity::{HelloKey, MAX_TOLD, SignalSet};
use edge_ebpf::abi::{MAX_RULES, OnUninspectable, Pool, Reason, RuleEntry, row_size};

use super::error::Error;
use super::identity::{Identifying, Slots, know_hello};
use super::interface_hash::InterfaceHash;
use super::kernel::Kernel;
use super::names::Looking;
use super::nodes::{self, Layout};
use super::pins::Pins;
use super::pod::{Plain, Value};
use super::snapshot::Role;
use super::tables::Sizes;
use crate::config::{Conduct, TableSizes, TimeToLive};
use crate::policy::compile::Compiled;

static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("EDGE_EBPF_OBJECT"));

/// Maps that all generations share: those that the programs write to, and the agent's notes beside them.
pub const SHARED_MAPS: [&str; 21] = [
    DEVICES,
    DEVICE_STATES,
    FLOWS,
    LEARNED,
    LEARNED_NAMES,
    HELLOS,
    RULE_COUNTERS,
    INTERFACE_COUNTERS,
    UNINSPECTABLE,
    ANSWERS,
    FRAGMENTS,
    EVENTS,
    COPIES,
    COPY_STATE,
    REPORT_BUDGET,
    REPORT_STATE,
    STAMP,
    RULE_KEYS,
    INTERFACE_KEYS,
    CLOCK,
    BUCKETS,
];
pub const RULE_COUNTERS: &str = "RULE_COUNTERS";
pub const INTERFACE_COUNTERS: &str = "INTERFACE_COUNTERS";
pub const UNINSPECTABLE: &str = "UNINSPECTABLE";
pub const ANSWERS: &str = "ANSWERS";
pub const FRAGMENTS: &str = "FRAGMENTS";
pub const EVENTS: &str = "EVENTS";
pub const COPIES: &str = "COPIES";
pub const COPY_STATE: &str = "COPY_STATE";
pub const REPORT_BUDGET: &str = "REPORT_BUDGET";
pub const REPORT_STATE: &str = "REPORT_STATE";
pub const CLOCK: &str = "CLOCK";
pub const BUCKETS: &str = "BUCKETS";
pub const STAMP: &str = "STAMP";
pub const FLOWS: &str = "FLOWS";
pub const LEARNED: &str = "LEARNED";
pub const LEARNED_NAMES: &str = "LEARNED_NAMES";
pub const HELLOS: &str = "HELLOS";
pub const DEVICES: &str = "DEVICES";
pub const DEVICE_STATES: &str = "DEVICE_STATES";
/// Pinned, and the agent's alone.
pub const SIGNAL_KEYS: &str = "SIGNAL_KEYS";
/// Pinned, and a constant of the program.
pub const SECRET_NUMBERS: &str = "SECRET_NUMBERS";
/// Of each generation, as are the ones below.
pub const NAMES: &str = "NAMES";
pub const NAME_RULES: &str = "NAME_RULES";
pub const DEVICE_ROWS: &str = "DEVICE_ROWS";
pub const FACT_STATES: &str = "FACT_STATES";
pub const SIGNAL_SETS: &str = "SIGNAL_SETS";
pub const HELLO_KEYS: &str = "HELLO_KEYS";
pub const TOLD: &str = "TOLD";
pub const GROUP_OPS: &str = "GROUP_OPS";
pub const MAC_FACTS: &str = "MAC_FACTS";
pub const MAC_NODES: &str = "MAC_NODES";
pub const V4_NODES: &str = "V4_NODES";
pub const V6_NODES: &str = "V6_NODES";
/// The one in force is pinned beside the shared maps.
pub const RULES: &str = "RULES";
pub const RULE_KEYS: &str = "RULE_KEYS";
pub const INTERFACE_KEYS: &str = "INTERFACE_KEYS";

/// The program that reads DNS answers.
pub const ANSWERS_PROGRAM: &str = "edge_answers";
/// The program that notes what the agent tells.
pub const TEACH_PROGRAM: &str = "edge_teach";

/// What the program is specialised by, beside the policy set; the verifier removes the code that a constant makes unreachable.
#[derive(Debug)]
pub struct Constants<'a> {
    pub generation: u32,
    pub conduct: Conduct,
    /// 0: the kernel's clock; [`edge_ebpf::abi::CLOCK_STANDS`] to try the program out.
    pub clock_source: u32,
    pub interfaces: &'a InterfaceHash,
    /// By number of the rule, see [`super::tables::rule_entries`].
    pub rules: &'a [RuleEntry],
    /// Of what is remembered.
    pub tables: TableSizes,
}

/// Places in the program's table of verdicts on uninspectable packets: a power of two, so that an index needs only a mask.
const REASONS: usize = 16;
const _: () = assert!(Reason::ALL.len() <= REASONS);

/// Where the shared maps are.
#[derive(Clone, Copy, Debug)]
pub enum Sharing<'a> {
    /// Pinned, for the interfaces' traffic.
    Pinned(&'a Pins),
    /// In this object alone, for trying packets out.
    Private,
}

/// An object with its maps created and its programs not yet loaded, until [`Self::load_programs`].
#[derive(Debug)]
pub struct Object {
    ebpf: Ebpf,
    kernel: Kernel,
    sizes: Sizes,
    reads_answers: bool,
    learns: bool,
    slots: Slots,
}

impl Object {
    /// Creates the maps, of which those that are constants for the program have their values then.
    ///
    /// # Errors
    /// If the kernel refuses one of them, cannot do what the policies want, or cannot be asked.
    pub fn create(constants: &Constants<'_>, compiled: &Compiled, sharing: Sharing<'_>) -> Result<Self, Error> {
        let Constants { generation, conduct, clock_source, interfaces: InterfaceHash { factor, slots }, rules, tables } = constants;
        let words = u32::try_from(compiled.words.max(1)).unwrap_or(u32::MAX);
        let has_monitored = u32::from(compiled.monitored.iter().any(|word| *word != 0));
        let has_schedules = u32::from(compiled.timeline.is_some());
        let first_minute = compiled.timeline.as_ref().map_or(0, |timeline| timeline.first_minute);
        let has_rates = u32::from(compiled.rules.iter().any(|rule| rule.limit.is_some()));
        let has_inbound = u32::from(compiled.has_inbound);
        let row_size = row_size(compiled.words) as u32;
        let pool: Box<Pool> = sized(&compiled.pool)?;
        let rules: Box<[RuleEntry; MAX_RULES]> = sized(rules)?;
        let kernel = Kernel::probe()?;
        kernel.refuse(compiled)?;
        let Conduct { on_uninspectable, dns_reject, learned: TimeToLive { min, max }, observes } = conduct;
        let dns_reject = *dns_reject as u32;
        let verdicts = verdict_bytes(on_uninspectable);
        let mut loader = EbpfLoader::new();
        loader
            .override_global("GENERATION", generation, true)
            .override_global("WORDS", &words, true)
            .override_global("HAS_MONITORED", &has_monitored, true)
            .override_global("HAS_SCHEDULES", &has_schedules, true)
            .override_global("HAS_RATES", &has_rates, true)
            .override_global("HAS_INBOUND", &has_inbound, true)
            .override_global("CLOCK_SOURCE", clock_source, true)
            .override_global("FIRST_MINUTE", &first_minute, true)
            .override_global("INBOUND", &compiled.inbound, true)
            .override_global("PINHOLE", &compiled.pinhole, true)
            .override_global("ROW_SIZE", &row_size, true)
            .override_global("ROWS", pool.as_ref(), true)
            .override_global("RULE_ENTRIES", Value::of(rules.as_ref()), true)
            .override_global("MONITORED", &compiled.monitored, true)
            .override_global("RESTRICTING", &compiled.restricting, true)
            .override_global("ON_UNINSPECTABLE", &verdicts, true)
            .override_global("INTERFACE_FACTOR", factor, true)
            .override_global("INTERFACE_SLOT", slots, true)
            .override_global("MAC_ROOT", Value::of(compiled.mac.root.as_ref()), true)
            .override_global("V4_ROOT", Value::of(compiled.v4.root.as_ref()), true)
            .override_global("V6_ROOT", Value::of(compiled.v6.root.as_ref()), true)
            .override_global("SERVICES", compiled.services.as_ref(), true)
            .override_global("DNS_REJECT", &dns_reject, true)
            .override_global("MIN_TTL", min, true)
            .override_global("MAX_TTL", max, true);
        let looking = Looking::new(compiled, *tables, sharing)?;
        looking.specialise(&mut loader, compiled);
        let identifying = Identifying::new(compiled, *generation, *tables, *observes, sharing)?;
        identifying.specialise(&mut loader);
        let sizes = Sizes::of(compiled, looking.table());
        for (map, entries) in sizes.entries() {
            loader.map_max_entries(map, entries);
        }
        let mut elf = OBJECT.to_vec();
        let tries = [(MAC_NODES, &compiled.mac), (V4_NODES, &compiled.v4), (V6_NODES, &compiled.v6)];
        let layouts = tries.map(|(map, trie)| (map, Layout::of(trie)));
        let [mac, v4, v6] = layouts.map(|(_, layout)| layout.constants());
        for (map, layout) in layouts {
            nodes::resize(&mut elf, map, layout)?;
            loader.map_max_entries(map, layout.values);
        }
        for (mask, many, (mask_value, many_value)) in
            [("MAC_MASK", "MAC_MANY", &mac), ("V4_MASK", "V4_MANY", &v4), ("V6_MASK", "V6_MANY", &v6)]
        {
            loader.override_global(mask, mask_value, true).override_global(many, many_value, true);
        }
        if let Sharing::Pinned(pins) = sharing {
            for map in SHARED_MAPS {
                loader.map_pin_path(map, pins.map(map));
            }
        }
        let ebpf = loader.load(&elf).map_err(|error| Error::Load(Box::new(error)))?;
        drop(loader);
        let reads_answers = kernel.names() && wants_answers(compiled);
        let learns = kernel.names() && (compiled.names.is_some() || compiled.identity.is_some());
        let mut object = Self { ebpf, kernel, sizes, reads_answers, learns, slots: identifying.slots() };
        looking.fill(&mut object)?;
        identifying.fill(&mut object)?;
        Ok(object)
    }

    /// Has the kernel verify and translate the programs; their tables must be filled before a packet reaches them.
    pub fn load_programs(&mut self) -> Result<(), Error> {
        for role in Role::ALL {
            let name = program_name(role, self.kernel);
            let program = self.program(role)?;
            load(name, || program.load())?;
        }
        if self.reads_answers {
            let program = self.answers()?;
            load(ANSWERS_PROGRAM, || program.load())?;
        }
        if self.learns {
            let program = self.teacher()?;
            load(TEACH_PROGRAM, || program.load())?;
        }
        Ok(())
    }

    pub const fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// Whether this generation learns addresses from DNS answers, and so has a program on the egress of inside interfaces.
    pub const fn reads_answers(&self) -> bool {
        self.reads_answers
    }

    /// The program that reads DNS answers; only loaded where [`Self::reads_answers`].
    pub fn answers(&mut self) -> Result<&mut SchedClassifier, Error> {
        let program = self.ebpf.program_mut(ANSWERS_PROGRAM).ok_or(Error::Missing { what: "program", name: ANSWERS_PROGRAM })?;
        program.try_into().map_err(|error| Error::Program { name: ANSWERS_PROGRAM, source: Box::new(error) })
    }

    /// Whether there is anything that the agent could tell this generation.
    pub const fn learns(&self) -> bool {
        self.learns
    }

    /// Which bits of a device its signals are.
    pub const fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Has the program know a hello as these signals, by number, beside those that it knows it as. False: there is no room for it.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn know_hello(&mut self, key: HelloKey, signals: &[u32]) -> Result<bool, Error> {
        let (key, wanted) = self.hello(key, signals)?;
        Ok(know_hello(self, key, wanted).is_ok())
    }

    /// The key by which the program finds a hello, and all that it then is to know it as.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub fn hello(&mut self, key: HelloKey, signals: &[u32]) -> Result<(HelloKey, SignalSet), Error> {
        let key = key.asking(HelloKey::ALL_PARTS);
        let mut wanted = self.slots.set(signals);
        if let Ok(Value(known)) = self.hash::<HelloKey, SignalSet>(HELLO_KEYS)?.get(&Value(key), 0) {
            wanted.iter_mut().zip(known).for_each(|(word, known)| *word |= known);
        }
        Ok((key, wanted))
    }

    /// Has the program tell the agent of facts anew that it was told of before.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn tell_again(&mut self) -> Result<(), Error> {
        super::tables::write::<u64>(self, TOLD, &vec![0; MAX_TOLD as usize])
    }

    /// The program that notes what the agent tells; only loaded where [`Self::learns`].
    pub fn teacher(&mut self) -> Result<&mut Xdp, Error> {
        self.xdp(TEACH_PROGRAM)
    }

    /// The program of the interfaces with this role.
    pub fn program(&mut self, role: Role) -> Result<&mut Xdp, Error> {
        self.xdp(program_name(role, self.kernel))
    }

    fn xdp(&mut self, name: &'static str) -> Result<&mut Xdp, Error> {
        let program = self.ebpf.program_mut(name).ok_or(Error::Missing { what: "program", name })?;
        program.try_into().map_err(|error| Error::Program { name, source: Box::new(error) })
    }

    /// The map `name` as an array of `V`.
    pub fn array<V: Plain>(&mut self, name: &'static str) -> Result<Array<&mut MapData, Value<V>>, Error> {
        self.ebpf.map_mut(name).ok_or(Error::Missing { what: "map", name })?.try_into().map_err(Error::map("open", name))
    }

    /// The array `name`, for system calls that aya does not make.
    pub fn array_data(&self, name: &'static str) -> Result<&MapData, Error> {
        match self.ebpf.map(name) {
            Some(Map::Array(data)) => Ok(data),
            _ => Err(Error::Missing { what: "array", name }),
        }
    }

    /// The map `name` as a hash table.
    pub fn hash<K: Plain, V: Plain>(&mut self, name: &'static str) -> Result<HashMap<&mut MapData, Value<K>, Value<V>>, Error> {
        self.ebpf.map_mut(name).ok_or(Error::Missing { what: "map", name })?.try_into().map_err(Error::map("open", name))
    }

    /// The map `name` as an array that has a `V` for each CPU.
    pub fn per_cpu<V: Plain>(&self, name: &'static str) -> Result<PerCpuArray<&MapData, Value<V>>, Error> {
        self.ebpf.map(name).ok_or(Error::Missing { what: "map", name })?.try_into().map_err(Error::map("open", name))
    }

    /// The ring of copies.
    pub fn copies(&mut self) -> Result<RingBuf<&mut MapData>, Error> {
        self.ebpf.map_mut(COPIES).ok_or(Error::Missing { what: "map", name: COPIES })?.try_into().map_err(Error::map("open", COPIES))
    }

    /// Pins its rules in the place of the former generation's, for whoever wants to know what is in force.
    pub fn pin_rules(&mut self, pins: &Pins) -> Result<(), Error> {
        pins.replace_map(RULES, |path| {
            self.array::<RuleEntry>(RULES)?.pin(path).map_err(|error| Error::io("pin", path)(io::Error::other(error)))
        })
    }

    /// For the reader of the program's own log.
    pub fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }
}

/// The verifier gives up where a signal comes in, which says nothing about the program: libbpf, too, has it try again.
fn load(name: &'static str, mut load: impl FnMut() -> Result<(), ProgramError>) -> Result<(), Error> {
    const ATTEMPTS: usize = 5;
    let interrupted = |result: &Result<(), ProgramError>| matches!(result, Err(ProgramError::LoadError { io_error, .. }) if io_error.kind() == io::ErrorKind::WouldBlock);
    let mut result = load();
    for _ in 1..ATTEMPTS {
        if !interrupted(&result) {
            break;
        }
        result = load();
    }
    result.map_err(|error| Error::Program { name, source: Box::new(error) })
}

/// Whether the policies are about addresses that DNS answers give for names.
const fn wants_answers(compiled: &Compiled) -> bool {
    compiled.names.is_some()
}

fn verdict_bytes(by_reason: &[OnUninspectable; Reason::ALL.len()]) -> [u8; REASONS] {
    // A place without a reason is never looked at; `Drop` is what the program makes of an unknown byte, too.
    let mut bytes = [OnUninspectable::Drop as u8; REASONS];
    for (byte, verdict) in bytes.iter_mut().zip(by_reason) {
        *byte = *verdict as u8;
    }
    bytes
}

/// The values, and defaults to the end of the table.
fn sized<T: Copy + Default, const N: usize>(values: &[T]) -> Result<Box<[T; N]>, Error> {
    let mut table = values.to_vec();
    table.resize(N, T::default());
    table.into_boxed_slice().try_into().map_err(|_| Error::TooMany {
        what: "entries of a table",
        count: values.len(),
        limit: N,
        way_out: "use fewer rules",
    })
}

const fn program_name(role: Role, kernel: Kernel) -> &'static str {
    let Kernel { scattered_frames, links_on_egress: _ } = kernel;
    match (role, scattered_frames) {
        (Role::Inside, true) => "edge_inside",
        (Role::Inside, false) => "edge_in_linear",
        (Role::Outside, true) => "edge_outside",
        (Role::Outside, false) => "edge_out_linear",
    }
}
