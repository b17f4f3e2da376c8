//! Frames as they are on the wire: packet(7) sockets on one interface.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use xtask::lab::Namespace;

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

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
