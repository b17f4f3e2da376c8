//! Datagrams without a pause from a device, and the servers' end that counts what gets through.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use xtask::lab::{Host, Lab};

const PORT: u16 = 9000;
/// 4,000 datagrams a second: fewer than any queue on the way holds in the time that a scheduler may take.
const BURST: usize = 4;
const PAUSE: Duration = Duration::from_millis(1);

/// Counts the datagrams that arrive at a server.
pub struct Sink {
    pub address: SocketAddr,
    arrived: Arc<AtomicU64>,
}

impl Sink {
    pub fn open(lab: &Lab, address: IpAddr) -> Self {
        let address = SocketAddr::new(address, PORT);
        let socket = lab.servers.namespace.run(|| Ok(UdpSocket::bind(address)?)).unwrap();
        let arrived = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&arrived);
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while socket.recv(&mut buffer).is_ok() {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { address, arrived }
    }

    pub fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }
}

/// A running flood.
pub struct Flood {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Flood {
    /// One datagram from the device.
    pub fn single(host: &Host, to: &Sink) {
        assert_eq!(socket(host, to).send(b"one").unwrap(), 3);
    }

    pub fn start(host: &Host, to: &Sink) -> Self {
        let socket = socket(host, to);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                for _ in 0..BURST {
                    sent += u64::from(socket.send(b"flood").is_ok());
                }
                thread::sleep(PAUSE);
            }
            sent
        });
        Self { stop, thread }
    }

    /// Ends it and returns how many datagrams were sent.
    pub fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn socket(host: &Host, to: &Sink) -> UdpSocket {
    let any = if to.address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let bind = || {
        let socket = UdpSocket::bind(any)?;
        socket.connect(to.address)?;
        Ok(socket)
    };
    host.namespace.run(bind).unwrap()
}
