//! The kernel side as the agent holds it: object, maps, links, counters.
//!
//! Invariant: whatever fails on the way to a new generation leaves the one in force as it is.

pub mod attach;
mod batch;
pub mod bpffs;
pub mod clock;
pub mod counters;
pub mod error;
pub mod identity;
pub mod interface_hash;
pub mod interfaces;
pub mod kernel;
pub mod names;
pub mod nodes;
pub mod object;
pub mod pins;
pub mod pod;
pub mod readout;
mod remembered;
pub mod signal_slots;
pub mod slots;
pub mod snapshot;
pub mod tables;
pub mod teach;
pub mod vlan;

use std::collections::HashSet;
use std::path::PathBuf;

use aya::maps::{Array, Map, MapData, RingBuf};
use edge_ebpf::abi::beside::Taught;
use edge_ebpf::abi::identity::{DeviceState, HelloKey};
use edge_ebpf::abi::{Clock, MAX_INTERFACES, ReportBudget};
use edge_ebpf::packet::Mac;

use crate::config::{Conduct, TableSizes};
use crate::policy::compile::Compiled;
use attach::answers::{self, Way};
use attach::plan::Plan;
use counters::Counters;
use error::Error;
use identity::Shown;
use interface_hash::InterfaceHash;
use interfaces::Interface;
use kernel::Kernel;
use object::{CLOCK, COPIES, Constants, EVENTS, Object, REPORT_BUDGET, Sharing};
use pins::{LinkName, Lock, Pins};
use pod::Value;
use readout::{Hanging, View};
use snapshot::{Role, Snapshot};
use teach::{Lesson, tell};

/// What the configuration wants of the kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Directory of the pins, on a BPF file system.
    pub pins: PathBuf,
    pub interfaces: Vec<WantedInterface>,
    pub conduct: Conduct,
    /// Of what is remembered of flows and answers.
    pub tables: TableSizes,
    /// Reports that a CPU may make in a second.
    pub report_limit: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedInterface {
    pub name: String,
    pub role: Role,
    pub mode: WantedMode,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WantedMode {
    Native,
    Generic,
    /// Generic, with a warning, where the driver does not take the program.
    NativeOrGeneric,
}

/// The filter as this process serves it. Dropping it leaves enforcement in place.
pub struct Dataplane {
    settings: Settings,
    pins: Pins,
    _lock: Lock,
    counters: Counters,
    generation: u32,
    /// Counter slots of the rules in force.
    active: HashSet<u32>,
    interfaces: Vec<Hanging>,
    kernel: Kernel,
    /// Whether the generation in force reads DNS answers.
    reads_answers: bool,
    /// The generation in force, if this process loaded it.
    object: Option<Object>,
    epoch: u32,
}

/// What a swap came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Swapped {
    pub generation: u32,
    /// Configured interfaces that do not exist; a later swap attaches to them.
    pub missing: Vec<String>,
    /// Interfaces that got a program where there was none of ours.
    pub attached: Vec<String>,
}

impl Dataplane {
    /// Takes the pins over, without changing what they enforce.
    ///
    /// # Errors
    /// If they cannot be made or locked, or are another version's.
    pub fn open(settings: Settings) -> Result<Self, Error> {
        Self::open_on(Kernel::probe()?, settings)
    }

    /// The same, with as much as `kernel` tells of what there is to hang programs by.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_on(kernel: Kernel, settings: Settings) -> Result<Self, Error> {
        check(&settings)?;
        if let Some(lack) = kernel.lacks() {
            tracing::warn!("{lack}");
        }
        let pins = Pins::at(&settings.pins);
        let lock = pins.open()?;
        let generation = pins.stamp()?.map_or(0, |stamp| stamp.generation);
        let counters = Counters::open(&pins)?;
        let active = readout::slots_in_force(&pins)?;
        let interfaces = settings.interfaces.iter().map(|wanted| Hanging::nowhere(link_name(wanted))).collect();
        let reads_answers = answers::noted(&pins)?;
        let (object, epoch) = (None, 0);
        Ok(Self { settings, pins, _lock: lock, counters, generation, active, interfaces, kernel, reads_answers, object, epoch })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The generation in force; 0 if none ever was.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Puts `compiled` in force on every interface that `settings` want among `interfaces`: those of this network namespace, as they
    /// are now. The pins stay where they are.
    ///
    /// # Errors
    /// Then the generation in force, and the settings that it was made with, are what they were.
    pub fn swap(&mut self, compiled: &Compiled, settings: &Settings, interfaces: &[Interface]) -> Result<Swapped, Error> {
        self.swap_knowing(compiled, settings, interfaces, &[])
    }

