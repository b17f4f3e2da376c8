//! A file system for the guest, as the kernel unpacks it: a cpio archive in the "newc" format
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::guest_path;
use crate::command::output;

/// Files by their path in the guest, without the leading slash.
#[derive(Default)]
pub struct Initramfs {
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Initramfs {
    /// Adds a file of this machine.
    pub fn file(&mut self, guest: &Path, host: &Path) -> Result<()> {
        let bytes = fs::read(host).with_context(|| format!("cannot read {}", host.display()))?;
        self.files.insert(guest_path(guest).to_owned(), bytes);
        Ok(())
    }

    /// Adds a program with the libraries that it loads.
    pub fn program(&mut self, guest: &str, host: &Path) -> Result<()> {
        self.file(Path::new(guest), host)?;
        let libraries = output(Command::new("ldd").arg(host))?;
        for library in libraries.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new) {
            self.file(library, library)?;
        }
        Ok(())
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        fs::write(path, self.archive()?).with_context(|| format!("cannot write {}", path.display()))
    }

    fn archive(&self) -> Result<Vec<u8>> {
        const DIRECTORY: u32 = 0o040_755;
        const PROGRAM: u32 = 0o100_755;
        let mut archive = Archive::default();
        let mut entries = BTreeMap::new();
        for (path, bytes) in &self.files {
            // A directory comes before what is in it, as its path does in order.
            entries.extend(path.ancestors().skip(1).filter(|path| *path != Path::new("")).map(|path| (path, (DIRECTORY, [].as_slice()))));
            entries.insert(path, (PROGRAM, bytes));
        }
        for (path, (mode, bytes)) in entries {
            archive.entry(path.to_str().context("a path that is not UTF-8")?, mode, bytes)?;
        }
        archive.entry("TRAILER!!!", 0, &[])?;
        Ok(archive.bytes)
    }
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.entries += 1;
        let size = u32::try_from(content.len()).with_context(|| format!("{name} is too large"))?;
        let name_size = u32::try_from(name.len() + 1)?;
        // Inode, mode, owner, group, links, time, size, four numbers of devices, size of the name, no checksum.
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes().chain([0]));
        self.align();
        self.bytes.extend(content);
        self.align();
        Ok(())
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads an archive as the kernel does: names, modes and contents in order.
    fn read(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        loop {
            assert_eq!(&bytes[..6], b"070701");
            let field = |index: usize| {
                let digits = std::str::from_utf8(&bytes[6 + index * 8..14 + index * 8]).unwrap();
                u32::from_str_radix(digits, 16).unwrap()
            };
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let name = String::from_utf8(bytes[110..110 + name_size - 1].to_vec()).unwrap();
            assert_eq!(bytes[110 + name_size - 1], 0);
            let content = (110 + name_size).next_multiple_of(4);
            if name == "TRAILER!!!" {
                return entries;
            }
            entries.push((name, mode, bytes[content..content + size].to_vec()));
            bytes = &bytes[(content + size).next_multiple_of(4)..];
        }
    }

    #[test]
    fn directories_come_before_their_files_once() {
        let mut initramfs = Initramfs::default();
        initramfs.files.insert("init".into(), b"program".to_vec());
        initramfs.files.insert("lib/x/one.so".into(), vec![1; 5]);
        initramfs.files.insert("lib/x/two.so".into(), vec![]);
        let entries = read(&initramfs.archive().unwrap());
        let seen: Vec<_> = entries.iter().map(|(name, mode, content)| (name.as_str(), mode >> 12, content.len())).collect();
        assert_eq!(seen, [("init", 8, 7), ("lib", 4, 0), ("lib/x", 4, 0), ("lib/x/one.so", 8, 5), ("lib/x/two.so", 8, 0)]);
    }
}
