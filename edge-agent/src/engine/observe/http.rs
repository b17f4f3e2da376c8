//! HTTP/1.x requests, with what follows their headers (RFC 9112).

use super::Observation;

/// Longest header that is waited for.
const LONGEST: usize = 1 << 16;

/// What a stream begins with.
pub enum Read {
    Other,
    /// It goes on.
    Incomplete,
    /// A request, and its length.
    Request(Observation, usize),
}

pub fn read(bytes: &[u8]) -> Read {
    let method = bytes.iter().take_while(|byte| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'-')).count();
    if method == 0 || method > 20 || bytes.get(method).is_some_and(|byte| *byte != b' ') {
        return Read::Other;
    }
    let Some(line) = bytes.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() < LONGEST { Read::Incomplete } else { Read::Other };
    };
    let first = bytes[..line].trim_ascii_end();
    if !first.rsplit(|byte| *byte == b' ').next().is_some_and(|version| version.starts_with(b"HTTP/1.")) {
        return Read::Other;
    }
    let (mut host, mut user_agent, mut body) = (None, None, Body::Length(0));
    let mut at = line + 1;
    loop {
        let Some(length) = bytes[at..].iter().position(|byte| *byte == b'\n') else {
            return if bytes.len() < LONGEST { Read::Incomplete } else { Read::Other };
        };
        let header = bytes[at..at + length].trim_ascii();
        at += length + 1;
        if header.is_empty() {
            break;
        }
        let Some(colon) = header.iter().position(|byte| *byte == b':') else { continue };
        let value = || String::from_utf8_lossy(header[colon + 1..].trim_ascii()).into_owned();
        match header[..colon].to_ascii_lowercase().as_slice() {
            b"host" if host.is_none() => host = Some(value().to_ascii_lowercase()),
            b"user-agent" if user_agent.is_none() => user_agent = Some(value()),
            b"content-length" => body = value().parse().map_or(Body::Length(0), Body::Length),
            b"transfer-encoding" if value().eq_ignore_ascii_case("chunked") => body = Body::Chunked,
            _ => {}
        }
    }
    let behind = match body {
        Body::Length(length) => (bytes.len() >= at.saturating_add(length)).then(|| at + length),
        Body::Chunked => chunked(bytes, at),
    };
    match behind {
        Some(end) => Read::Request(Observation::HttpRequest { host, user_agent }, end),
        None => Read::Incomplete,
    }
}

enum Body {
    Length(usize),
    Chunked,
}

/// Where a body in chunks ends (RFC 9112 section 7.1).
fn chunked(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let line = bytes.get(at..)?.iter().position(|byte| *byte == b'\n')?;
        let text = std::str::from_utf8(&bytes[at..at + line]).ok()?;
        let size = usize::from_str_radix(text.split(';').next()?.trim(), 16).ok()?;
        at = at.checked_add(line + 1)?.checked_add(size)?;
        // The line break behind the chunk, or behind the last one's trailers.
        at += bytes.get(at..)?.iter().position(|byte| *byte == b'\n')? + 1;
        if size == 0 {
            return Some(at);
        }
    }
}
