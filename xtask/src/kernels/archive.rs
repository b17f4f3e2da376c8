//! Kernels out of the Debian archive, by a private apt: its sources, lists and cache are in a directory of our own, the mirror is the one
//! that this machine uses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::output;
use crate::setup::cache_dir;

/// The metapackage of the kernels for virtual machines, which are small and can do all that ours needs.
const NEWEST: &str = "linux-image-cloud-amd64";
/// Where the archive's keys are, on Debian and where its keyring package is installed.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

pub struct Archive {
    mirror: String,
}

impl Archive {
    /// # Errors
    /// If this machine's apt knows no Debian archive.
    pub fn find() -> Result<Self> {
        let format = "$(ORIGIN)|$(LABEL)|$(REPO_URI)";
        let targets = output(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))?;
        let mirror = targets.lines().find_map(|line| line.strip_prefix("Debian|Debian|"));
        let mirror = mirror.context("no Debian archive is among this machine's apt sources, or `apt-get update` was never run")?;
        Ok(Self { mirror: mirror.to_owned() })
    }

    /// The newest kernel of a suite; downloaded, unless that very one was before.
    pub fn kernel(&self, suite: &str) -> Result<PathBuf> {
        let cache = cache_dir().context("neither XDG_CACHE_HOME nor HOME is set: set one of them, kernels are kept there")?.join("kernels");
        let apt = PrivateApt::new(cache.join("apt").join(suite), &self.mirror, suite)?;
        let wanted = apt.kernel_package().with_context(|| format!("no kernel in Debian {suite}"))?;
        let kernel = cache.join(format!("{}_{}", wanted.package, wanted.version));
        if !kernel.exists() {
            println!("kernels: fetching {} {}", wanted.package, wanted.version);
            apt.fetch(&wanted, &kernel)?;
        }
        Ok(kernel)
    }
}

/// A package, as apt knows it.
struct Wanted {
    package: String,
    version: String,
}

struct PrivateApt {
    root: PathBuf,
    configuration: PathBuf,
}

impl PrivateApt {
    /// Brings the suite's list of packages up to date.
    fn new(root: PathBuf, mirror: &str, suite: &str) -> Result<Self> {
        let inside = |path: &str| root.join(path).display().to_string();
        for directory in ["lists/partial", "cache/archives/partial", "parts"] {
            fs::create_dir_all(inside(directory)).with_context(|| format!("cannot make {}", inside(directory)))?;
        }
        let sources = format!("deb [arch=amd64 signed-by={KEYRING}] {mirror} {suite} main\n");
        // The machine's own settings stay, for its proxies; its hooks and its sandbox, which cannot write here, do not.
        let configuration = [
            format!("Dir::State::lists \"{}\";", inside("lists")),
            format!("Dir::State::status \"{}\";", inside("status")),
            format!("Dir::Cache \"{}\";", inside("cache")),
            format!("Dir::Etc::sourcelist \"{}\";", inside("sources.list")),
            format!("Dir::Etc::sourceparts \"{}\";", inside("parts")),
            format!("Dir::Etc::preferences \"{}\";", inside("preferences")),
            format!("Dir::Etc::preferencesparts \"{}\";", inside("parts")),
            "APT::Architecture \"amd64\";".to_owned(),
            "APT::Sandbox::User \"root\";".to_owned(),
            "#clear APT::Update::Post-Invoke;".to_owned(),
            "#clear APT::Update::Post-Invoke-Success;".to_owned(),
            "#clear Acquire::IndexTargets::deb::DEP-11;".to_owned(),
            "Acquire::Languages \"none\";\n".to_owned(),
        ];
        let configuration = configuration.join("\n");
        for (name, text) in [("sources.list", sources.as_str()), ("status", ""), ("apt.conf", &configuration)] {
            fs::write(inside(name), text).with_context(|| format!("cannot write {}", inside(name)))?;
        }
        let apt = Self { configuration: root.join("apt.conf"), root };
        output(apt.command("apt-get").args(["-qq", "--error-on=any", "update"]))
            .with_context(|| format!("Debian {suite} cannot be had from {mirror}"))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("--config-file").arg(&self.configuration).current_dir(&self.root);
        command
    }

    /// The package with the kernel's image. It depends on tools that make an initramfs; ours is made elsewhere.
    fn kernel_package(&self) -> Result<Wanted> {
        let image = self.dependency(NEWEST, "linux-image-")?.with_context(|| format!("{NEWEST} depends on no kernel"))?;
        // Since 7.2 the image is a package of its own, on which the one with the old name depends.
        let package = self.dependency(&image, "linux-binary-")?.unwrap_or(image);
        let policy = output(self.command("apt-cache").args(["policy", &package]))?;
        let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
        let version = version.with_context(|| format!("{package} has no version"))?.to_owned();
        Ok(Wanted { package, version })
    }

    fn dependency(&self, package: &str, prefix: &str) -> Result<Option<String>> {
        let depends = output(self.command("apt-cache").args(["depends", "--important", package]))?;
        let names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(names.map(str::to_owned).find(|name| name.starts_with(prefix)))
    }

    /// Downloads the package and keeps its kernel at `kernel`, whole or not at all.
    fn fetch(&self, Wanted { package, version }: &Wanted, kernel: &Path) -> Result<()> {
        let unpacked = self.root.join("unpacked");
        if unpacked.exists() {
            fs::remove_dir_all(&unpacked).with_context(|| format!("cannot remove {}", unpacked.display()))?;
        }
        fs::create_dir(&unpacked).with_context(|| format!("cannot make {}", unpacked.display()))?;
        output(self.command("apt-get").args(["-qq", "download", &format!("{package}={version}")]).current_dir(&unpacked))?;
        let archive = find(&unpacked, |name| name.ends_with(".deb"))?;
        output(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&unpacked))?;
        let image = find(&unpacked, |name| name.starts_with("vmlinuz"))?;
        fs::rename(&image, kernel).with_context(|| format!("cannot move {} to {}", image.display(), kernel.display()))?;
        fs::remove_dir_all(&unpacked).with_context(|| format!("cannot remove {}", unpacked.display()))
    }
}

/// The file below `directory` whose name is wanted.
fn find(directory: &Path, is_wanted: fn(&str) -> bool) -> Result<PathBuf> {
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("cannot read {}", next.display()))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() && entry.file_name().to_str().is_some_and(is_wanted) {
                return Ok(entry.path());
            }
        }
    }
    bail!("the package has not the file that is expected in it")
}
