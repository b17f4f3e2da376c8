//! The first process of a virtual machine: what a booted system would have done, so that the agent finds its surroundings.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;

use anyhow::{Context, Result, bail};

pub fn is_first_process() -> bool {
    std::process::id() == 1
}

/// Mounts the kernel's file systems, makes the folder for temporary files, switches the BPF compiler on and the loopback interface up.
pub fn prepare() -> Result<()> {
    let temporary = std::env::temp_dir();
    fs::create_dir_all(&temporary).with_context(|| format!("cannot make {}", temporary.display()))?;
    for (kind, at) in [(c"devtmpfs", c"/dev"), (c"proc", c"/proc"), (c"sysfs", c"/sys"), (c"bpf", c"/sys/fs/bpf")] {
        mount(kind, at).with_context(|| format!("cannot mount {at:?}"))?;
    }
    // Kernels that are configured to have nothing else refuse the write of what they do anyway.
    let jit = "/proc/sys/net/core/bpf_jit_enable";
    if fs::read_to_string(jit)?.trim() == "0" {
        fs::write(jit, "1").context("cannot switch the BPF compiler on")?;
    }
    loopback_up().context("cannot switch the loopback interface on")
}

fn mount(kind: &CStr, at: &CStr) -> Result<()> {
    let directory = CString::from(at).into_string()?;
    fs::create_dir_all(directory)?;
    // SAFETY: strings that end in a NUL; no data.
    match unsafe { libc::mount(kind.as_ptr(), at.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) } {
        0 => Ok(()),
        _ => bail!(io::Error::last_os_error()),
    }
}

fn loopback_up() -> Result<()> {
    // SAFETY: a call without pointers.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        bail!(io::Error::last_os_error());
    }
    // SAFETY: all zeroes is an empty name and no flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(*b"lo") {
        *place = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the request is what this ioctl reads, and the socket is open.
    let result = unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS, &request) };
    let error = io::Error::last_os_error();
    // SAFETY: opened above, and used nowhere else.
    unsafe { libc::close(socket) };
    if result < 0 { bail!(error) } else { Ok(()) }
}

/// Ends the virtual machine.
pub fn power_off() {
    // SAFETY: calls without pointers.
    unsafe {
        libc::sync();
        libc::reboot(libc::RB_AUTOBOOT);
    }
}
