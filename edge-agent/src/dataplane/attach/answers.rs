//! Hangs the program that reads DNS answers on the egress of inside interfaces: by links like those of XDP, or, where the kernel has
//! none, as filters. Others' programs there go on as they are: ours comes first and leaves the decision to them.

use std::collections::HashSet;
use std::os::fd::AsFd;

use aya::programs::links::{FdLink, LinkOrder};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::{ProgramError, ProgramFd, TcAttachType};

use super::netlink::Refused;
use super::plan::{self, PinnedLink, Target};
use super::{Replaced, filter, link, outcome, reasons, settle};
use crate::dataplane::WantedInterface;
use crate::dataplane::error::Error;
use crate::dataplane::interfaces::Interface;
use crate::dataplane::object::{ANSWERS_PROGRAM, Object};
use crate::dataplane::pins::{FilterNote, LinkName, Pins};
use crate::dataplane::snapshot::Role;

/// How the program hangs on an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// By a link that is pinned (Linux 6.6).
    Links,
    /// As a filter of the qdisc `clsact`.
    Filters,
}

/// What to do so that each inside interface that exists carries the program, and no other one does.
#[derive(Debug)]
pub struct Plan {
    links: plan::Plan,
    filters: Filters,
}

#[derive(Debug)]
struct Filters {
    add: Vec<Target>,
    replace: Vec<Target>,
    remove: Vec<FilterNote>,
}

impl Plan {
    /// `way`: none if the program is wanted nowhere.
    pub fn new(way: Option<Way>, wanted: &[WantedInterface], interfaces: &[Interface], pins: &Pins) -> Result<Self, Error> {
        let inside: Vec<_> = wanted.iter().filter(|interface| interface.role == Role::Inside).cloned().collect();
        let by = |this: Way| if way == Some(this) { inside.as_slice() } else { &[] };
        let links = plan::Plan::new(by(Way::Links), interfaces, &links(pins)?);
        let targets = plan::Plan::new(by(Way::Filters), interfaces, &[]).attach;
        let mut filters = Filters { add: vec![], replace: vec![], remove: pins.filters()? };
        filters.remove.retain(|note| targets.iter().all(|target| target.index != note.index));
        for target in targets {
            let there = filter::program(target.index).map_err(|refused| failed(&target, &refused))?.is_some();
            if there { &mut filters.replace } else { &mut filters.add }.push(target);
        }
        Ok(Self { links, filters })
    }

    /// Interfaces that get the program and have none of ours.
    pub fn attach(&self) -> impl Iterator<Item = &str> {
        let Self { links, filters } = self;
        links.attach.iter().chain(&filters.add).map(|target| target.name.interface.as_str())
    }
}

/// Whether the generation in force reads answers, as far as its pins tell.
pub fn noted(pins: &Pins) -> Result<bool, Error> {
    Ok(!pins.answers_links()?.is_empty() || !pins.filters()?.is_empty())
}

/// Indices of the interfaces that have the program.
pub fn hung(pins: &Pins) -> Result<HashSet<u32>, Error> {
    let mut hung: HashSet<u32> = links(pins)?.into_iter().map(|link| link.index).filter(|index| *index != 0).collect();
    for FilterNote { index, own_qdisc: _ } in pins.filters()? {
        let reason =
            |refused: Refused| Error::Answers { interface: format!("the interface of index {index}"), reason: refused.to_string() };
        if filter::program(index).map_err(reason)?.is_some() {
            hung.insert(index);
        }
    }
    Ok(hung)
}

fn links(pins: &Pins) -> Result<Vec<PinnedLink>, Error> {
    let links = pins.answers_links()?.into_iter();
    links.map(|name| Ok(PinnedLink { index: link::facts(&pins.answers_link(&name))?.index, name })).collect()
}

/// What was done of a plan, until it is settled or undone.
#[derive(Debug)]
pub struct Hung<'a> {
    plan: &'a Plan,
    pins: &'a Pins,
    /// Dropped, an unpinned link detaches.
    attached: Vec<(FdLink, &'a Target)>,
    updated: Vec<(&'a LinkName, &'a Target)>,
    added: Vec<&'a Target>,
    replaced: Vec<&'a Target>,
}

/// Carries `plan` out with the program of `new`, but for what is removed. New interfaces first, since only they are likely to fail.
///
/// # Errors
/// Then everything is undone, as by [`Hung::undo`].
pub fn hang<'a>(plan: &'a Plan, pins: &'a Pins, new: &mut Object, old: Option<&mut Object>) -> Result<Hung<'a>, Error> {
    let mut hung = Hung { plan, pins, attached: vec![], updated: vec![], added: vec![], replaced: vec![] };
    match hung.hang(new) {
        Ok(()) => Ok(hung),
        Err(error) => {
            hung.undo(old);
            Err(error)
        }
    }
}

