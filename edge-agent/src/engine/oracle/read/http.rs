//! The host that an HTTP/1.x request is for (RFC 9112 section 3), and whom it says that it is from.

use super::name::{Name, text};
use super::{Reading, STEP};

/// Steps over the lines before the Host header. Each line takes steps of its own.
const LINE_STEPS: usize = 224;
/// Blanks between the header's name and its value.
const BLANKS: usize = 8;
/// Bytes in which a host must end.
const HOST: usize = 32 * STEP;
/// Steps over all lines before the User-Agent header.
const USER_AGENT_STEPS: usize = 224;
const USER_AGENT: &[u8] = b"user-agent:";

const METHODS: [&[u8]; 15] = [
    b"GET ",
    b"POST ",
    b"HEAD ",
    b"PUT ",
    b"OPTIONS ",
    b"DELETE ",
    b"PATCH ",
    b"TRACE ",
    b"PROPFIND ",
    b"PROPPATCH ",
    b"MKCOL ",
    b"LOCK ",
    b"UNLOCK ",
    b"REPORT ",
    b"CONNECT ",
];

/// The host of the request that a segment begins with.
pub fn request(segment: &[u8]) -> Reading<Name> {
    if segment.is_empty() {
        return Reading::Other;
    }
    // Of a method no more than a step is compared; what there is of a shorter segment has to be its beginning.
    let begins = |method: &&&[u8]| segment.iter().zip(method.iter()).take(STEP).all(|(byte, wanted)| byte == wanted);
    let Some(method) = METHODS.iter().find(begins) else { return Reading::Other };
    let Some(target) = segment.get(method.len()..).filter(|target| !target.is_empty()) else { return Reading::Incomplete };
    let value = if *method == b"CONNECT " {
        target
    } else if target.len() >= 7 && target[..7].eq_ignore_ascii_case(b"http://") {
        &target[7..]
    } else {
        match host_header(segment, method.len()) {
            Ok(value) => value,
            Err(stop) => return stop,
        }
    };
    authority(value)
}

/// The Host header's value, without the blanks before it; the first line goes on at `start`.
fn host_header(segment: &[u8], start: usize) -> Result<&[u8], Reading<Name>> {
    let mut at = start;
    let mut left = LINE_STEPS;
    loop {
        let line = &segment[at..];
        if at > start && left > 0 {
            if line.len() >= 5 && line[..5].eq_ignore_ascii_case(b"host:") {
                return blanks(&line[5..]);
            }
            if matches!(line.first(), Some(b'\r' | b'\n')) {
                return Err(Reading::Nothing);
            }
        }
        let end = line.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(line.len(), |end| end + 1);
        let steps = length.div_ceil(STEP);
        // The last step sees the line's end; where there is none, one more finds that the segment is over.
        if steps > left || (end.is_none() && steps == left) {
            return Err(Reading::TooLong);
        }
        if end.is_none() {
            return Err(Reading::Incomplete);
        }
        left -= steps;
        let first = at == start;
        at += length;
        if first && !has_version(&segment[..at]) {
            return Err(Reading::Other);
        }
    }
}

/// Whether the line ends in a version of HTTP/1; carriage returns may lack (RFC 9112 section 2.2).
fn has_version(line: &[u8]) -> bool {
    // Behind the version's dot comes one digit, and what ends the line is one byte or two: no other byte is looked at.
    [3, 2].into_iter().any(|behind| line.len() > behind && line[..line.len() - behind].ends_with(b"HTTP/1."))
}

fn blanks(value: &[u8]) -> Result<&[u8], Reading<Name>> {
    let count = value.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    match value.len() {
        _ if count > BLANKS => Err(Reading::TooLong),
        length if length == count => Err(Reading::Incomplete),
        _ => Ok(&value[count..]),
    }
}

/// A host up to its port, path, query, or the line's end. An address in brackets is no name.
fn authority(value: &[u8]) -> Reading<Name> {
    for (at, byte) in value.iter().take(HOST).enumerate() {
        match byte {
            0..=b' ' | b':' | b'/' | b'?' | b'#' => {
                return match (at, text(&value[..at])) {
                    (0, _) => Reading::Nothing,
                    (_, Some(name)) => Reading::Found(name),
                    (_, None) => Reading::Malformed,
                };
            }
            b'[' if at == 0 => return Reading::Nothing,
            b'[' | b'@' => return Reading::Malformed,
            _ => {}
        }
    }
    if value.len() < HOST { Reading::Incomplete } else { Reading::TooLong }
}

/// The value of the first User-Agent header of the request that a segment begins with (RFC 9110 section 10.1.5), up to the line's end or the
/// segment's.
pub fn user_agent(segment: &[u8]) -> Option<&[u8]> {
    let mut left = USER_AGENT_STEPS;
    let mut rest = segment;
    loop {
        let length = rest.iter().position(|byte| *byte == b'\n').map(|end| end + 1)?;
        left = left.checked_sub(length.div_ceil(STEP)).filter(|left| *left > 0)?;
        rest = &rest[length..];
        if matches!(rest.first(), Some(b'\r' | b'\n')) {
            return None;
        }
        if let Some((name, value)) = rest.split_at_checked(USER_AGENT.len())
            && name.eq_ignore_ascii_case(USER_AGENT)
            && !value.is_empty()
        {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            if value.is_empty() {
                return None;
            }
            return value.split(|byte| matches!(byte, b'\r' | b'\n')).next();
        }
    }
}
