//! Notices that files which the policies are made of have changed.
//!
//! Folders are watched and not files: editors and configuration managers replace files, and a watch on a file dies with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::state::lock;

/// Files are taken as they are once nothing has changed for this long…
const QUIET: Duration = Duration::from_millis(300);
/// … or once the first change is this old.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is watched for changes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Watched {
    /// Folders with everything below them.
    pub folders: BTreeSet<PathBuf>,
    pub files: BTreeSet<PathBuf>,
}

impl Watched {
    /// The folders, and those that the folders and files are in: there it shows that one of them is replaced.
    fn directories(&self) -> BTreeSet<PathBuf> {
        let Self { folders, files } = self;
        let parents = folders.iter().chain(files).filter_map(|path| path.parent()).map(Path::to_owned);
        parents.chain(folders.iter().cloned()).collect()
    }

    /// Whether a change of this path may change the policies.
    fn concerns(&self, path: &Path) -> bool {
        // Swap files and the like of editors; `..data` is how Kubernetes replaces a mounted folder's contents.
        let hidden = path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.ends_with('~') || name.starts_with('.') && !name.starts_with("..")
        });
        self.files.contains(path) || !hidden && self.folders.iter().any(|folder| path.starts_with(folder))
    }
}

/// Watches until it is dropped.
pub struct FileWatch {
    watcher: RecommendedWatcher,
    watched: Arc<Mutex<Watched>>,
    active: BTreeSet<PathBuf>,
    changes: mpsc::Receiver<()>,
    /// The first change that was not yet told of.
    since: Option<Instant>,
}

impl FileWatch {
    /// # Errors
    /// If the kernel gives no inotify instance.
    pub fn new() -> notify::Result<Self> {
        let watched = Arc::new(Mutex::new(Watched::default()));
        let (sender, changes) = mpsc::channel(1);
        let of_interest = Arc::clone(&watched);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let concerned = match event {
                // Reading the files is an event, too.
                Ok(event) => {
                    matches!(event.kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_))
                        && event.paths.iter().any(|path| lock(&of_interest).concerns(path))
                        || event.need_rescan()
                }
                // Events were lost: something has changed.
                Err(_) => true,
            };
            if concerned {
                // Full: a change is already waiting to be seen.
                let _ = sender.try_send(());
            }
        })?;
        Ok(Self { watcher, watched, active: BTreeSet::new(), changes, since: None })
    }

    /// Watches these from now on. What cannot be watched (it does not exist, or the kernel's limit is reached) is logged.
    pub fn watch(&mut self, watched: Watched) {
        let now = watched.directories();
        for gone in self.active.difference(&now) {
            if let Err(error) = self.watcher.unwatch(gone) {
                tracing::debug!(folder = %gone.display(), %error, "was not watched any more");
            }
        }
        for folder in &now {
            let mode = if watched.folders.contains(folder) { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
            // Also where it is watched already: it may have been replaced by another folder of this name.
            if let Err(error) = self.watcher.watch(folder, mode) {
                tracing::warn!(folder = %folder.display(), %error, "not watched for changes; after one, run `edge-agent reload`");
            }
        }
        self.active = now;
        *lock(&self.watched) = watched;
    }

    /// Returns once something has changed and then been left alone for a while. Dropped before, nothing is lost: the next call goes on.
    pub async fn changed(&mut self) {
        let since = match self.since {
            Some(since) => since,
            None => {
                if self.changes.recv().await.is_none() {
                    // The watcher has gone, and with it any reason to return.
                    std::future::pending::<()>().await;
                }
                *self.since.insert(Instant::now())
            }
        };
        while let Ok(Some(())) = timeout_at((since + PATIENCE).min(Instant::now() + QUIET), self.changes.recv()).await {}
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn in_folder(folder: &Path) -> FileWatch {
        let mut watch = FileWatch::new().expect("inotify");
        let policies = folder.join("policies");
        fs::create_dir_all(&policies).expect("a folder");
        fs::write(folder.join("list.txt"), "1\n").expect("a file");
        watch.watch(watched(folder));
        watch
    }

    fn watched(folder: &Path) -> Watched {
        Watched { folders: [folder.join("policies")].into(), files: [folder.join("list.txt")].into() }
    }

    async fn notices(watch: &mut FileWatch) -> bool {
        tokio::time::timeout(Duration::from_secs(2), watch.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn new_replaced_and_removed_files_are_noticed_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watch = in_folder(folder.path());
        let deep = folder.path().join("policies/new");
        fs::create_dir(&deep).expect("a folder");
        assert!(notices(&mut watch).await);
        fs::write(deep.join("a.yaml"), "x").expect("a file");
        fs::write(deep.join("b.yaml"), "x").expect("a file");
        assert!(notices(&mut watch).await);
        assert!(!notices(&mut watch).await, "two files of one moment are one change");

        fs::write(folder.path().join("list.new"), "2\n").expect("a file");
        fs::rename(folder.path().join("list.new"), folder.path().join("list.txt")).expect("renamed");
        assert!(notices(&mut watch).await);
        fs::remove_file(deep.join("a.yaml")).expect("removed");
        assert!(notices(&mut watch).await);
    }

    #[tokio::test]
    async fn a_folder_that_is_replaced_is_watched_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watch = in_folder(folder.path());
        let policies = folder.path().join("policies");
        fs::remove_dir(&policies).expect("removed");
        assert!(notices(&mut watch).await);
        fs::create_dir(&policies).expect("a folder");
        assert!(notices(&mut watch).await);
        // As the agent does after each attempt to load.
        watch.watch(watched(folder.path()));
        fs::write(policies.join("a.yaml"), "x").expect("a file");
        assert!(notices(&mut watch).await);
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_loses_no_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watch = in_folder(folder.path());
        fs::write(folder.path().join("list.txt"), "2\n").expect("a file");
        let given_up = tokio::time::timeout(QUIET / 2, watch.changed()).await;
        assert!(given_up.is_err(), "it has not been quiet for long enough");
        assert!(notices(&mut watch).await);
    }

    #[tokio::test]
    async fn neighbours_swap_files_and_reading_are_not_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watch = in_folder(folder.path());
        fs::write(folder.path().join("unrelated.txt"), "x").expect("a file");
        fs::write(folder.path().join("policies/.a.yaml.swp"), "x").expect("a file");
        fs::read(folder.path().join("list.txt")).expect("read");
        assert!(!notices(&mut watch).await);
    }
}
