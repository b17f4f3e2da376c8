//! Which link becomes what: decided from facts alone, before anything is touched.

use std::collections::HashSet;

use crate::dataplane::WantedInterface;
use crate::dataplane::interfaces::Interface;
use crate::dataplane::pins::LinkName;

/// A pinned link as the kernel has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PinnedLink {
    pub name: LinkName,
    /// Index of the interface it holds the program on; 0 once that interface has gone.
    pub index: u32,
}

/// What to do so that each wanted interface that exists carries the program of its role.
#[derive(PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Interfaces without a link.
    pub attach: Vec<Target>,
    /// Links that stay: their program is replaced, and then their pin renamed if the interface has another name or role now.
    pub replace: Vec<(LinkName, Target)>,
    /// Links to remove afterwards: their interface has gone, or is not configured any more.
    pub remove: Vec<LinkName>,
    /// Wanted interfaces that do not exist.
    pub missing: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    pub name: LinkName,
    pub index: u32,
}

impl Plan {
    /// Links are told apart by the index of their interface, not by their name: an interface may be renamed while it is filtered.
    pub fn new(wanted: &[WantedInterface], interfaces: &[Interface], links: &[PinnedLink]) -> Self {
        let mut plan = Self::default();
        let mut kept = HashSet::new();
        for WantedInterface { name, role, mode: _ } in wanted {
            let Some(interface) = interfaces.iter().find(|interface| interface.name == *name) else {
                plan.missing.push(name.clone());
                continue;
            };
            let target = Target { name: LinkName { role: *role, interface: name.clone() }, index: interface.index };
            match links.iter().find(|link| link.index == interface.index) {
                Some(link) => {
                    kept.insert(&link.name);
                    plan.replace.push((link.name.clone(), target));
                }
                None => plan.attach.push(target),
            }
        }
        plan.remove = links.iter().map(|link| &link.name).filter(|name| !kept.contains(name)).cloned().collect();
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::WantedMode;
    use crate::dataplane::snapshot::Role;

    fn wanted(interfaces: &[(Role, &str)]) -> Vec<WantedInterface> {
        let want = |(role, name): &(Role, &str)| WantedInterface { name: (*name).to_owned(), role: *role, mode: WantedMode::Native };
        interfaces.iter().map(want).collect()
    }

    fn existing(interfaces: &[(u32, &str)]) -> Vec<Interface> {
        interfaces.iter().map(|(index, name)| Interface { index: *index, name: (*name).to_owned(), xdp: None }).collect()
    }

    fn name(role: Role, interface: &str) -> LinkName {
        LinkName { role, interface: interface.to_owned() }
    }

    fn target(role: Role, interface: &str, index: u32) -> Target {
        Target { name: name(role, interface), index }
    }

    fn link(role: Role, interface: &str, index: u32) -> PinnedLink {
        PinnedLink { name: name(role, interface), index }
    }

    #[test]
    fn a_link_on_its_interface_is_taken_over_and_a_new_interface_gets_one() {
        let plan = Plan::new(
            &wanted(&[(Role::Inside, "lan"), (Role::Outside, "wan"), (Role::Inside, "usb")]),
            &existing(&[(1, "lo"), (2, "lan"), (3, "wan")]),
            &[link(Role::Inside, "lan", 2)],
        );
        assert_eq!(
            plan,
            Plan {
                attach: vec![target(Role::Outside, "wan", 3)],
                replace: vec![(name(Role::Inside, "lan"), target(Role::Inside, "lan", 2))],
                remove: vec![],
                missing: vec!["usb".to_owned()],
            }
        );
    }

    #[test]
    fn a_link_whose_interface_was_made_anew_is_replaced_by_a_new_one() {
        let plan = Plan::new(&wanted(&[(Role::Inside, "lan")]), &existing(&[(9, "lan")]), &[link(Role::Inside, "lan", 0)]);
        let expected = Plan { attach: vec![target(Role::Inside, "lan", 9)], remove: vec![name(Role::Inside, "lan")], ..Plan::default() };
        assert_eq!(plan, expected);
    }

    #[test]
    fn a_link_that_is_not_configured_any_more_is_removed() {
        let plan = Plan::new(&wanted(&[]), &existing(&[(2, "lan")]), &[link(Role::Inside, "lan", 2)]);
        assert_eq!(plan, Plan { remove: vec![name(Role::Inside, "lan")], ..Plan::default() });
    }

    #[test]
    fn renamed_interfaces_and_changed_roles_keep_their_links() {
        let plan = Plan::new(
            &wanted(&[(Role::Outside, "b"), (Role::Inside, "a")]),
            &existing(&[(2, "b"), (3, "a")]),
            &[link(Role::Inside, "a", 2), link(Role::Outside, "b", 3)],
        );
        assert_eq!(
            plan.replace,
            [(name(Role::Inside, "a"), target(Role::Outside, "b", 2)), (name(Role::Outside, "b"), target(Role::Inside, "a", 3)),]
        );
        assert!(plan.attach.is_empty() && plan.remove.is_empty());
    }
}
