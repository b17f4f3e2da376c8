//! What outlives the agent under the BPF file system, and who may touch it.
//!
//! ```text
//! /sys/fs/bpf/edge/            0700, locked by the agent that serves it
//!   maps/STAMP, RULE_COUNTERS, EVENTS, …   shared by all generations
//!   links/inside-eth1, outside-eth0, …     each holds the program on one interface
//!   links/answers-eth1, …                  the same for the program that reads DNS answers
//!   filters/7, qdisc-7, …                  empty directories: where that program is a filter, by interface index, and the qdisc is ours
//! ```

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use aya::maps::{Array, Map, MapData};
use edge_ebpf::abi::{SCHEMA, STAMP_MAGIC, Stamp};

use super::attach::answers::remove_filter;
use super::attach::detach::detach;
use super::bpffs;
use super::error::Error;
use super::object::STAMP;
use super::pod::Value;
use super::snapshot::Role;

/// Where the pins are if the configuration does not say otherwise.
pub const DEFAULT_ROOT: &str = "/sys/fs/bpf/edge";

/// The pins below one directory.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
}

/// Held by the one process that may change the pins; let go when it ends, however it ends.
#[derive(Debug)]
pub struct Lock(File);

impl Drop for Lock {
    /// Closing it is not enough: the lock is that of the open directory, which a process forked by another thread has open as well until it
    /// executes its program.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the lock of the pins goes with this process");
        }
    }
}

/// The name of a pinned link: which program hangs on which interface.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct LinkName {
    pub role: Role,
    pub interface: String,
}

/// An interface whose egress has the program for DNS answers as a filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FilterNote {
    pub index: u32,
    /// The filter's qdisc was made for it.
    pub own_qdisc: bool,
}

/// What the pins of links for DNS answers are named by, in the place of a role.
const ANSWERS: &str = "answers-";

impl LinkName {
    /// The BPF file system keeps names with a dot for itself (`bpf_lookup` in `kernel/bpf/inode.c`), and VLAN interfaces have one;
    /// no interface has a colon (`dev_valid_name` in `net/core/dev.c`).
    pub fn file_name(&self) -> String {
        format!("{}-{}", self.role.name(), self.file_interface())
    }

    fn file_interface(&self) -> String {
        self.interface.replace('.', ":")
    }

    /// The name behind a pin's file name.
    pub fn parse(file_name: &str) -> Option<Self> {
        let (role, interface) = file_name.split_once('-')?;
        let role = Role::ALL.into_iter().find(|known| known.name() == role)?;
        Some(Self { role, interface: interface.replace(':', ".") })
    }
}

impl Pins {
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn map(&self, name: &str) -> PathBuf {
        self.root.join("maps").join(name)
    }

    pub fn link(&self, name: &LinkName) -> PathBuf {
        self.links_directory().join(name.file_name())
    }

    /// The link of the program that reads the DNS answers towards an inside interface.
    pub fn answers_link(&self, name: &LinkName) -> PathBuf {
        self.links_directory().join(format!("{ANSWERS}{}", name.file_interface()))
    }

    fn links_directory(&self) -> PathBuf {
        self.root.join("links")
    }

    /// Makes the directories, takes the lock, and checks or writes the stamp.
    ///
    /// # Errors
    /// If there is no BPF file system, another process has the lock, or the pins are another version's.
    pub fn open(&self) -> Result<Lock, Error> {
        bpffs::ensure(&self.root)?;
        for directory in [self.root.clone(), self.root.join("maps"), self.links_directory(), self.filters_directory()] {
            make(&directory)?;
        }
        let lock = self.lock()?;
        match self.stamp()? {
            Some(_) => {}
            None if self.file_names("maps")?.is_empty() => self.write_first_stamp()?,
            None => return Err(Error::Unstamped { path: self.root.clone() }),
        }
        Ok(lock)
    }

