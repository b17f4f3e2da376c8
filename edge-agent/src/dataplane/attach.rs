//! Hangs a generation's programs on the interfaces, so that no packet passes unfiltered on the way from one generation to the next.

pub mod answers;
pub mod detach;
pub mod filter;
pub mod link;
mod netlink;
pub mod plan;

use std::fs;
use std::path::{Path, PathBuf};

use aya::programs::ProgramError;
use aya::programs::links::{FdLink, LinkError};
use aya::programs::xdp::{Xdp, XdpLink};

use super::error::Error;
use super::interfaces::Interface;
use super::object::Object;
use super::pins::{LinkName, Pins};
use super::snapshot::XdpMode;
use super::{WantedInterface, WantedMode, vlan};
use plan::{PinnedLink, Plan, Target};

/// Every pinned link with its interface.
pub fn pinned(pins: &Pins) -> Result<Vec<PinnedLink>, Error> {
    pins.links()?
        .into_iter()
        .map(|name| {
            let index = link::facts(&pins.link(&name))?.index;
            Ok(PinnedLink { name, index })
        })
        .collect()
}

/// # Errors
/// If an interface to attach to carries a program already: it is another tool's, and replacing it would break what that does.
pub fn refuse_foreign(plan: &Plan, interfaces: &[Interface]) -> Result<(), Error> {
    for target in &plan.attach {
        let foreign = interfaces.iter().find(|interface| interface.index == target.index).and_then(|interface| interface.xdp);
        if let Some(program) = foreign {
            let name = program_name(program.id).unwrap_or_else(|| "without a name".to_owned());
            return Err(Error::Foreign { interface: target.name.interface.clone(), program: program.id, name, mode: program.mode });
        }
    }
    Ok(())
}

fn program_name(id: u32) -> Option<String> {
    let program = aya::programs::loaded_programs().flatten().find(|program| program.id() == id)?;
    program.name_as_str().map(str::to_owned)
}

/// Carries both plans out with the programs of `new`. Answers first: addresses that they teach hold for both generations.
///
/// # Errors
/// If an interface cannot be attached to, or a link not be updated; then every link holds the program of `old` again, if there is one.
pub fn apply(
    (plan, answers): (&Plan, &answers::Plan),
    wanted: &[WantedInterface],
    pins: &Pins,
    new: &mut Object,
    mut old: Option<&mut Object>,
) -> Result<(), Error> {
    let hung = answers::hang(answers, pins, new, old.as_deref_mut())?;
    let attached = match hang(plan, wanted, pins, new, old.as_deref_mut()) {
        Ok(attached) => attached,
        Err(error) => {
            hung.undo(old);
            return Err(error);
        }
    };
    for settled in [settle(plan, &|name| pins.link(name), attached), hung.settle()] {
        if let Err(error) = settled {
            tracing::error!(%error, "the new generation is in force, but not every pin is where it belongs");
        }
    }
    Ok(())
}

/// New interfaces first, since only they are likely to fail. Returns their links.
fn hang<'a>(
    plan: &'a Plan,
    wanted: &[WantedInterface],
    pins: &Pins,
    new: &mut Object,
    old: Option<&mut Object>,
) -> Result<Vec<(FdLink, &'a Target)>, Error> {
    let mut attached = Vec::with_capacity(plan.attach.len());
    for target in &plan.attach {
        // Dropped on the way out of an error, an unpinned link detaches.
        attached.push((attach(new, target, wanted_mode(wanted, target))?, target));
        warn_of_stripped_tags(&target.name.interface);
    }
    let mut replaced = Vec::with_capacity(plan.replace.len());
    for (name, target) in &plan.replace {
        match replace(new, pins, name, target) {
            Ok(Replaced::Yes) => replaced.push((name, target)),
            Ok(Replaced::InterfaceGone) => tracing::warn!(interface = target.name.interface, "vanished while its program was replaced"),
            Err(error) => {
                restore(&replaced, pins, old);
                return Err(error);
            }
        }
    }
    Ok(attached)
}

/// Puts the pins in order, once every link holds its program. An interface whose link cannot be pinned is let go, which is seen.
fn settle(plan: &Plan, pin: &dyn Fn(&LinkName) -> PathBuf, attached: Vec<(FdLink, &Target)>) -> Result<(), Error> {
    for name in &plan.remove {
        remove(&pin(name), name)?;
    }
    rename(plan, pin)?;
    for (link, target) in attached {
        let path = pin(&target.name);
        link.pin(&path).map_err(|error| Error::io("pin", path)(std::io::Error::other(error)))?;
    }
    Ok(())
}

fn wanted_mode(wanted: &[WantedInterface], target: &Target) -> WantedMode {
    wanted.iter().find(|interface| interface.name == target.name.interface).map_or(WantedMode::Native, |interface| interface.mode)
}

fn attach(object: &mut Object, target: &Target, wanted: WantedMode) -> Result<FdLink, Error> {
    let interface = &target.name.interface;
    let program = object.program(target.name.role)?;
    let native = match wanted {
        WantedMode::Generic => return attach_in(program, target, XdpMode::Generic),
        WantedMode::Native | WantedMode::NativeOrGeneric => attach_in(program, target, XdpMode::Native),
    };
    match native {
        Err(Error::Attach { reason, .. }) if wanted == WantedMode::NativeOrGeneric => {
            tracing::warn!(interface, reason, "the driver does not take the program natively: attaching in generic mode, which is slower");
            attach_in(program, target, XdpMode::Generic)
        }
        Err(Error::Attach { interface, reason, .. }) => Err(Error::NoNative { interface, reason }),
        other => other,
    }
}

