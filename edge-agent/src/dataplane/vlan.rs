//! Whether an interface takes VLAN tags out of frames before XDP sees them.

use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd;

/// `ETHTOOL_GFLAGS` of `linux/ethtool.h`: reads a word of feature flags.
const GET_FLAGS: u32 = 0x25;
/// `ETH_FLAG_RXVLAN` in that word: what `ethtool -k` calls `rx-vlan-offload`.
const RX_VLAN: u32 = 1 << 8;

/// `struct ethtool_value` of `linux/ethtool.h`.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Whether received tags go into metadata, where an XDP program cannot see them.
///
/// # Errors
/// If the interface does not exist or has no such setting.
pub fn strips_tags(interface: &str) -> io::Result<bool> {
    let name = CString::new(interface)?;
    let mut value = EthtoolValue { command: GET_FLAGS, data: 0 };
    // SAFETY: all-zero bytes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let bytes = name.as_bytes_with_nul();
    let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "longer than an interface's name can be");
    let room = request.ifr_name.get_mut(..bytes.len()).ok_or_else(too_long)?;
    for (to, from) in room.iter_mut().zip(bytes) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(&mut value).cast();
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: the request names an interface and points to an `ethtool_value`, and both outlive the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &mut request) } {
        0 => Ok(value.data & RX_VLAN != 0),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        assert!(strips_tags("no-such-one").is_err());
        assert!(strips_tags("a-name-longer-than-sixteen").is_err());
        assert!(!strips_tags("lo").expect("the loopback device has the setting"));
    }
}
