//! Asks a running agent.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::{Answer, Request};

/// No answer came.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens: no agent runs with this configuration.
    #[error("no agent listens at {}; start one with `edge-agent run`, or name its configuration with --config", path.display())]
    NoAgent { path: PathBuf },
    #[error("cannot ask the agent at {}: {source}; it takes the user that the agent runs as", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Sends one request and waits for its answer: `Err` inside is the agent's own word that it could not.
///
/// # Errors
/// If there is no agent, or it does not answer.
pub fn ask(path: &Path, request: Request) -> Result<Result<serde_json::Value, String>, AskError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NoAgent { path: path.to_owned() },
        _ => AskError::Io { path: path.to_owned(), source },
    };
    match converse(path, request).map_err(failed)? {
        Answer::Ok(value) => Ok(Ok(value)),
        Answer::Error(message) => Ok(Err(message)),
    }
}

fn converse(path: &Path, request: Request) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(path)?;
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    if BufReader::new(stream).read_line(&mut answer)? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the agent hung up without an answer"));
    }
    Ok(serde_json::from_str(&answer)?)
}
