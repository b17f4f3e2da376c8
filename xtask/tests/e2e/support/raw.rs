//! Frames as they are on the wire: packet(7) sockets on one interface.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use xtask::lab::Namespace;
use xtask::lab::plan::Device;

/// Sends and receives whole frames. What it receives from an interface has passed the XDP program there.
pub struct RawSocket(OwnedFd);

impl RawSocket {
    pub fn open(namespace: &Namespace, interface: &str) -> Self {
        namespace.run(|| Ok(Self::on(interface)?)).unwrap()
    }

    fn on(interface: &str) -> io::Result<Self> {
        let name = CString::new(interface)?;
        // SAFETY: a string that ends in NUL.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: takes numbers.
        let descriptor = check(unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol.into()) })?;
        // SAFETY: just opened, and nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
        // SAFETY: a plain structure of numbers, for which zeros are valid.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol;
        address.sll_ifindex = index.try_into().map_err(io::Error::other)?;
        let size = size_of_val(&address) as libc::socklen_t;
        // SAFETY: the address is of the size that is given with it.
        check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) })?;
        Ok(Self(socket))
    }

    pub fn send(&self, frame: &[u8]) {
        // SAFETY: the buffer is of the length that is given with it.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        assert_eq!(sent, frame.len() as isize, "{}", io::Error::last_os_error());
    }

    /// How many bytes each of a device's TCP segments carries, of those that have come and carry any.
    pub fn segments(&self, device: &Device) -> Vec<usize> {
        let frames = std::iter::from_fn(|| self.receive(Duration::from_millis(100)));
        frames.filter_map(|frame| payload_of(device, &frame)).filter(|length| *length > 0).collect()
    }

    /// Makes room for so many bytes of frames that are yet to be received.
    pub fn hold(&self, bytes: libc::c_int) {
        let size = size_of_val(&bytes) as libc::socklen_t;
        // SAFETY: the value is of the size that is given with it.
        let set = unsafe { libc::setsockopt(self.0.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, (&raw const bytes).cast(), size) };
        check(set).unwrap();
    }

    /// The next frame, unless none comes in time.
    pub fn receive(&self, limit: Duration) -> Option<Vec<u8>> {
        self.receive_in(&mut [0; 65536], limit).map(<[u8]>::to_vec)
    }

    /// The same into a buffer, which may cut it.
    pub fn receive_in<'a>(&self, buffer: &'a mut [u8], limit: Duration) -> Option<&'a [u8]> {
        let mut poll = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one structure, as the count says.
        let ready = check(unsafe { libc::poll(&raw mut poll, 1, limit.as_millis() as libc::c_int) }).unwrap();
        if ready == 0 {
            return None;
        }
        // SAFETY: the buffer is of the length that is given with it.
        let length = unsafe { libc::recv(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        let length: usize = length.try_into().unwrap_or_else(|_| panic!("cannot receive: {}", io::Error::last_os_error()));
        Some(&buffer[..length])
    }
}

/// How many bytes of TCP's payload a frame of the device carries; none is nothing of TCP's. Untagged, without IP options or extensions.
fn payload_of(device: &Device, frame: &[u8]) -> Option<usize> {
    const TCP: u8 = libc::IPPROTO_TCP as u8;
    let number = |at: usize| Some(usize::from(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?])));
    let (is_its, transport, end) = match (frame.get(12..14)?, frame.get(20)?, frame.get(23)?) {
        ([0x08, 0x00], _, &TCP) => (frame.get(26..30)? == device.ipv4.octets(), 34, 14 + number(16)?),
        ([0x86, 0xdd], &TCP, _) => (frame.get(22..38)? == device.ipv6.octets(), 54, 54 + number(18)?),
        _ => return None,
    };
    // The data offset (RFC 9293 section 3.1), in words of 4 bytes.
    let header = usize::from(frame.get(transport + 12)? >> 4) * 4;
    is_its.then_some(end - transport - header)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