    /// # Errors
    /// [`Error::Locked`] if another process has it.
    pub fn lock(&self) -> Result<Lock, Error> {
        let directory = File::open(&self.root).map_err(Error::io("open", &self.root))?;
        match directory.try_lock() {
            Ok(()) => Ok(Lock(directory)),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { path: self.root.clone() }),
            Err(TryLockError::Error(error)) => Err(Error::io("lock", &self.root)(error)),
        }
    }

    /// The stamp, checked; `None` if nothing was ever pinned here.
    ///
    /// # Errors
    /// If it is another version's.
    pub fn stamp(&self) -> Result<Option<Stamp>, Error> {
        let path = self.map(STAMP);
        if !path.try_exists().map_err(Error::io("look at", &path))? {
            return Ok(None);
        }
        let map = self.open_map(STAMP)?;
        let map: Array<_, Value<Stamp>> = Map::Array(map).try_into().map_err(|_| Error::Unstamped { path: self.root.clone() })?;
        let Value(stamp) = map.get(&0, 0).map_err(Error::map("read", STAMP))?;
        let Stamp { magic, schema, generation: _, reserved: _ } = stamp;
        if magic != STAMP_MAGIC {
            return Err(Error::Unstamped { path: self.root.clone() });
        }
        if schema != SCHEMA {
            return Err(Error::Schema { path: self.root.clone(), found: schema, expected: SCHEMA });
        }
        Ok(Some(stamp))
    }

    /// Notes which generation is in force.
    pub fn write_generation(&self, generation: u32) -> Result<(), Error> {
        let mut map: Array<_, Value<Stamp>> = Map::Array(self.open_map(STAMP)?).try_into().map_err(Error::map("open", STAMP))?;
        map.set(0, Value(stamp(generation)), 0).map_err(Error::map("write", STAMP))
    }

    /// The stamp is written before it is pinned: there is never one that is empty.
    fn write_first_stamp(&self) -> Result<(), Error> {
        let mut map: Array<MapData, Value<Stamp>> = Array::create(1, 0).map_err(Error::map("create", STAMP))?;
        map.set(0, Value(stamp(0)), 0).map_err(Error::map("write", STAMP))?;
        let path = self.map(STAMP);
        map.pin(&path).map_err(|error| Error::io("pin", path)(io::Error::other(error)))
    }

    /// A map that was pinned before.
    pub fn open_map(&self, name: &'static str) -> Result<MapData, Error> {
        MapData::from_pin(self.map(name)).map_err(Error::map("open", name))
    }

    /// Pins another map in the place of the one of this name, if there is one: at each moment one of them is there.
    pub fn replace_map(&self, name: &str, pin: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
        let (path, next) = (self.map(name), self.map(&format!("{name}_NEXT")));
        match fs::remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io("remove", next)(error)),
            _ => {}
        }
        pin(&next)?;
        fs::rename(&next, &path).map_err(Error::io("rename", next))
    }

    /// Whether a map is pinned.
    pub fn has_map(&self, name: &str) -> bool {
        self.map(name).exists()
    }

    /// The pinned links by name, sorted.
    pub fn links(&self) -> Result<Vec<LinkName>, Error> {
        let mut links: Vec<_> = self.file_names("links")?.iter().filter_map(|name| LinkName::parse(name)).collect();
        links.sort_unstable();
        Ok(links)
    }

    /// The pinned links for DNS answers, all of inside interfaces.
    pub fn answers_links(&self) -> Result<Vec<LinkName>, Error> {
        let names = self.file_names("links")?;
        let interfaces = names.iter().filter_map(|name| name.strip_prefix(ANSWERS));
        Ok(interfaces.map(|interface| LinkName { role: Role::Inside, interface: interface.replace(':', ".") }).collect())
    }

    fn filters_directory(&self) -> PathBuf {
        self.root.join("filters")
    }

    fn filter(&self, index: u32) -> PathBuf {
        self.filters_directory().join(index.to_string())
    }

    fn qdisc(&self, index: u32) -> PathBuf {
        self.filters_directory().join(format!("qdisc-{index}"))
    }

    /// The interfaces that have the program for DNS answers as a filter, or had it when they were last looked at.
    pub fn filters(&self) -> Result<Vec<FilterNote>, Error> {
        let indices = self.file_names("filters")?.into_iter().filter_map(|name| name.parse().ok());
        Ok(indices.map(|index| FilterNote { index, own_qdisc: self.owns_qdisc(index) }).collect())
    }

    pub fn owns_qdisc(&self, index: u32) -> bool {
        self.qdisc(index).exists()
    }

    /// To be called before the filter is added.
    pub fn note_filter(&self, index: u32) -> Result<(), Error> {
        make(&self.filter(index))
    }

    pub fn note_qdisc(&self, index: u32) -> Result<(), Error> {
        make(&self.qdisc(index))
    }

    /// To be called once the filter is removed.
    pub fn forget_filter(&self, index: u32) -> Result<(), Error> {
        unmake(&self.qdisc(index))?;
        unmake(&self.filter(index))
    }

    /// Names in a subdirectory; none if it does not exist.
    fn file_names(&self, subdirectory: &str) -> Result<Vec<String>, Error> {
        let path = self.root.join(subdirectory);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("list", path)(error)),
        };
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<_>>()
            .map_err(Error::io("list", path))
    }

    /// Removes every pin, links first, whatever version wrote them: with its link gone an interface passes everything.
    /// Returns the names of the links there were, of which each interface has one; `None` if there was nothing.
    ///
    /// # Errors
    /// [`Error::Locked`] if an agent serves them.
    pub fn remove(&self) -> Result<Option<Vec<String>>, Error> {
        if !self.root.try_exists().map_err(Error::io("look at", &self.root))? {
            return Ok(None);
        }
        let _lock = self.lock()?;
        self.remove_locked().map(Some)
    }

    /// As [`Self::remove`], by the process that has the lock.
    pub fn remove_locked(&self) -> Result<Vec<String>, Error> {
        let mut links = self.file_names("links")?;
        for name in &links {
            let path = self.links_directory().join(name);
            // One that cannot be opened is of no use to anybody, and goes with its pin.
            if let Err(error) = detach(&path) {
                tracing::warn!(link = name, %error, "the kernel detaches it only once nobody has it open");
            }
        }
        for note in self.filters()? {
            remove_filter(self, note)?;
        }
        unmake(&self.filters_directory())?;
        for (subdirectory, names) in [("links", links.clone()), ("maps", self.file_names("maps")?)] {
            let directory = self.root.join(subdirectory);
            for name in names {
                let path = directory.join(name);
                fs::remove_file(&path).map_err(Error::io("remove", path))?;
            }
            unmake(&directory)?;
        }
        fs::remove_dir(&self.root).map_err(Error::io("remove", &self.root))?;
        links.retain(|name| !name.starts_with(ANSWERS));
        Ok(links)
    }
}

