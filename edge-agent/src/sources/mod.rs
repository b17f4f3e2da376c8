//! Data files that policies refer to: read when first needed, kept until the file changes, shared by all generations.

pub mod by_key;
pub mod country;
pub mod domain_list;
pub mod file;
pub mod guard;
pub mod mmdb;
pub mod oui;
mod packed;
pub mod prefix_list;
pub mod services;
mod store;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use country::Countries;
use domain_list::{DomainList, Format};
use file::{Cached, Provenance, SourceError};
use guard::{Guard, Shrink};
use mmdb::Asns;
use oui::Registry;
use services::ServiceNames;

use crate::config::{Share, SourceFiles};
use crate::policy::model::AddressSet;
use crate::policy::problem::Problems;

/// All data files of one agent.
pub struct Sources {
    files: SourceFiles,
    guard: Guard,
    registry: Vec<Cached<Registry>>,
    countries: Option<Cached<Countries>>,
    asns: Option<Cached<Asns>>,
    services: Option<Cached<ServiceNames>>,
    lists: HashMap<PathBuf, Cached<Arc<AddressSet>>>,
    domain_lists: HashMap<(PathBuf, Option<Format>), Cached<Arc<DomainList>>>,
}

impl Sources {
    /// Reads nothing yet.
    pub fn new(files: SourceFiles) -> Self {
        Self::guarded(files, Guard::default())
    }

    /// The same, but a file that lost too much since it was last used is not taken.
    pub fn guarded(files: SourceFiles, guard: Guard) -> Self {
        Self {
            files,
            guard,
            registry: Vec::new(),
            countries: None,
            asns: None,
            services: None,
            lists: HashMap::new(),
            domain_lists: HashMap::new(),
        }
    }

    /// What holds from the next file on that is read.
    pub fn configure(&mut self, files: &SourceFiles, max_shrink: Share, shrink: Shrink) {
        self.guard.configure(max_shrink, shrink);
        if self.files != *files {
            *self = Self::guarded(files.clone(), std::mem::take(&mut self.guard));
        }
    }

    /// Notes that what was read is in force: it is what a later content of the same file is judged by.
    pub fn note_used(&mut self) {
        let files = self.provenance();
        self.guard.note_used(&files);
    }

    /// Forgets the files that have changed since they were read, and those whose content was not taken.
    pub fn refresh(&mut self) {
        let Self { files: _, guard: _, registry, countries, asns, services, lists, domain_lists } = self;
        if !registry.iter().all(Cached::is_current) {
            registry.clear();
        }
        countries.take_if(|cached| !cached.is_current());
        asns.take_if(|cached| !cached.is_current());
        services.take_if(|cached| !cached.is_current());
        lists.retain(|_, cached| cached.is_current());
        domain_lists.retain(|_, cached| cached.is_current());
    }

    /// The IEEE registry, one part for each file.
    pub fn registry(&mut self) -> Result<&[Cached<Registry>], SourceError> {
        if self.registry.is_empty() {
            let Self { files, guard, .. } = self;
            self.registry = files.vendors.iter().map(|path| guard.read(|at| oui::read(at.of(path)))).collect::<Result<_, _>>()?;
        }
        Ok(&self.registry)
    }

    pub fn countries(&mut self) -> Result<&mut Countries, SourceError> {
        let cached = match self.countries.take() {
            Some(cached) => cached,
            None => {
                let SourceFiles { countries_v4, countries_v6, countries_mmdb, .. } = &self.files;
                self.guard.read(|at| match countries_mmdb {
                    Some(file) => mmdb::countries(at.of(file)),
                    None => country::read(at.of(countries_v4), at.of(countries_v6)),
                })?
            }
        };
        Ok(&mut self.countries.insert(cached).value)
    }

    pub fn asns(&mut self) -> Result<&mut Asns, SourceError> {
        let cached = match self.asns.take() {
            Some(cached) => cached,
            None => {
                let file = self.files.asns.as_ref().ok_or(SourceError::NotConfigured {
                    what: "the ASNs of addresses",
                    way_out: "set `sources.asns` in agent.yaml to an ASN database, such as GeoLite2-ASN.mmdb",
                })?;
                self.guard.read(|at| mmdb::asns(at.of(file)))?
            }
        };
        Ok(&mut self.asns.insert(cached).value)
    }

    pub fn services(&mut self) -> Result<&ServiceNames, SourceError> {
        let cached = match self.services.take() {
            Some(cached) => cached,
            None => self.guard.read(|at| services::read(at.of(&self.files.services)))?,
        };
        Ok(&self.services.insert(cached).value)
    }

    /// The addresses of a prefix list. Lines that are wrong become problems and are left out.
    pub fn prefix_list(&mut self, path: &Path, problems: &mut Problems) -> Result<Arc<AddressSet>, SourceError> {
        if let Some(cached) = self.lists.get(path) {
            return Ok(cached.value.clone());
        }
        let before = problems.errors();
        let cached = self.guard.read(|at| prefix_list::read(at.of(path), problems))?;
        let set = cached.value.clone();
        // A list with problems is read again, so that they are reported again.
        if problems.errors() == before {
            self.lists.insert(path.to_owned(), cached);
        }
        Ok(set)
    }

    /// The names of a domain list, and what of it was left out. Without a format the file tells it.
    pub fn domain_list(&mut self, path: &Path, format: Option<Format>) -> Result<Arc<DomainList>, SourceError> {
        let key = (path.to_owned(), format);
        if let Some(cached) = self.domain_lists.get(&key) {
            return Ok(cached.value.clone());
        }
        let cached = self.guard.read(|at| domain_list::read(at.of(path), format))?;
        Ok(self.domain_lists.entry(key).or_insert(cached).value.clone())
    }

    /// The domain lists that were read, by path.
    pub fn domain_lists(&self) -> Vec<(&Path, &DomainList)> {
        let mut all: Vec<_> = self.domain_lists.iter().map(|((path, _), cached)| (path.as_path(), cached.value.as_ref())).collect();
        all.sort_by_key(|(path, list)| (*path, list.format.name()));
        all
    }

    /// What was read, and of when it is.
    pub fn provenance(&self) -> Vec<Provenance> {
        let Self { files: _, guard: _, registry, countries, asns, services, lists, domain_lists } = self;
        let mut all: Vec<Provenance> = Vec::new();
        all.extend(registry.iter().flat_map(|cached| cached.files.iter().cloned()));
        all.extend(countries.iter().flat_map(|cached| cached.files.iter().cloned()));
        all.extend(asns.iter().flat_map(|cached| cached.files.iter().cloned()));
        all.extend(services.iter().flat_map(|cached| cached.files.iter().cloned()));
        let first_list = all.len();
        all.extend(lists.values().flat_map(|cached| cached.files.iter().cloned()));
        all.extend(domain_lists.values().flat_map(|cached| cached.files.iter().cloned()));
        all[first_list..].sort_by(|a, b| a.path.cmp(&b.path));
        all
    }
}