    /// The same, and it knows that these devices have shown these signals of `compiled`.
    ///
    /// # Errors
    /// As [`Self::swap`].
    pub fn swap_knowing(
        &mut self,
        compiled: &Compiled,
        settings: &Settings,
        interfaces: &[Interface],
        shown: &[Shown],
    ) -> Result<Swapped, Error> {
        check(settings)?;
        let plan = Plan::new(&settings.interfaces, interfaces, &attach::pinned(&self.pins)?);
        attach::refuse_foreign(&plan, interfaces)?;
        attach::warn_of_other_modes(&plan, &settings.interfaces, interfaces);

        let generation = self.generation.wrapping_add(1).max(1);
        let rule_slots = self.counters.rule_slots(compiled, &self.active)?;
        let names: Vec<String> = settings.interfaces.iter().map(|interface| interface.name.clone()).collect();
        let interface_slots = self.counters.interface_slots(&names)?;
        let targets = plan.attach.iter().chain(plan.replace.iter().map(|(_, target)| target));
        let by_index: Vec<(u32, u8)> = targets
            .filter_map(|target| {
                let place = names.iter().position(|name| *name == target.name.interface)?;
                Some((target.index, u8::try_from(interface_slots.slots[place]).ok()?))
            })
            .collect();
        let twice = || Error::Twice { what: "the interface index of", name: names.join(", ") };
        let hash = InterfaceHash::new(&by_index).ok_or_else(twice)?;

        let rules = tables::rule_entries(compiled, &rule_slots.slots);
        let constants =
            Constants { generation, conduct: settings.conduct, clock_source: 0, interfaces: &hash, rules: &rules, tables: settings.tables };
        let mut object = Object::create(&constants, compiled, Sharing::Pinned(&self.pins))?;
        self.counters.commit(&rule_slots, &interface_slots)?;
        tables::fill(&mut object, compiled, &rules)?;
        object.load_programs()?;
        object.array(CLOCK)?.set(0, Value(clock::now()), 0).map_err(Error::map("write", CLOCK))?;
        let mut lessons = if object.learns() { identity::lessons(&self.pins, object.slots(), shown)? } else { Vec::new() };
        // The program in force takes them, before the first packet that the new one decides. That one's rows are its own, and there may be none
        // in force that this process can tell.
        if let Some(before) = self.object.as_mut().filter(|object| object.learns()) {
            tell(before, &mut lessons);
        }
        let way = object.reads_answers().then_some(if self.kernel.links_on_egress { Way::Links } else { Way::Filters });
        let answers = answers::Plan::new(way, &settings.interfaces, interfaces, &self.pins)?;
        attach::apply((&plan, &answers), &settings.interfaces, &self.pins, &mut object, self.object.as_mut())?;

        self.generation = generation;
        self.settings.clone_from(settings);
        self.active = rule_slots.slots.into_iter().collect();
        let notes = object.pin_rules(&self.pins).and_then(|()| self.pins.write_generation(generation));
        if let Err(error) = notes {
            tracing::error!(%error, generation, "in force, but not noted beside the pins");
        }
        self.reads_answers = object.reads_answers();
        tell(&mut object, &mut lessons);
        self.object = Some(object);
        let Plan { attach, replace: _, remove: _, missing } = plan;
        let mut attached: Vec<String> = attach.into_iter().map(|target| target.name.interface).collect();
        let others: Vec<_> = answers.attach().filter(|name| attached.iter().all(|attached| attached != name)).map(str::to_owned).collect();
        attached.extend(others);
        Ok(Swapped { generation, missing, attached })
    }

    /// Notes how the programs hang on `interfaces` now. Whether a swap is due: a configured interface exists and lacks one of ours.
    pub fn observe(&mut self, interfaces: &[Interface]) -> Result<bool, Error> {
        let links = self.links()?;
        let answers = if self.reads_answers { Some(answers::hung(&self.pins)?) } else { None };
        let mut due = false;
        self.interfaces = self
            .settings
            .interfaces
            .iter()
            .map(|wanted| {
                let interface = interfaces.iter().find(|interface| interface.name == wanted.name);
                let hanging = Hanging::of(link_name(wanted), interface, &links, answers.as_ref());
                due |= interface.is_some() && !hanging.complete();
                hanging
            })
            .collect();
        Ok(due)
    }

    /// Whether every configured interface carries its programs, as of the last [`Self::observe`].
    pub fn complete(&self) -> bool {
        self.interfaces.iter().all(Hanging::complete)
    }

    /// Whether any interface is filtered, by whichever agent.
    pub fn enforcing(&self) -> Result<bool, Error> {
        Ok(self.links()?.iter().any(|link| link.index != 0))
    }

    fn links(&self) -> Result<Vec<attach::link::LinkFacts>, Error> {
        self.pins.links()?.iter().map(|name| attach::link::facts(&self.pins.link(name))).collect()
    }

