//! What can go wrong between the agent and the kernel, said so that the admin knows what to do.

use std::io;
use std::path::PathBuf;

use crate::dataplane::snapshot::XdpMode;
use crate::policy::compile::name_table::NameTableError;

/// An operation on the kernel's side failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("the kernel gives no random numbers for its tables: {0}")]
    Random(io::Error),

    #[error(transparent)]
    Names(NameTableError),

    #[error("cannot {operation} {}: {source}", path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },

    #[error(
        "{} is not on a BPF file system, where pins outlive the agent; \
         run `mount -t bpf bpf /sys/fs/bpf` as root, or configure a directory below one",
        path.display()
    )]
    NotBpffs { path: PathBuf },

    #[error("another agent serves the pins at {}; stop that one first, or configure another directory for the pins of this one", path.display())]
    Locked { path: PathBuf },

    #[error(
        "the pins at {} were written by another version (schema {found}, this agent has {expected}); \
         run `edge-agent detach` to stop enforcing and remove them, then start this agent",
        path.display()
    )]
    Schema { path: PathBuf, found: u32, expected: u32 },

    #[error(
        "the pins at {} carry no stamp of this program; run `edge-agent detach` to remove them, then start this agent",
        path.display()
    )]
    Unstamped { path: PathBuf },

    #[error(
        "{interface} already carries the XDP program `{name}` (id {program}, {}), which is not this agent's; \
         detach it (`ip link set dev {interface} {} off`, or the tool that attached it) or take {interface} out of agent.yaml",
        mode.name(), mode.iproute2()
    )]
    Foreign { interface: String, program: u32, name: String, mode: XdpMode },

    #[error(
        "the driver of {interface} does not take the program natively ({reason}); \
         set `xdp: {{mode: native_or_generic}}` in agent.yaml (slower), or use an interface with native XDP"
    )]
    NoNative { interface: String, reason: String },

    #[error("cannot attach to {interface} in {} mode: {reason}", mode.name())]
    Attach { interface: String, mode: XdpMode, reason: String },

    #[error(
        "the program that reads DNS answers cannot be put on, or taken off, {interface}: {reason}; \
         `tc filter show dev INTERFACE egress` shows what other tools have there"
    )]
    Answers { interface: String, reason: String },

    #[error("cannot replace the program on {interface}: {reason}; the generation in force stays")]
    Replace { interface: String, reason: String },

    #[error("cannot read the pinned link {}: {reason}; run `edge-agent detach` to remove it", path.display())]
    Link { path: PathBuf, reason: String },

    #[error("cannot ask the kernel what it can do: {0}; it needs root (CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON) and Linux 5.10 or later")]
    Probe(#[source] Box<aya::programs::ProgramError>),

    #[error(
        "rule `{policy}/{rule}` has the action rate_limit, which needs Linux 5.18 or later; \
         use a newer kernel (Debian has them in its backports), or another action"
    )]
    NoRates { policy: String, rule: String },

    #[error(
        "rule `{policy}/{rule}` names domains or signatures, which need Linux 5.18 or later; \
         use a newer kernel (Debian has them in its backports), or name addresses and ports"
    )]
    NoNames { policy: String, rule: String },

    #[error(
        "groups of devices ask for more than MACs (DHCP, SYNs, hellos, User-Agents, names or signatures), which needs Linux 5.18 or later; \
         use a newer kernel (Debian has them in its backports), or groups of `vendor` and `mac`"
    )]
    NoIdentity,

    #[error("cannot load the BPF object: {0}; it needs root (CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON) and Linux 5.10 or later")]
    Load(#[source] Box<aya::EbpfError>),

    #[error("the kernel refuses the program `{name}`: {source}; this kernel may be too old, please report it with the text above")]
    Program { name: &'static str, source: Box<aya::programs::ProgramError> },

    #[error("cannot {operation} the map {map}: {source}")]
    Map { operation: &'static str, map: &'static str, source: Box<aya::maps::MapError> },

    #[error("cannot fill the map {map}: {source}; if the kernel is short of memory, use fewer or coarser destinations")]
    Fill { map: &'static str, source: io::Error },

    #[error("the BPF object has no {what} `{name}`; the agent's build is broken, build it again")]
    Missing { what: &'static str, name: &'static str },

    #[error("policy, rule and action of `{policy}/{rule}` are longer than the {limit} bytes a counter's name has; shorten one of them")]
    NameTooLong { policy: String, rule: String, limit: usize },

    #[error("{what} `{name}` is configured twice; keep one")]
    Twice { what: &'static str, name: String },

    #[error("{count} {what} are more than the {limit} one agent holds; {way_out}")]
    TooMany { what: &'static str, count: usize, limit: usize, way_out: &'static str },

    #[error("cannot open the kernel's routing socket: {0}; the agent's sandbox must allow AF_NETLINK")]
    NetlinkSocket(#[source] io::Error),

    #[error("cannot ask the kernel for its interfaces: {0}")]
    Netlink(#[source] Box<rtnetlink::Error>),
}

impl Error {
    pub(super) fn io(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { operation, path, source }
    }

    pub fn map(operation: &'static str, map: &'static str) -> impl Fn(aya::maps::MapError) -> Self {
        move |source| Self::Map { operation, map, source: Box::new(source) }
    }
}
