//! What the agent knows of devices, shared by the task that reads copies, the loop, and whoever asks.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use edge_ebpf::abi::identity::{FactKind, HelloKey};
use edge_ebpf::packet::Mac;

use super::evaluate::{Evaluator, extend, signal_key};
use super::facts::{Facts, Noted};
use super::groups::Groups;
use super::inventory::Inventory;
use super::ja4::{Ja4, Transport};
use super::persist;
use super::read;
use super::report::{self, DeviceReport};
use super::store::Store;
use super::text::{ja4, kind_name, mac_text, value_text};
use crate::agent::state::lock;
use crate::config::IdentityConfig;
use crate::dataplane::identity::Shown;
use crate::policy::compile::Compiled;

/// Whoever holds the dataplane's lock may take the one in here, and not the other way around.
pub struct Devices {
    known: Mutex<Known>,
    /// By [`FactKind`]: how often a device showed what contradicts what it was known by.
    changes: [AtomicU64; FactKind::ALL.len()],
}

pub(super) struct Known {
    pub store: Store,
    pub policies: Policies,
    pub inventory: Arc<Inventory>,
}

/// What the policies in force say of devices.
#[derive(Default)]
pub struct Policies {
    pub groups: Groups,
    /// `None`: they know devices by their MACs alone.
    pub evaluator: Option<Evaluator>,
}

/// What a hello means beside what the program makes of it itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    pub key: HelloKey,
    /// Signals about it that the policies know as hashes.
    pub signals: Vec<u32>,
}

impl Devices {
    /// Knows what an earlier agent has written to the directory.
    pub fn open(directory: &Path, capacity: u32, config: &IdentityConfig) -> Self {
        let mut store = Store::new(capacity as usize, config.remember);
        persist::restore(directory, &mut store, now());
        // What was just read needs not be written.
        store.take_changes();
        Self::with(store)
    }

    fn with(store: Store) -> Self {
        let known = Known { store, policies: Policies::default(), inventory: Arc::default() };
        Self { known: Mutex::new(known), changes: Default::default() }
    }

    pub fn len(&self) -> usize {
        lock(&self.known).store.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often devices showed what contradicts what they were known by, by kind of fact.
    pub fn changes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        FactKind::ALL
            .into_iter()
            .filter(|kind| super::facts::describes_system(*kind))
            .map(|kind| (kind_name(kind), self.changes[kind as usize].load(Ordering::Relaxed)))
    }

    /// A frame that tells something of its device. False: it cannot be read.
    pub fn frame(&self, frame: &[u8], now: u64) -> bool {
        let Some(read::Shown { device, address, facts }) = read::frame(frame) else { return false };
        if !is_a_device(device) {
            return false;
        }
        let mut known = lock(&self.known);
        known.store.seen(device, address, now);
        for (kind, value) in facts {
            self.note(&mut known.store, device, kind, &value, now);
        }
        true
    }

    /// A ClientHello over TCP. `None`: it cannot be read.
    pub fn hello(&self, device: Mac, body: &[u8], now: u64) -> Option<Hello> {
        let hello = Ja4::of_hello(body, Transport::Tcp).filter(|_| is_a_device(device))?;
        let mut known = lock(&self.known);
        self.note(&mut known.store, device, FactKind::Hello, hello.raw().as_bytes(), now);
        let signals = known.policies.evaluator.as_ref().map_or_else(Vec::new, |evaluator| evaluator.hashed(&hello));
        Some(Hello { key: hello.key(), signals })
    }

    fn note(&self, store: &mut Store, device: Mac, kind: FactKind, value: &[u8], now: u64) {
        let Noted::Contradicts(former) = store.show(device, kind, value, now) else { return };
        self.changes[kind as usize].fetch_add(1, Ordering::Relaxed);
        if !store.seen(device, None, now).is_some_and(|facts| facts.reports(now)) {
            return;
        }
        tracing::warn!(
            target: "edge::device",
            device = mac_text(device),
            kind = kind_name(kind),
            before = value_text(kind, &former),
            now = value_text(kind, value),
            "a device shows what contradicts what it was known by: another system, or another device with its MAC",
        );
    }