    /// # Errors
    /// If the kernel's maps cannot be read; also before the first generation, when there are none.
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        let Self { pins, counters, generation, active, interfaces, object, settings: _, _lock: _, kernel: _, reads_answers: _, epoch: _ } =
            self;
        let sizes = object.as_ref().map(Object::sizes);
        View { pins, counters, generation: *generation, interfaces, active, sizes }.snapshot()
    }

    /// The owners of the rule counters, by slot: what the kernel's reports name rules by.
    pub fn rule_owners(&self) -> impl Iterator<Item = (u32, &counters::RuleKey)> {
        self.counters.rules.owned()
    }

    /// What is due each second: lets the program report for another one (without it the ring goes quiet by itself), and tells it how far
    /// the wall clock is from its own.
    pub fn tick(&mut self) -> Result<(), Error> {
        let mut map: Array<_, Value<Clock>> = Map::Array(self.pins.open_map(CLOCK)?).try_into().map_err(Error::map("open", CLOCK))?;
        map.set(0, Value(clock::now()), 0).map_err(Error::map("write", CLOCK))?;
        self.epoch = self.epoch.wrapping_add(1).max(1);
        let mut map: Array<_, Value<ReportBudget>> =
            Map::Array(self.pins.open_map(REPORT_BUDGET)?).try_into().map_err(Error::map("open", REPORT_BUDGET))?;
        let budget = ReportBudget { epoch: self.epoch, limit: self.settings.report_limit };
        map.set(0, Value(budget), 0).map_err(Error::map("write", REPORT_BUDGET))
    }

    /// The ring of reports.
    pub fn events(&self) -> Result<RingBuf<MapData>, Error> {
        Map::RingBuf(self.pins.open_map(EVENTS)?).try_into().map_err(Error::map("open", EVENTS))
    }

    /// The ring of frames that are read beside the packets' way.
    pub fn copies(&self) -> Result<RingBuf<MapData>, Error> {
        Map::RingBuf(self.pins.open_map(COPIES)?).try_into().map_err(Error::map("open", COPIES))
    }

    /// Tells the generation in force; refused if that is another process's, or is not about names.
    ///
    /// # Errors
    /// If the kernel does not run the program that notes it.
    pub fn teach(&mut self, lesson: &Lesson) -> Result<Taught, Error> {
        match self.object.as_mut().filter(|object| object.learns()) {
            Some(object) => lesson.tell(object),
            None => Ok(Taught::Refused),
        }
    }

    /// Tells the generation in force that the device has shown these signals of it, by number.
    ///
    /// # Errors
    /// As [`Self::teach`].
    pub fn show(&mut self, Shown { device, signals }: &Shown) -> Result<Taught, Error> {
        let Some(object) = &self.object else { return Ok(Taught::Refused) };
        let signals = object.slots().set(signals);
        self.teach(&Lesson::Signals { device: *device, signals })
    }

    /// Has the generation in force know a hello as these signals of it, by number. False: there is no room, or it is another process's.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn know_hello(&mut self, key: HelloKey, signals: &[u32]) -> Result<bool, Error> {
        self.object.as_mut().map_or(Ok(false), |object| object.know_hello(key, signals))
    }

    /// Has the generation in force tell anew of facts that it has told of: whose device is still there shows them again.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn tell_again(&mut self) -> Result<(), Error> {
        self.object.as_mut().map_or(Ok(()), Object::tell_again)
    }

    /// Devices in the kernel's table, with the signals of the generation in force that each has shown, and the second of the monotonic clock
    /// in which it last did.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub fn devices(&self) -> Result<Vec<(Shown, u32)>, Error> {
        let slots = self.object.as_ref().map(Object::slots);
        let shown = |state: DeviceState| {
            let signals = slots.map_or_else(Vec::new, |slots| slots.numbers(&state.signals).collect());
            (Shown { device: Mac(state.mac), signals }, state.seen)
        };
        Ok(identity::states(&self.pins)?.into_iter().map(shown).collect())
    }

    /// The reader of the program's own log, once for each generation that this process loaded; `None` if the program has none.
    pub fn take_logger(&mut self) -> Option<aya_log::EbpfLogger<&'static dyn log::Log>> {
        aya_log::EbpfLogger::init(self.object.as_mut()?.ebpf()).ok()
    }

    /// Stops enforcing and removes every pin. Returns the links there were.
    pub fn detach(&mut self) -> Result<Vec<String>, Error> {
        // Its programs hold the links open, and an open link stays attached without its pin.
        self.object = None;
        self.pins.remove_locked()
    }
}

fn check(settings: &Settings) -> Result<(), Error> {
    let Settings { pins: _, interfaces, conduct: _, tables: _, report_limit: _ } = settings;
    let mut names = HashSet::new();
    if let Some(twice) = interfaces.iter().find(|interface| !names.insert(&interface.name)) {
        return Err(Error::Twice { what: "the interface", name: twice.name.clone() });
    }
    if interfaces.len() > MAX_INTERFACES {
        let way_out = "take some out of agent.yaml";
        return Err(Error::TooMany { what: "interfaces", count: interfaces.len(), limit: MAX_INTERFACES, way_out });
    }
    Ok(())
}

fn link_name(WantedInterface { name, role, mode: _ }: &WantedInterface) -> LinkName {
    LinkName { role: *role, interface: name.clone() }
}
