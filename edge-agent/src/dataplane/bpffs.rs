//! Makes sure that there is a BPF file system to pin into.

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::error::Error;

/// Where the BPF file system belongs, and where systemd mounts it.
const MOUNT_POINT: &str = "/sys/fs/bpf";

/// Returns once `path`, which need not exist yet, is on a BPF file system; mounts one at `/sys/fs/bpf` for a path below it.
///
/// # Errors
/// [`Error::NotBpffs`] if it is not and cannot be.
pub fn ensure(path: &Path) -> Result<(), Error> {
    if is_bpffs(path)? {
        return Ok(());
    }
    if !path.starts_with(MOUNT_POINT) {
        return Err(Error::NotBpffs { path: path.to_owned() });
    }
    mount().map_err(|error| match error.raw_os_error() {
        Some(libc::EPERM) => Error::NotBpffs { path: path.to_owned() },
        _ => Error::io("mount a BPF file system at", MOUNT_POINT)(error),
    })?;
    tracing::warn!(
        "no BPF file system was mounted at {MOUNT_POINT}: mounted one; enforcement outlives the agent only as long as that mount"
    );
    Ok(())
}

/// Whether `path`, or the nearest directory above it that exists, is on a BPF file system.
pub fn is_bpffs(path: &Path) -> Result<bool, Error> {
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    let name = CString::new(existing.as_os_str().as_bytes()).map_err(|error| Error::io("look at", path)(error.into()))?;
    on_bpffs(&name).map_err(Error::io("look at", existing))
}

fn on_bpffs(path: &CStr) -> io::Result<bool> {
    let mut answer = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the path is a C string, and the answer has room for a `statfs`.
    if unsafe { libc::statfs(path.as_ptr(), answer.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it has filled the answer in.
    let answer = unsafe { answer.assume_init() };
    Ok(answer.f_type == libc::BPF_FS_MAGIC)
}

fn mount() -> io::Result<()> {
    let (kind, point, options) = (c"bpf", CString::new(MOUNT_POINT)?, c"mode=0700");
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: C strings, which the kernel copies.
    match unsafe { libc::mount(kind.as_ptr(), point.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_directory_is_refused_and_the_message_says_what_to_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = ensure(&folder.path().join("not/there/yet")).expect_err("not a BPF file system");
        assert!(error.to_string().contains("mount -t bpf bpf /sys/fs/bpf"), "{error}");
    }
}
