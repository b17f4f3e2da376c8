//! Takes a pinned link off its interface at once.
//!
//! A link whose last reference goes is freed by the kernel later, on a queue, and only if nobody else has it open. "Detached" must mean
//! that no packet meets the program any more, so the kernel is told so (`BPF_LINK_DETACH`, Linux 5.9), which aya has no call for.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `enum bpf_cmd` of `linux/bpf.h`.
mod command {
    pub const OBJ_GET: libc::c_int = 7;
    pub const LINK_DETACH: libc::c_int = 34;
}

/// The part of `union bpf_attr` that `BPF_OBJ_GET` reads.
#[repr(C)]
struct ObjectGet {
    path: u64,
    /// Zero, as is the padding after it: the kernel insists.
    fd: u32,
    flags: u32,
}

/// The part that `BPF_LINK_DETACH` reads.
#[repr(C)]
struct LinkDetach {
    link: u32,
}

/// Detaches the link that is pinned at `path`; the pin stays.
///
/// # Errors
/// If it cannot be opened. A link whose interface has gone is detached already.
pub fn detach(path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut get = ObjectGet { path: name.as_ptr().addr() as u64, fd: 0, flags: 0 };
    let fd = bpf(command::OBJ_GET, &mut get)?;
    // SAFETY: the call succeeded, so this is a descriptor that nobody else has.
    let link = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut detach = LinkDetach { link: link.as_raw_fd().cast_unsigned() };
    bpf(command::LINK_DETACH, &mut detach).map(|_| ())
}

fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: the attributes are a prefix of `bpf_attr` of the given size, and what they point to outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    match libc::c_int::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}
