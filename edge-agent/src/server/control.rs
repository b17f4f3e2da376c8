//! The control socket: one JSON object a line each way, on a Unix socket that only the agent's user may open.
//!
//! `{"command":"status"}` is answered by `{"ok":…}` or `{"error":"…"}`.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use edge_ebpf::packet::Mac;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use crate::agent::status::StatusSource;
use crate::identity::report::DeviceSource;
use crate::sources::guard::Shrink;
use crate::telemetry::history::History;

mod client;
mod report;
pub use client::{AskError, ask};
pub use report::{Count, InterfaceReport, RuleReport, SourceReport, StatusReport, TableReport, UninspectableReport};

/// Devices in a part of an answer.
const PART: usize = 1000;
/// Bytes of a request; more than any has.
const MAX_REQUEST: u64 = 4096;

/// What can be asked of a running agent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub enum Request {
    /// Answered by a [`StatusReport`].
    Status,
    /// Answered by up to this many [`Report`](crate::telemetry::events::Report)s, the newest last.
    Recent { count: usize },
    /// Answered once the configured policies are in force, by the generation's number, or why they are not.
    Reload {
        /// Also with data files that lost too many entries since they were last used.
        #[serde(default)]
        accept_shrink: bool,
    },
    /// Answered by the [`DeviceReport`](crate::identity::report::DeviceReport)s of the devices whose MACs come behind that one, as many as a part
    /// has; none at the end.
    Devices { after: Option<u64> },
    /// Answered by the [`DeviceReport`](crate::identity::report::DeviceReport) of the device with this MAC; nothing if it is not known.
    Device { mac: u64 },
    /// Answered by a [`Learned`](crate::identity::learn::Learned); nothing if the device is not known.
    Learn { mac: u64 },
    /// Stops enforcing, removes every pin, and ends the agent; answered by the names of the links there were.
    Detach,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    Ok(serde_json::Value),
    Error(String),
}

/// A request that the agent's loop has to carry out.
#[derive(Debug)]
pub enum Order {
    Reload { shrink: Shrink, reply: oneshot::Sender<Result<u32, String>> },
    Detach(oneshot::Sender<Result<Vec<String>, String>>),
}

/// The socket cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for commands at {}: {source}; change `control.socket` in agent.yaml", path.display())]
pub struct ListenError {
    path: PathBuf,
    source: io::Error,
}

/// Makes the socket, in the place of one that an agent left behind.
///
/// # Errors
/// If its directory cannot be made or written to.
pub fn bind(path: &Path) -> Result<UnixListener, ListenError> {
    bind_private(path).map_err(|source| ListenError { path: path.to_owned(), source })
}

/// Moved into place only once nobody else may open it.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}", std::process::id()));
    let new = path.with_file_name(name);
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(0o600))?;
    fs::rename(&new, path)?;
    Ok(listener)
}

/// What is told without the loop.
#[derive(Clone)]
pub struct Asked {
    pub status: StatusSource,
    pub devices: DeviceSource,
    pub history: Arc<History>,
}

/// Answers whoever connects, for as long as the future is polled.
pub async fn serve(listener: UnixListener, asked: Asked, orders: mpsc::Sender<Order>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (asked, orders) = (asked.clone(), orders.clone());
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, &asked, &orders).await {
                        tracing::debug!(%error, "a conversation on the control socket ended early");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket cannot be accepted on; trying again");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
    }
}

async fn converse(mut stream: UnixStream, asked: &Asked, orders: &mpsc::Sender<Order>) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = String::new();
        if (&mut reader).take(MAX_REQUEST).read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let answer = match serde_json::from_str(&line) {
            Ok(request) => carry_out(request, asked, orders).await,
            Err(error) => Answer::Error(format!("no such request: {error}")),
        };
        let mut bytes = serde_json::to_vec(&answer)?;
        bytes.push(b'\n');
        writer.write_all(&bytes).await?;
    }
}

