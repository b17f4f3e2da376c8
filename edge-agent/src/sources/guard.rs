//! Judges a data file by what it was when it was last in force: half a list is more often a broken download than half the world gone.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::file::{Cached, Provenance, SourceError};
use super::store::{Store, Used};
use crate::config::Share;

/// What becomes of a file that lost too much.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Shrink {
    /// Its old content is used on.
    #[default]
    Hold,
    /// It is taken as it is: somebody has said so.
    Accept,
}

/// Without a store it takes every file as it is.
#[derive(Debug, Default)]
pub struct Guard {
    store: Option<Store>,
    max_shrink: Share,
    shrink: Shrink,
}

/// Where a reader finds the content of a file.
#[derive(Debug, Default)]
pub struct At(HashMap<PathBuf, PathBuf>);

impl At {
    pub fn of<'a>(&'a self, path: &'a Path) -> &'a Path {
        self.0.get(path).map_or(path, PathBuf::as_path)
    }
}

impl Guard {
    /// Remembers in this directory, across restarts.
    pub fn open(directory: &Path) -> Self {
        Self { store: Some(Store::open(directory)), ..Self::default() }
    }

    pub(super) fn configure(&mut self, max_shrink: Share, shrink: Shrink) {
        (self.max_shrink, self.shrink) = (max_shrink, shrink);
    }

    /// Has files read; those that lost too much a second time, with the content that they were last used with.
    ///
    /// # Errors
    /// The reader's, and [`SourceError::Shrunk`] if the old content was not kept.
    pub(super) fn read<T>(&self, mut read: impl FnMut(&At) -> Result<Cached<T>, SourceError>) -> Result<Cached<T>, SourceError> {
        let found = read(&At::default())?;
        let shrunk: Vec<Option<&Used>> = found.files.iter().map(|file| self.shrunk_from(file)).collect();
        let Some(store) = self.store.as_ref().filter(|_| shrunk.iter().any(Option::is_some)) else { return Ok(found) };
        let lost =
            |file: &Provenance, used: &Used| SourceError::Shrunk { path: file.path.clone(), found: file.entries, before: used.entries };
        let mut at = At::default();
        for (file, used) in found.files.iter().zip(&shrunk) {
            let Some(used) = used else { continue };
            at.0.insert(file.path.clone(), store.content(used).ok_or_else(|| lost(file, used))?);
        }
        let mut old = read(&at)?;
        for ((old, file), used) in old.files.iter_mut().zip(found.files).zip(shrunk) {
            let Some(used) = used else { continue };
            if old.sha256 != used.sha256 {
                return Err(lost(&file, used));
            }
            // Judged again when the file changes, and told of by its own name and date.
            *old = Provenance {
                shrunk_to: Some(file.entries),
                entries: used.entries,
                modified: used.modified,
                sha256: old.sha256.clone(),
                ..file
            };
        }
        Ok(old)
    }

    /// What the file was, if it lost too much of it.
    fn shrunk_from(&self, file: &Provenance) -> Option<&Used> {
        let used = self.store.as_ref()?.last(&file.path)?;
        let lost = used.entries.saturating_sub(file.entries);
        (self.shrink == Shrink::Hold && self.max_shrink.is_exceeded_by(lost, used.entries)).then_some(used)
    }

    /// These are in force now.
    pub(super) fn note_used(&mut self, files: &[Provenance]) {
        if let Some(store) = &mut self.store
            && let Err(error) = store.note(files.iter().filter(|file| file.shrunk_to.is_none()))
        {
            tracing::warn!(%error, "after a restart, data files are not judged by what they are now");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::policy::problem::Problems;
    use crate::sources::Sources;

    struct World {
        folder: tempfile::TempDir,
        sources: Sources,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let sources = Self::sources(folder.path());
            Self { folder, sources }
        }

        fn sources(folder: &Path) -> Sources {
            Sources::guarded(crate::config::SourceFiles::default(), Guard::open(&folder.join("state")))
        }

        fn restart(&mut self) {
            self.sources = Self::sources(self.folder.path());
        }

        fn write(&self, entries: usize) {
            let list: String = (0..entries).map(|entry| format!("192.0.2.{}\n", entry * 2)).collect();
            // Replaced as a download is, so that the file is another one whatever the clock's grain.
            fs::write(self.folder.path().join("new"), list).unwrap();
            fs::rename(self.folder.path().join("new"), self.folder.path().join("list.txt")).unwrap();
        }

        /// Ranges read, and entries of a file that was not taken.
        fn load(&mut self, shrink: Shrink) -> Result<(usize, Option<usize>), SourceError> {
            let files = crate::config::SourceFiles::default();
            self.sources.configure(&files, Share::percent(50), shrink);
            self.sources.refresh();
            let set = self.sources.prefix_list(&self.folder.path().join("list.txt"), &mut Problems::default())?;
            self.sources.note_used();
            Ok((set.v4.len(), self.sources.provenance()[0].shrunk_to))
        }
    }

    #[test]
    fn a_file_that_lost_more_than_its_share_is_not_taken_until_somebody_says_so() {
        let mut world = World::new();
        world.write(10);
        assert_eq!(world.load(Shrink::Hold).unwrap(), (10, None), "nothing is known of it yet");
        let first = world.sources.provenance()[0].clone();
        world.write(4);
        for _ in 0..2 {
            assert_eq!(world.load(Shrink::Hold).unwrap(), (10, Some(4)));
            let held = world.sources.provenance()[0].clone();
            assert_eq!((&held.path, &held.sha256, held.entries, held.modified), (&first.path, &first.sha256, 10, first.modified));
            world.restart();
        }
        assert_eq!(world.load(Shrink::Accept).unwrap(), (4, None));
        assert_eq!(world.load(Shrink::Hold).unwrap(), (4, None), "that is what it is judged by from now on");
        world.write(1);
        assert_eq!(world.load(Shrink::Hold).unwrap(), (4, Some(1)));
    }

    #[test]
    fn what_is_lost_within_the_share_is_taken_and_what_grows_again_too() {
        let mut world = World::new();
        for (entries, taken) in [(10, true), (5, true), (2, false), (0, false), (3, true), (30, true), (14, false)] {
            world.write(entries);
            let (read, shrunk) = world.load(Shrink::Hold).unwrap();
            assert_eq!((read == entries, shrunk.is_none()), (taken, taken), "{entries}");
        }
    }

    #[test]
    fn without_the_old_content_nothing_is_taken_in_its_place() {
        let mut world = World::new();
        world.write(10);
        world.load(Shrink::Hold).unwrap();
        let kept = world.folder.path().join("state/sources").join(&world.sources.provenance()[0].sha256);
        world.write(1);
        for change in ["192.0.2.1\n", ""] {
            if change.is_empty() {
                fs::remove_file(&kept).unwrap()
            } else {
                fs::write(&kept, change).unwrap()
            }
            world.restart();
            let error = world.load(Shrink::Hold).unwrap_err();
            assert!(error.to_string().ends_with("list.txt has 1 entries, and had 10 when it was last used"), "{error}");
            assert!(error.way_out().contains("--accept-shrink"));
        }
    }

    #[test]
    fn a_directory_that_cannot_be_written_to_keeps_nothing_from_being_loaded() {
        let mut world = World::new();
        fs::write(world.folder.path().join("state"), "a file").unwrap();
        world.restart();
        world.write(10);
        assert_eq!(world.load(Shrink::Hold).unwrap(), (10, None));
        world.write(1);
        assert!(world.load(Shrink::Hold).is_err(), "it is remembered all the same for as long as the agent runs");
    }
}
