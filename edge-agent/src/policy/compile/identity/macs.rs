//! Classes of MACs where devices are known by more than these.

use std::collections::HashMap;

use edge_ebpf::abi::identity::MacFacts;

use super::{Groups, Numbering};
use crate::policy::compile::rows::RowPool;
use crate::policy::compile::{CompileError, Segments, device_row, of_macs};
use crate::policy::model::{Resolved, SignalId};

/// How each group is known, and what each class of MACs says.
pub type Known = (Groups, Vec<MacFacts>);

/// The classes, each with the row of a device that has shown nothing, and what the class says of a device that has.
pub fn devices(set: &Resolved, numbering: &Numbering, pool: &mut RowPool) -> Result<(Segments<u64>, Known), CompileError> {
    let groups = Groups::of(set, numbering)?;
    let partition = of_macs(set);
    let mut macs: Vec<MacFacts> = Vec::new();
    // Classes of other dimensions may have the same row, but those of MACs have one each.
    let mut classes: HashMap<(u32, MacFacts), u32> = HashMap::new();
    let mut taken: HashMap<u32, MacFacts> = HashMap::new();
    let row_of_class: Vec<u32> = partition
        .classes()
        .map(|members| {
            let has = |signal: SignalId| members.contains(signal.index());
            let facts = groups.mac_facts(set, &has, pool);
            let holds: Vec<bool> = set.groups.iter().map(|group| group.when.holds(&has)).collect();
            let row = device_row(set, &holds);
            let shared = pool.intern(row);
            *classes.entry((shared, facts)).or_insert_with(|| {
                let class = if taken.contains_key(&shared) { pool.append(row) } else { shared };
                taken.insert(class, facts);
                if macs.len() <= class as usize {
                    macs.resize(class as usize + 1, MacFacts::default());
                }
                macs[class as usize] = facts;
                class
            })
        })
        .collect();
    Ok((partition.segments(&row_of_class), (groups, macs)))
}
