//! What systemd wants to know: `sd_notify(3)` without libsystemd. Its protocol is one datagram to the socket in `NOTIFY_SOCKET`.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// systemd, or nobody.
#[derive(Debug, Default)]
pub struct Supervisor(Option<(UnixDatagram, SocketAddr)>);

/// `NOTIFY_SOCKET` is set and cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot tell the service manager of {state}: socket {socket:?} in NOTIFY_SOCKET: {source}; start the agent as a service, or unset it"
)]
pub struct NotifyError {
    state: &'static str,
    socket: OsString,
    source: io::Error,
}

/// What the service manager is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State<'a> {
    /// Enforcing: units ordered after this one may start.
    Ready,
    /// Still alive.
    Alive,
    /// One line for `systemctl status`.
    Line(&'a str),
}

impl Supervisor {
    /// The one that `NOTIFY_SOCKET` names; nobody if it is not set.
    ///
    /// # Errors
    /// If it is set and names no socket.
    pub fn from_environment() -> Result<Self, NotifyError> {
        match std::env::var_os("NOTIFY_SOCKET") {
            Some(socket) if !socket.is_empty() => Self::at(socket),
            _ => Ok(Self(None)),
        }
    }

    fn at(socket: OsString) -> Result<Self, NotifyError> {
        let connect = || -> io::Result<_> {
            // A leading `@` stands for the NUL of an abstract address.
            let address = match socket.as_bytes() {
                [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
                _ => SocketAddr::from_pathname(&socket)?,
            };
            Ok((UnixDatagram::unbound()?, address))
        };
        match connect() {
            Ok(connection) => Ok(Self(Some(connection))),
            Err(source) => Err(NotifyError { state: "its start", socket, source }),
        }
    }

    /// Does nothing without a supervisor.
    ///
    /// # Errors
    /// If the datagram cannot be sent.
    pub fn tell(&self, state: State<'_>) -> Result<(), NotifyError> {
        let Some((socket, address)) = &self.0 else { return Ok(()) };
        let (name, message) = match state {
            State::Ready => ("READY", "READY=1".to_owned()),
            State::Alive => ("WATCHDOG", "WATCHDOG=1".to_owned()),
            // A newline would begin another assignment.
            State::Line(line) => ("STATUS", format!("STATUS={}", line.replace('\n', " "))),
        };
        socket.send_to_addr(message.as_bytes(), address).map(|_| ()).map_err(|source| NotifyError {
            state: name,
            socket: address.as_pathname().map(|path| path.as_os_str().to_owned()).unwrap_or_default(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_is_one_datagram() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("a socket");
        let supervisor = Supervisor::at(path.into()).expect("a supervisor");
        let received = |state| {
            supervisor.tell(state).expect("sent");
            let mut buffer = [0; 64];
            let length = manager.recv(&mut buffer).expect("a datagram");
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        assert_eq!(received(State::Ready), "READY=1");
        assert_eq!(received(State::Alive), "WATCHDOG=1");
        assert_eq!(received(State::Line("generation 3\nREADY=0")), "STATUS=generation 3 READY=0");
    }

    #[test]
    fn abstract_sockets_work_and_a_missing_one_is_told() {
        let name = format!("edge-notify-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).expect("a name")).expect("a socket");
        Supervisor::at(format!("@{name}").into()).expect("a supervisor").tell(State::Ready).expect("sent");
        assert_eq!(manager.recv(&mut [0; 16]).expect("a datagram"), 7);

        let folder = tempfile::tempdir().expect("a folder");
        let nobody = Supervisor::at(folder.path().join("nobody").into()).expect("an address");
        let error = nobody.tell(State::Ready).expect_err("nobody listens").to_string();
        assert!(error.contains("nobody") && error.contains("NOTIFY_SOCKET"), "{error}");
        Supervisor::default().tell(State::Ready).expect("no supervisor, no error");
    }
}
