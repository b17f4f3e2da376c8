//! A device of the lab: its namespace, and programs that see the lab's resolver and no other.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::directory::Directory;
use super::namespace::Namespace;
use super::plan::{Device, RESOLVER};

/// A device with everything that its programs need.
pub struct Host {
    pub device: Device,
    pub namespace: Namespace,
    /// The lab's file in the place of the machine's, as pairs (ours, theirs).
    files: Vec<(CString, CString)>,
}

impl Host {
    pub fn new(device: Device, namespace: Namespace, directory: &Directory) -> Result<Self> {
        let resolver = directory.write("resolv.conf", &format!("nameserver {RESOLVER}\noptions timeout:1 attempts:2\n"))?;
        // A name service of the machine's own, over a socket and not the network, would answer for the lab's.
        let switch = directory.write("nsswitch.conf", "hosts: files dns\n")?;
        let mut files = Vec::new();
        for (ours, theirs) in [(resolver, "/etc/resolv.conf"), (switch, "/etc/nsswitch.conf")] {
            if Path::new(theirs).exists() {
                files.push((CString::new(ours.as_os_str().as_bytes())?, CString::new(theirs)?));
            }
        }
        Ok(Self { device, namespace, files })
    }

    /// A command on this device.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.namespace.command(program);
        let files = self.files.clone();
        // SAFETY: between fork and exec the closure makes system calls with strings that were made before, and allocates nothing.
        unsafe { command.pre_exec(move || see_instead(&files)) };
        command
    }

    /// The certificate that its clients trust.
    pub fn trusted(directory: &Directory) -> std::path::PathBuf {
        directory.path().join("server.pem")
    }
}

/// In a mount namespace of the calling process, lets each first file stand in the place of the second.
fn see_instead(files: &[(CString, CString)]) -> io::Result<()> {
    let none = std::ptr::null();
    // SAFETY: takes a number.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    out_of_chroot(|| {
        // Or our mounts would be everybody's.
        // SAFETY: strings that end in NUL, or null where the call takes none.
        check(unsafe { libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()) }).map(drop)
    })?;
    for (ours, theirs) in files {
        // SAFETY: as above.
        check(unsafe { libc::mount(ours.as_ptr(), theirs.as_ptr(), none, libc::MS_BIND, none.cast()) })?;
    }
    Ok(())
}

/// Does something at the root of the mount namespace, where only a mount's propagation can be set. In a chroot, `/` is not that.
fn out_of_chroot(action: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let open = |path: &CStr, flags| {
        // SAFETY: a string that ends in NUL.
        let descriptor = check(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC) })?;
        // SAFETY: just opened, and nobody else's.
        Ok::<_, io::Error>(unsafe { OwnedFd::from_raw_fd(descriptor) })
    };
    let root = open(c"/", libc::O_PATH | libc::O_DIRECTORY)?;
    let namespace = open(c"/proc/self/ns/mnt", libc::O_RDONLY)?;
    // Entering the namespace that it is in already puts a process at its root.
    // SAFETY: the descriptor is open; the call takes nothing else.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNS) })?;
    action()?;
    // SAFETY: the descriptor is open; the string ends in NUL.
    check(unsafe { libc::fchdir(root.as_raw_fd()) }).and_then(|_| check(unsafe { libc::chroot(c".".as_ptr()) })).map(drop)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
