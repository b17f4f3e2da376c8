//! An XDP program that passes everything, for the far end of a veth pair.
//!
//! What an XDP program sends back (`XDP_TX`) goes into the peer's ring, but the peer is woken for it only if it has a program itself
//! (`veth_xdp_flush` in `drivers/net/veth.c`). A network card needs nothing of the kind.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};

use super::namespace::Namespace;

/// Commands, types and flags of `linux/bpf.h` and `linux/if_link.h`.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// `r0 = XDP_PASS; exit`, in the encoding of RFC 9669.
static PASS: [u64; 2] = [0x0000_0002_0000_00b7, 0x95];

/// The head of `union bpf_attr` for `BPF_PROG_LOAD`; the kernel takes what is beyond for zero.
#[repr(C)]
struct ProgramLoad {
    kind: u32,
    instructions: u32,
    code: u64,
    license: u64,
}

/// The same for `BPF_LINK_CREATE`.
#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

/// Attaches it natively; the value holds it there.
pub fn attach(namespace: &Namespace, interface: &str) -> Result<OwnedFd> {
    let link = namespace.run(|| {
        let name = CString::new(interface)?;
        // SAFETY: a string that ends in NUL.
        let interface = unsafe { libc::if_nametoindex(name.as_ptr()) };
        let load = ProgramLoad {
            kind: BPF_PROG_TYPE_XDP,
            instructions: 2,
            code: (&raw const PASS) as u64,
            license: c"Dual MIT/GPL".as_ptr() as u64,
        };
        let program = bpf(BPF_PROG_LOAD, &load)?;
        let program_id = program.as_raw_fd().try_into()?;
        let create = LinkCreate { program: program_id, interface, attach_type: BPF_XDP, flags: XDP_FLAGS_DRV_MODE };
        Ok(bpf(BPF_LINK_CREATE, &create)?)
    });
    link.with_context(|| format!("cannot attach an XDP program to {interface}"))
}

/// bpf(2) for the commands that return a descriptor.
fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the attributes are of the size that is given with them, and what they point to lives as long as they do.
    let descriptor = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) };
    match i32::try_from(descriptor) {
        // SAFETY: just opened, and nobody else's.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}
