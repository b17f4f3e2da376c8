//! Domains and lists of them become sets of names.

use std::sync::Arc;

use super::Resolver;
use crate::policy::model::Domains;
use crate::policy::name_set::NameSet;
use crate::policy::schema::{Destination, DomainListFile, Placed};

impl Resolver<'_> {
    pub(super) fn domains(&mut self, destination: &Destination) -> Domains {
        let Destination { domains, domain_lists, learned, .. } = destination;
        let mut sets = Vec::new();
        if !domains.is_empty() {
            sets.push(Arc::new(domains.iter().map(|domain| domain.value.clone()).collect()));
        }
        for list in domain_lists {
            sets.extend(self.domain_list(list));
        }
        Domains { sets, learned: *learned }
    }

    fn domain_list(&mut self, list: &Placed<DomainListFile>) -> Option<Arc<NameSet>> {
        let Placed { place, value: file } = list;
        if let Some(set) = self.domain_lists.get(file) {
            return Some(set.clone());
        }
        let list = match self.sources.domain_list(&file.path, file.format) {
            Ok(list) => list,
            Err(error) => {
                self.unusable(place, &error);
                return None;
            }
        };
        if list.names.is_empty() {
            self.problems.warning(place, "this domain list names nothing").hint("fill it, or remove it from here");
        } else if let Some((message, hint)) = list.left_out.warning() {
            self.problems.warning(place, message).hint(hint);
        }
        Some(self.domain_lists.entry(file.clone()).or_insert(list.names.clone()).clone())
    }
}

#[cfg(test)]
mod tests;
