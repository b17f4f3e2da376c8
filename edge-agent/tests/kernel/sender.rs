//! Frames onto an interface, as fast as a socket takes them, by a thread of its own.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Sends until it is ended.
pub struct Sender {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Sender {
    /// Sends these frames again and again from `interface`, one of the calling thread's namespace.
    pub fn start(interface: &str, frames: Vec<Vec<u8>>) -> Self {
        // SAFETY: no memory is passed; the result is checked before it becomes an owner.
        let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        assert!(socket >= 0, "packet(7): {}", io::Error::last_os_error());
        // SAFETY: a descriptor that was just opened and that nobody else has.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let name = CString::new(interface).expect("a name has no NUL");
        // SAFETY: a NUL-terminated string that lives through the call.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        // SAFETY: zeroes are a valid address.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = index as i32;
        let length = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: the address is of the type and length that its family says.
        let bound = unsafe { libc::bind(socket.as_raw_fd(), std::ptr::from_ref(&address).cast(), length) };
        assert_eq!(bound, 0, "cannot bind to {interface}: {}", io::Error::last_os_error());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                sent += frames.iter().filter(|frame| send(&socket, frame)).count() as u64;
            }
            sent
        });
        Self { stop, thread }
    }

    /// Ends it and returns how many frames the interface has taken.
    pub fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the sender does not panic")
    }
}

/// Whether the interface took it. Where the other end's queue is full it does not.
fn send(socket: &OwnedFd, frame: &[u8]) -> bool {
    // SAFETY: the bytes live through the call.
    let sent = unsafe { libc::send(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
    sent == frame.len() as isize
}
