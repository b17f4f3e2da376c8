//! A network namespace of a test's own, which goes with the value, and pins of its own.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use edge_agent::dataplane::interfaces::{Interface, Interfaces};
use edge_agent::dataplane::pins::Pins;

/// Where `ip netns` keeps namespaces.
const NAMES: &str = "/run/netns";
/// Where the tests pin.
const PINS: &str = "/sys/fs/bpf";

/// Whether the kernel lets this process do all of this. Says so where not, since a test that is left out must not look like one that passed.
pub fn privileged(test: &str) -> bool {
    // SAFETY: no arguments, no memory.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        eprintln!("{test}: left out, needs root");
    }
    root
}

/// The calling thread lives in it until the value is dropped.
pub struct Namespace {
    name: String,
    home: File,
    pins: Pins,
    /// Its own runtime, so that rtnetlink's sockets are opened by this thread, in the namespace.
    runtime: tokio::runtime::Runtime,
}

impl Namespace {
    pub fn enter() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep);
        let name = format!("edge-kernel-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        ip(&["netns", "add", &name]);
        let home = File::open("/proc/thread-self/ns/net").expect("this thread's namespace");
        let namespace = File::open(Path::new(NAMES).join(&name)).expect("the new namespace");
        // SAFETY: an open namespace file; the call changes this thread only.
        assert_eq!(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }, 0, "cannot enter {name}");
        let pins = Pins::at(Path::new(PINS).join(&name));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { name, home, pins, runtime }
    }

    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// A pair of interfaces, both up and in this namespace.
    pub fn veth(&self, one: &str, other: &str) {
        ip(&["link", "add", one, "type", "veth", "peer", "name", other]);
        ip(&["link", "set", one, "up"]);
        ip(&["link", "set", other, "up"]);
    }

    pub fn interfaces(&self) -> Vec<Interface> {
        self.runtime.block_on(async { Interfaces::open().expect("a socket").all().await }).expect("the interfaces")
    }

    /// The program on an interface, as its id.
    pub fn program(&self, name: &str) -> Option<u32> {
        self.interfaces().into_iter().find(|interface| interface.name == name).and_then(|interface| interface.xdp).map(|xdp| xdp.id)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // SAFETY: as above, back to where the thread came from.
        unsafe { libc::setns(self.home.as_raw_fd(), libc::CLONE_NEWNET) };
        if let Err(error) = self.pins.remove() {
            eprintln!("{}: {error}", self.name);
        }
        ip(&["netns", "delete", &self.name]);
    }
}

/// Removes what a test process left behind that was killed. Its number is in the name.
fn sweep() {
    let names = |directory: &str| -> Vec<String> {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let dead = |name: &String| {
        let process = name.strip_prefix("edge-kernel-").and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        process.is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists())
    };
    for name in names(NAMES).iter().filter(|name| dead(name)) {
        ip(&["netns", "delete", name]);
    }
    for name in names(PINS).iter().filter(|name| dead(name)) {
        Pins::at(Path::new(PINS).join(name)).remove().expect("nobody holds the pins of a dead process");
    }
}

/// Runs `ip` in the calling thread's namespace.
pub fn ip(arguments: &[&str]) {
    run("ip", arguments);
}

/// The same for any command; returns what it prints.
pub fn run(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).output().expect("it is installed");
    assert!(output.status.success(), "{command} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