    /// What a generation of these policies has to know from its first packet on: hellos whose JA4 it knows as hashes, and the signals that
    /// devices have shown before.
    pub fn prepare(&self, compiled: &mut Compiled) -> (Option<Evaluator>, Vec<Shown>) {
        let Some(identity) = &mut compiled.identity else { return (None, Vec::new()) };
        let known = lock(&self.known);
        if !identity.hashed.is_empty() {
            let hellos: HashSet<&[u8]> =
                known.store.iter().flat_map(|(_, facts)| facts.of(FactKind::Hello)).map(|fact| &*fact.value).collect();
            let hellos: Vec<Ja4> = hellos.into_iter().filter_map(ja4).collect();
            extend(identity, hellos.iter());
        }
        let mut evaluator = Evaluator::new(identity);
        let shown = known.store.iter().map(|(device, facts)| Shown { device, signals: signals(&mut evaluator, facts) });
        let shown = shown.filter(|shown| !shown.signals.is_empty()).collect();
        (Some(evaluator), shown)
    }

    /// These policies and this inventory are in force from now on.
    pub fn in_force(&self, policies: Policies, inventory: Arc<Inventory>, capacity: u32, config: &IdentityConfig) {
        let mut known = lock(&self.known);
        let residents = inventory.macs().collect();
        known.store.configure(capacity as usize, config.remember, residents, now());
        known.policies = policies;
        known.inventory = inventory;
    }

    /// The same policies, whose tables were made anew.
    pub fn evaluate_by(&self, evaluator: Option<Evaluator>) {
        lock(&self.known).policies.evaluator = evaluator;
    }

    /// Whether an address of the inventory in force is of another device than when it was put in force.
    pub fn owners_changed(&self) -> bool {
        let inventory = Arc::clone(&lock(&self.known).inventory);
        self.owners(&inventory) != inventory.owners()
    }

    /// What the kernel says of devices, which also knows of names and signatures. `ahead`: seconds by which the wall clock is ahead of the
    /// monotonic one.
    pub fn take_from_kernel(&self, devices: Vec<(Shown, u32)>, ahead: i64) {
        let mut known = lock(&self.known);
        let Known { store, policies, inventory: _ } = &mut *known;
        let Some(evaluator) = &policies.evaluator else { return };
        for (Shown { device, signals }, seen) in devices {
            if signals.is_empty() || !is_a_device(device) {
                continue;
            }
            let keys = signals.iter().map(|number| signal_key(evaluator.text(*number)));
            store.signals(device, keys, u64::try_from(i64::from(seen) + ahead).unwrap_or_default());
        }
    }

    /// Writes down what has changed since that was last done.
    pub fn persist(&self, directory: &Path) {
        let changes = {
            let mut known = lock(&self.known);
            known.store.expire(now());
            known.store.take_changes()
        };
        let Some(changes) = changes else { return };
        if let Err(error) = persist::write(directory, &changes) {
            let file = persist::file(directory);
            tracing::warn!(file = %file.display(), %error, "what is known of devices was not written down; trying again in a minute");
            lock(&self.known).store.keep_changes();
        }
    }

    /// Up to `count` devices in the order of their MACs, those behind `after`.
    pub fn reports(&self, after: Option<Mac>, count: usize) -> Vec<DeviceReport> {
        report::many(&mut lock(&self.known), after, count)
    }

    /// `None`: nothing is known of it.
    pub fn report(&self, device: Mac) -> Option<DeviceReport> {
        report::one(&mut lock(&self.known), device)
    }

    /// The MACs that the inventory's addresses are of now, as far as devices have shown that.
    pub fn owners(&self, inventory: &Inventory) -> Vec<(std::net::IpAddr, Mac)> {
        let wanted: HashSet<_> = inventory.addresses().collect();
        if wanted.is_empty() {
            return Vec::new();
        }
        let known = lock(&self.known);
        // The one that was seen with it last is its owner.
        let mut owners: std::collections::BTreeMap<_, (u64, Mac)> = std::collections::BTreeMap::new();
        for (mac, facts) in known.store.iter() {
            for address in facts.addresses.iter().filter(|address| wanted.contains(address)) {
                let owner = owners.entry(*address).or_insert((facts.last_seen, mac));
                if (facts.last_seen, mac.0) > (owner.0, owner.1.0) {
                    *owner = (facts.last_seen, mac);
                }
            }
        }
        owners.into_iter().map(|(address, (_, mac))| (address, mac)).collect()
    }

    pub(super) fn with_known<T>(&self, read: impl FnOnce(&mut Known) -> T) -> T {
        read(&mut lock(&self.known))
    }
}

/// Numbers of all signals that the device has shown, sorted.
pub(super) fn signals(evaluator: &mut Evaluator, facts: &Facts) -> Vec<u32> {
    let mut signals: Vec<u32> = Vec::new();
    for fact in facts.iter() {
        signals.extend(evaluator.signals(fact.kind, &fact.value).iter());
    }
    signals.extend(facts.signals.iter().filter_map(|key| evaluator.number(key)));
    signals.sort_unstable();
    signals.dedup();
    signals
}