fn attach_in(program: &mut Xdp, target: &Target, mode: XdpMode) -> Result<FdLink, Error> {
    let failed = |reason: String| Error::Attach { interface: target.name.interface.clone(), mode, reason };
    let flags = match mode {
        XdpMode::Native => aya::programs::xdp::XdpMode::Driver,
        XdpMode::Generic => aya::programs::xdp::XdpMode::Skb,
    };
    let id = program.attach_to_if_index(target.index, flags).map_err(|error| failed(reasons(&error)))?;
    let link = program.take_link(id).map_err(|error| failed(error.to_string()))?;
    // Before Linux 5.9 there are no XDP links, and aya attaches over netlink: that would end with the agent and cannot be pinned.
    FdLink::try_from(link).map_err(|_| failed("this kernel has no BPF links for XDP; Linux 5.9 and later have".to_owned()))
}

fn warn_of_stripped_tags(interface: &str) {
    match vlan::strips_tags(interface) {
        Ok(true) => tracing::warn!(
            interface,
            "takes VLAN tags out of frames before the program sees them: tagged frames are filtered all the same, but answers to \
             rejected ones go out untagged; turn it off with `ethtool -K {interface} rxvlan off`"
        ),
        Ok(false) => {}
        Err(error) => tracing::debug!(interface, %error, "does not tell whether it takes VLAN tags out of frames"),
    }
}

/// The kernel does not change the mode of a link, and takes no second program while it is there.
pub fn warn_of_other_modes(plan: &Plan, wanted: &[WantedInterface], interfaces: &[Interface]) {
    for (_, target) in &plan.replace {
        let in_force = interfaces.iter().find(|interface| interface.index == target.index).and_then(|interface| interface.xdp);
        let Some(mode) = in_force.map(|program| program.mode) else { continue };
        let other = match wanted_mode(wanted, target) {
            WantedMode::Native => mode == XdpMode::Generic,
            WantedMode::Generic => mode == XdpMode::Native,
            WantedMode::NativeOrGeneric => false,
        };
        if other {
            tracing::warn!(
                interface = target.name.interface,
                mode = mode.name(),
                "stays in the mode it was attached in, and not the configured one; to change it, `edge-agent detach` and start the agent"
            );
        }
    }
}

/// An error with everything below it: aya's own text leaves the kernel's reason to `source`.
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let line = error.to_string();
        if !text.contains(&line) {
            text = format!("{text}: {line}");
        }
        cause = error.source();
    }
    text
}

enum Replaced {
    Yes,
    InterfaceGone,
}

/// `BPF_LINK_UPDATE`: each packet sees the old program or the new one.
fn replace(object: &mut Object, pins: &Pins, name: &LinkName, target: &Target) -> Result<Replaced, Error> {
    let failed = |error: LinkError| Error::Replace { interface: target.name.interface.clone(), reason: error.to_string() };
    let link = XdpLink::try_from(link::open(&pins.link(name))?).map_err(failed)?;
    outcome(object.program(target.name.role)?.attach_to_link(link), target)
}

/// Of an update of the link on `target`.
fn outcome<T>(updated: Result<T, ProgramError>, target: &Target) -> Result<Replaced, Error> {
    match updated {
        Ok(_) => Ok(Replaced::Yes),
        Err(ProgramError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOLINK) => Ok(Replaced::InterfaceGone),
        Err(error) => Err(Error::Replace { interface: target.name.interface.clone(), reason: reasons(&error) }),
    }
}

/// Best effort, after an error that is told anyway.
fn restore(replaced: &[(&LinkName, &Target)], pins: &Pins, old: Option<&mut Object>) {
    let Some(old) = old else { return };
    for (name, _) in replaced {
        let before = Target { name: (*name).clone(), index: 0 };
        if let Err(error) = replace(old, pins, name, &before) {
            tracing::error!(interface = name.interface, %error, "this interface already has the new generation, and keeps it");
        }
    }
}

fn remove(path: &Path, name: &LinkName) -> Result<(), Error> {
    tracing::info!(
        interface = name.interface,
        role = name.role.name(),
        "removing the link: the interface has gone or is not configured any more"
    );
    detach::detach(path).map_err(Error::io("detach the link", path))?;
    fs::remove_file(path).map_err(Error::io("remove", path))
}

/// Two interfaces may have swapped names, and a pin that another is renamed to would be lost: so all step aside first.
fn rename(plan: &Plan, pin: &dyn Fn(&LinkName) -> PathBuf) -> Result<(), Error> {
    let moving: Vec<_> = plan.replace.iter().filter(|(name, target)| *name != target.name).collect();
    // Longer than an interface's name can be (`IFNAMSIZ`), but a link's name: what a crash leaves is found by its interface's index.
    let aside = |target: &Target| LinkName { role: target.name.role, interface: format!("moving-to-index-{}", target.index) };
    let steps = moving.iter().map(|(name, target)| (name.clone(), aside(target)));
    let steps = steps.chain(moving.iter().map(|(_, target)| (aside(target), target.name.clone())));
    for (from, to) in steps {
        fs::rename(pin(&from), pin(&to)).map_err(Error::io("rename", pin(&from)))?;
    }
    Ok(())
}