async fn carry_out(request: Request, Asked { status, devices, history }: &Asked, orders: &mpsc::Sender<Order>) -> Answer {
    let (status, devices) = (Arc::clone(status), Arc::clone(devices));
    match request {
        Request::Status => told(move || status().map(|status| StatusReport::from(&status))).await,
        Request::Devices { after } => told(move || Ok::<_, String>(devices(after.is_none()).reports(after.map(Mac), PART))).await,
        Request::Device { mac } => told(move || Ok::<_, String>(devices(true).report(Mac(mac)))).await,
        Request::Learn { mac } => told(move || Ok::<_, String>(devices(false).learn(Mac(mac)))).await,
        Request::Recent { count } => answer(Ok::<_, String>(history.newest(count))),
        Request::Reload { accept_shrink } => {
            let shrink = if accept_shrink { Shrink::Accept } else { Shrink::Hold };
            order(orders, |reply| Order::Reload { shrink, reply }).await
        }
        Request::Detach => order(orders, Order::Detach).await,
    }
}

/// What takes a moment to find out.
async fn told<T: Serialize + Send + 'static, E: ToString + Send + 'static>(
    find_out: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Answer {
    match tokio::task::spawn_blocking(find_out).await {
        Ok(result) => answer(result),
        Err(error) => Answer::Error(error.to_string()),
    }
}

async fn order<T: Serialize>(orders: &mpsc::Sender<Order>, make: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Order) -> Answer {
    let (reply, replied) = oneshot::channel();
    let ending = || Answer::Error("the agent is ending; ask again once it has started".to_owned());
    if orders.send(make(reply)).await.is_err() {
        return ending();
    }
    match replied.await {
        Ok(result) => answer(result),
        Err(_) => ending(),
    }
}

fn answer<T: Serialize>(result: Result<T, impl ToString>) -> Answer {
    let value = result.map_err(|error| error.to_string()).and_then(|value| serde_json::to_value(value).map_err(|error| error.to_string()));
    value.map_or_else(Answer::Error, Answer::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::status::StatusError;
    use crate::config::IdentityConfig;
    use crate::identity::devices::Devices;

    #[test]
    fn a_request_is_one_word_and_an_answer_one_of_two() {
        let reload = serde_json::from_str::<Request>(r#"{"command":"reload"}"#).expect("a request");
        assert_eq!(reload, Request::Reload { accept_shrink: false });
        assert!(serde_json::from_str::<Request>(r#"{"command":"format-disk"}"#).is_err());
        assert_eq!(serde_json::to_string(&Answer::Error("no".into())).expect("JSON"), r#"{"error":"no"}"#);
    }

    #[tokio::test]
    async fn orders_reach_the_loop_and_only_the_owner_reaches_the_socket() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run/agent.sock");
        drop(bind(&path).expect("a socket"));
        let listener = bind(&path).expect("a socket where another agent left one");
        assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);

        let (orders, mut received) = mpsc::channel(1);
        let status: StatusSource = Arc::new(|| Err(StatusError("no maps".into())));
        let known = Arc::new(Devices::open(folder.path(), 10, &IdentityConfig::default()));
        let devices: DeviceSource = Arc::new(move |_| Arc::clone(&known));
        let server = tokio::spawn(serve(listener, Asked { status, devices, history: Arc::new(History::new(1)) }, orders));
        let asking = path.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let reload = ask(&asking, Request::Reload { accept_shrink: true }).expect("an agent");
            assert_eq!(ask(&asking, Request::Devices { after: None }).expect("an agent"), Ok(serde_json::json!([])));
            assert_eq!(ask(&asking, Request::Learn { mac: 7 }).expect("an agent"), Ok(serde_json::Value::Null));
            (reload, ask(&asking, Request::Status).expect("an agent"))
        });
        match received.recv().await {
            Some(Order::Reload { shrink: Shrink::Accept, reply }) => reply.send(Ok(7)).expect("somebody waits"),
            other => panic!("{other:?}"),
        }
        let (reload, status) = asked.await.expect("no panic");
        assert_eq!(reload, Ok(serde_json::json!(7)));
        assert!(status.expect_err("no maps").contains("no maps"));
        server.abort();
    }
}