/// The address of a group or of nobody is no device's, whoever writes it into a frame.
const fn is_a_device(Mac(mac): Mac) -> bool {
    mac != 0 && mac >> 40 & 1 == 0
}

/// Seconds of the Unix epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::evaluate::made;
    use super::*;
    use crate::engine::fact::{self, dhcp, extension};
    use crate::engine::frame::{Ends, FrameSpec, Transport as Over};
    use crate::policy::compile::compile;
    use crate::policy::model::Resolved;

    const PHONE: Mac = Mac(0x6409_8000_0001);

    fn devices() -> Devices {
        Devices::with(Store::new(100, 1000))
    }

    fn named(device: Mac, name: &[u8], class: &[u8]) -> Vec<u8> {
        let payload = dhcp(device, &[(53, &[1]), (12, name), (60, class)]);
        let over = Over::Udp { source: 68, destination: 67 };
        FrameSpec { payload, ..FrameSpec::new(device, Ends::to("255.255.255.255".parse().expect("an address")), over) }.build()
    }

    fn hello() -> Vec<u8> {
        let algorithms = extension::signature_algorithms(&[0x0403]);
        fact::hello(0x0303, &[0x1301, 0x1302], &[(extension::SIGNATURE_ALGORITHMS, algorithms)], None).split_off(9)
    }

    fn compiled() -> Compiled {
        let mut compiled = compile(&Resolved::default(), Timestamp::UNIX_EPOCH).expect("nothing is small");
        compiled.identity = Some(made::identity(&Ja4::of_hello(&hello(), Transport::Tcp).expect("a hello")));
        compiled
    }

    fn put_in_force(devices: &Devices) -> Vec<Shown> {
        let (evaluator, shown) = devices.prepare(&mut compiled());
        let policies = Policies { evaluator, groups: Groups::default() };
        devices.in_force(policies, Arc::default(), 100, &IdentityConfig::default());
        shown
    }

    #[test]
    fn a_new_set_knows_devices_by_what_they_showed_before() {
        let devices = devices();
        assert!(devices.frame(&named(PHONE, b"redmi", b"a"), now()));
        assert!(devices.frame(&named(Mac(2), b"laptop", b"a"), now()));
        assert_eq!(devices.hello(Mac(2), &hello(), now()).map(|hello| hello.signals), Some(vec![]), "no policy asks");
        let mut shown = put_in_force(&devices);
        shown.sort_by_key(|shown| shown.device.0);
        assert_eq!(shown, [Shown { device: Mac(2), signals: vec![1] }, Shown { device: PHONE, signals: vec![0] }]);
        let found = devices.hello(PHONE, &hello(), now()).expect("a hello");
        assert_eq!(found.signals, [1]);
        let mut compiled = compiled();
        devices.prepare(&mut compiled);
        let known = &compiled.identity.expect("an identity").hellos;
        assert_eq!(known.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [found.key.asking(HelloKey::ALL_PARTS)]);
    }

    #[test]
    fn what_only_the_kernel_saw_is_remembered_and_restored() {
        let folder = tempfile::tempdir().expect("a folder");
        let devices = devices();
        put_in_force(&devices);
        devices.take_from_kernel(vec![(Shown { device: PHONE, signals: vec![2] }, 7)], i64::try_from(now()).expect("a time") - 7);
        devices.persist(folder.path());
        let next = Devices::open(folder.path(), 100, &IdentityConfig::default());
        assert_eq!(put_in_force(&next), [Shown { device: PHONE, signals: vec![2] }]);
    }

    #[test]
    fn a_change_is_counted_and_what_is_no_device_is_left_out() {
        let devices = devices();
        for class in [&b"android-dhcp-9"[..], b"android-dhcp-9", b"MSFT 5.0", b"android-dhcp-9"] {
            assert!(devices.frame(&named(PHONE, b"x", class), now()));
        }
        let changes: Vec<_> = devices.changes().filter(|(_, count)| *count > 0).collect();
        assert_eq!((changes, devices.len()), (vec![("dhcp_vendor_class", 1)], 1));
        assert!(!devices.frame(&named(Mac(0x0100_0000_0001), b"x", b"y"), now()) && !devices.frame(b"", now()));
        assert_eq!(devices.hello(PHONE, b"\x03", now()), None);
    }
}