/// Makes a directory that only root looks into, if it is not there.
fn make(directory: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(Error::io("make the directory", directory))
}

/// Removes an empty directory, if it is there.
fn unmake(directory: &Path) -> Result<(), Error> {
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", directory)(error)),
        _ => Ok(()),
    }
}

fn stamp(generation: u32) -> Stamp {
    Stamp { magic: STAMP_MAGIC, schema: SCHEMA, generation, reserved: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_named_by_role_and_interface_whatever_the_interface_is_called() {
        for interface in ["eth0", "br-lan", "-", "inside-0", "wan.100"] {
            let name = LinkName { role: Role::Outside, interface: interface.to_owned() };
            assert!(!name.file_name().contains('.'), "the BPF file system refuses it");
            assert_eq!(LinkName::parse(&name.file_name()), Some(name));
        }
        assert_eq!(LinkName::parse("sideways-eth0"), None);
        assert_eq!(LinkName::parse("inside"), None);
    }

    #[test]
    fn the_lock_is_let_go_though_the_directory_stays_open() {
        let folder = tempfile::tempdir().expect("a folder");
        let pins = Pins::at(folder.path());
        let lock = pins.lock().expect("nobody has it");
        // What a fork has.
        let _open = lock.0.try_clone().expect("another descriptor");
        assert!(matches!(pins.lock(), Err(Error::Locked { .. })));
        drop(lock);
        drop(pins.lock().expect("let go"));
    }
}