impl Hung<'_> {
    fn hang(&mut self, new: &mut Object) -> Result<(), Error> {
        let Plan { links, filters } = self.plan;
        for target in &links.attach {
            self.attached.push((attach(new, target)?, target));
        }
        for target in &filters.add {
            add(new, self.pins, target)?;
            self.added.push(target);
        }
        for (name, target) in &links.replace {
            match update(new, self.pins, name, target)? {
                Replaced::Yes => self.updated.push((name, target)),
                Replaced::InterfaceGone => {}
            }
        }
        for target in &filters.replace {
            // One that was found without a note, since the BPF file system was mounted anew, is ours all the same.
            self.pins.note_filter(target.index)?;
            match replace(new, target)? {
                Replaced::Yes => self.replaced.push(target),
                Replaced::InterfaceGone => {}
            }
        }
        Ok(())
    }

    /// Takes the program off again, or puts that of `old` back, if there is one. Best effort, after an error that is told anyway.
    pub fn undo(self, old: Option<&mut Object>) {
        let Self { plan: _, pins, attached, updated, added, replaced } = self;
        drop(attached);
        for target in added {
            take_off(pins, target);
        }
        let Some(old) = old.filter(|old| old.reads_answers()) else { return };
        let updated = updated.into_iter().map(|(name, target)| (target, update(old, pins, name, target)));
        let mut results: Vec<_> = updated.collect();
        results.extend(replaced.into_iter().map(|target| (target, replace(old, target))));
        for (target, result) in results {
            if let Err(error) = result {
                tracing::error!(interface = target.name.interface, %error, "DNS answers are read by the new generation's program");
            }
        }
    }

    /// Removes what is not wanted any more, and puts the pins in order.
    ///
    /// # Errors
    /// If one of these fails; the rest is left.
    pub fn settle(self) -> Result<(), Error> {
        let Self { plan: Plan { links, filters }, pins, attached, updated: _, added: _, replaced: _ } = self;
        settle(links, &|name| pins.answers_link(name), attached)?;
        filters.remove.iter().try_for_each(|note| remove_filter(pins, *note))
    }
}

fn attach(object: &mut Object, target: &Target) -> Result<FdLink, Error> {
    let program = object.answers()?;
    let attached = program
        .attach_with_options(&target.name.interface, TcAttachType::Egress, TcAttachOptions::TcxOrder(LinkOrder::first()))
        .and_then(|id| program.take_link(id));
    FdLink::try_from(attached.map_err(|error| failed(target, &reasons(&error)))?).map_err(|error| failed(target, &error))
}

/// `BPF_LINK_UPDATE`, as for XDP.
fn update(object: &mut Object, pins: &Pins, name: &LinkName, target: &Target) -> Result<Replaced, Error> {
    let link = link::open(&pins.answers_link(name))?;
    let link = SchedClassifierLink::try_from(link).map_err(|error| failed(target, &error))?;
    outcome(object.answers()?.attach_to_link(link), target)
}

fn add(object: &mut Object, pins: &Pins, target: &Target) -> Result<(), Error> {
    let program = descriptor(object)?;
    let index = target.index;
    // Noted first: what a crash leaves is found.
    pins.note_filter(index)?;
    let add = || {
        if filter::ensure_qdisc(index).map_err(|refused| failed(target, &refused))? {
            pins.note_qdisc(index)?;
        }
        filter::add(index, program.as_fd()).map_err(|refused| failed(target, &refused))
    };
    add().inspect_err(|_| take_off(pins, target))
}

/// Undoes [`add`]. Best effort, after an error that is told anyway.
fn take_off(pins: &Pins, target: &Target) {
    let note = FilterNote { index: target.index, own_qdisc: pins.owns_qdisc(target.index) };
    if let Err(error) = remove_filter(pins, note) {
        tracing::error!(interface = target.name.interface, %error, "not all of it is undone");
    }
}

fn replace(object: &mut Object, target: &Target) -> Result<Replaced, Error> {
    match filter::replace(target.index, descriptor(object)?.as_fd()) {
        Ok(()) => Ok(Replaced::Yes),
        Err(refused) if refused.code == libc::ENODEV => Ok(Replaced::InterfaceGone),
        Err(refused) => Err(Error::Replace { interface: target.name.interface.clone(), reason: refused.to_string() }),
    }
}

fn descriptor(object: &mut Object) -> Result<&ProgramFd, Error> {
    let unloaded = |error: ProgramError| Error::Program { name: ANSWERS_PROGRAM, source: Box::new(error) };
    object.answers()?.fd().map_err(unloaded)
}

/// Takes the filter off its interface, and the qdisc if it is ours and nobody uses it; then the notes.
///
/// # Errors
/// If the kernel refuses that. An interface that has gone has no filter.
pub fn remove_filter(pins: &Pins, note: FilterNote) -> Result<(), Error> {
    let FilterNote { index, own_qdisc } = note;
    let removed = filter::remove(index).and_then(|()| if own_qdisc { filter::remove_empty_qdisc(index) } else { Ok(()) });
    match removed {
        Err(refused) if refused.code != libc::ENODEV => {
            Err(Error::Answers { interface: format!("the interface of index {index}"), reason: refused.to_string() })
        }
        _ => pins.forget_filter(index),
    }
}

fn failed(target: &Target, reason: &dyn std::fmt::Display) -> Error {
    Error::Answers { interface: target.name.interface.clone(), reason: reason.to_string() }
}
