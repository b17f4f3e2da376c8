//! What the kernel says of the interfaces of this network namespace: facts that attaching decides by.

use std::net::IpAddr;

use futures_util::stream::{Stream, StreamExt};
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{LinkAttribute, LinkXdp, XdpAttached};

use super::error::Error;
use super::snapshot::XdpMode;

/// One interface as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    pub index: u32,
    pub name: String,
    /// The XDP program on it, whoever attached it.
    pub xdp: Option<AttachedProgram>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AttachedProgram {
    /// The kernel's id of the program.
    pub id: u32,
    pub mode: XdpMode,
}

/// A connection to the kernel's routing socket, in the network namespace of the thread that opened it.
pub struct Interfaces {
    handle: rtnetlink::Handle,
    connection: tokio::task::JoinHandle<()>,
}

impl Interfaces {
    /// # Errors
    /// If the kernel refuses the socket.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open() -> Result<Self, Error> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(Error::NetlinkSocket)?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }

    /// Every interface, in the kernel's order.
    pub async fn all(&self) -> Result<Vec<Interface>, Error> {
        let messages = collect(self.handle.link().get().execute()).await?;
        Ok(messages
            .into_iter()
            .filter_map(|message| {
                let name = message.attributes.iter().find_map(|attribute| match attribute {
                    LinkAttribute::IfName(name) => Some(name.clone()),
                    _ => None,
                })?;
                let xdp = message.attributes.iter().find_map(|attribute| match attribute {
                    LinkAttribute::Xdp(xdp) => attached(xdp),
                    _ => None,
                });
                Some(Interface { index: message.header.index, name, xdp })
            })
            .collect())
    }

    /// The host's own addresses, sorted, each once.
    pub async fn own_addresses(&self) -> Result<Vec<IpAddr>, Error> {
        let messages = collect(self.handle.address().get().execute()).await?;
        let mut addresses: Vec<IpAddr> = messages.iter().filter_map(|message| own_address(&message.attributes)).collect();
        addresses.sort_unstable();
        addresses.dedup();
        Ok(addresses)
    }
}

impl Drop for Interfaces {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

async fn collect<T>(answers: impl Stream<Item = Result<T, rtnetlink::Error>>) -> Result<Vec<T>, Error> {
    let answers: Vec<_> = answers.collect().await;
    answers.into_iter().collect::<Result<_, _>>().map_err(|error| Error::Netlink(Box::new(error)))
}

/// On a point-to-point link `IFA_ADDRESS` is the peer's, and `IFA_LOCAL` the host's (`linux/if_addr.h`).
fn own_address(attributes: &[AddressAttribute]) -> Option<IpAddr> {
    let local = attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

fn attached(xdp: &[LinkXdp]) -> Option<AttachedProgram> {
    let mut mode = None;
    let (mut only, mut driver, mut generic) = (None, None, None);
    for attribute in xdp {
        match attribute {
            LinkXdp::Attached(XdpAttached::None) => return None,
            LinkXdp::Attached(XdpAttached::SocketBuffer) => mode = Some(XdpMode::Generic),
            LinkXdp::Attached(_) => mode = Some(XdpMode::Native),
            LinkXdp::ProgId(id) => only = Some(*id),
            LinkXdp::DrvProgId(id) => driver = Some(*id),
            LinkXdp::SkbProgId(id) => generic = Some(*id),
            _ => {}
        }
    }
    // The kernel leaves the plain id out where there is a program in more than one mode; the driver's runs first.
    let id = only.or(driver).or(generic)?;
    Some(AttachedProgram { id, mode: mode? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_on_an_interface_is_told_with_its_mode() {
        let seen = |xdp: &[LinkXdp]| attached(xdp).map(|program| (program.id, program.mode));
        assert_eq!(seen(&[LinkXdp::Attached(XdpAttached::None)]), None);
        assert_eq!(seen(&[LinkXdp::Attached(XdpAttached::Driver), LinkXdp::ProgId(7)]), Some((7, XdpMode::Native)));
        assert_eq!(seen(&[LinkXdp::Attached(XdpAttached::SocketBuffer), LinkXdp::ProgId(8)]), Some((8, XdpMode::Generic)));
        let both = [LinkXdp::Attached(XdpAttached::Multiple), LinkXdp::SkbProgId(1), LinkXdp::DrvProgId(2)];
        assert_eq!(seen(&both), Some((2, XdpMode::Native)));
    }

    #[test]
    fn on_a_point_to_point_link_the_own_address_is_not_the_peers() {
        let (own, peer) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert_eq!(own_address(&[AddressAttribute::Address(peer), AddressAttribute::Local(own)]), Some(own));
        assert_eq!(own_address(&[AddressAttribute::Address(own)]), Some(own));
    }
}
