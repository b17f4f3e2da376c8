//! What devices announce of themselves: services and names by mDNS (RFC 6762, RFC 6763), products by SSDP (UPnP Device Architecture 2.0).

/// Their ports.
pub const MDNS: u16 = 5353;
pub const SSDP: u16 = 1900;

/// Lines that one message gives.
const LINES: usize = 8;
const LONGEST: usize = 255;
/// Records that are looked at.
const RECORDS: usize = 64;
/// Jumps in a compressed name (RFC 1035 section 4.1.4).
const JUMPS: usize = 16;

/// Records whose owner is a name of the device, or a kind of service that it offers.
const A: u16 = 1;
const PTR: u16 = 12;
const AAAA: u16 = 28;
const SRV: u16 = 33;

/// What the message says, a line each: `mdns NAME`, or `ssdp HEADER: VALUE`. Questions say what is looked for, not what there is.
pub fn read(message: &[u8], is_mdns: bool) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let found = if is_mdns { names(message).unwrap_or_default() } else { headers(message) };
    for line in found {
        if lines.len() < LINES && !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

/// Owners in an answer, as far as it can be read.
fn names(message: &[u8]) -> Option<Vec<String>> {
    let number = |at: usize| message.get(at..at + 2).map(|two| u16::from_be_bytes([two[0], two[1]]));
    let mut names = Vec::new();
    let [flags, questions, answers, authorities, others] = [number(2)?, number(4)?, number(6)?, number(8)?, number(10)?];
    if flags & 0x8000 == 0 {
        return None;
    }
    let mut at = 12;
    for _ in 0..questions.min(RECORDS as u16) {
        at = name(message, at)?.1 + 4;
    }
    let records = usize::from(answers) + usize::from(authorities) + usize::from(others);
    for _ in 0..records.min(RECORDS) {
        // What was read stays read where the rest cannot be.
        let Some((owner, behind)) = name(message, at) else { break };
        let (Some(kind), Some(length)) = (number(behind), number(behind + 8)) else { break };
        if matches!(kind, A | PTR | AAAA | SRV) && !owner.is_empty() {
            names.push(format!("mdns {owner}"));
        }
        at = behind + 10 + usize::from(length);
    }
    Some(names)
}

/// The name in lower case, and where what follows it begins.
fn name(message: &[u8], start: usize) -> Option<(String, usize)> {
    let (mut text, mut at, mut behind) = (String::new(), start, None);
    for _ in 0..JUMPS {
        loop {
            let length = usize::from(*message.get(at)?);
            match length {
                0 => return Some((text, behind.unwrap_or(at + 1))),
                1..=63 => {
                    let label = String::from_utf8_lossy(message.get(at + 1..at + 1 + length)?).to_lowercase();
                    if text.len() + label.len() >= LONGEST {
                        return None;
                    }
                    if !text.is_empty() {
                        text.push('.');
                    }
                    text.push_str(&label);
                    at += 1 + length;
                }
                192.. => {
                    behind.get_or_insert(at + 2);
                    at = (length & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                    break;
                }
                _ => return None,
            }
        }
    }
    None
}

/// Of `NOTIFY` and answers the product, of `M-SEARCH` the program that searches.
fn headers(message: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(message);
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        let wanted = matches!(name.as_str(), "server" | "user-agent" | "nt") && !value.is_empty();
        // An identity changes with each device; the kind of one does not.
        let is_identity = value.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("uuid:"));
        (wanted && !is_identity).then(|| format!("ssdp {name}: {}", value.chars().take(LONGEST / 4).collect::<String>()))
    };
    text.lines().skip(1).filter_map(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
        [owner, &kind.to_be_bytes(), &[0, 1, 0, 0, 0, 120], &(data.len() as u16).to_be_bytes(), data].concat()
    }

    #[test]
    fn an_announcement_names_services_and_the_device() {
        let head = [0, 0, 0x84, 0, 0, 0, 0, 2, 0, 0, 0, 1];
        let service = b"\x0b_googlecast\x04_tcp\x05local\0";
        let message = [
            &head[..],
            &record(service, PTR, b"\x02TV\xc0\x0c"),
            &record(b"\xc0\x0c", 16, b"\x02md"),
            &record(b"\x06TV-Kit\xc0\x1d", A, &[192, 0, 2, 7]),
        ]
        .concat();
        assert_eq!(read(&message, true), ["mdns _googlecast._tcp.local", "mdns tv-kit.local"]);
        for cut in 0..message.len() {
            read(&message[..cut], true);
        }
        let mut question = message;
        question[2] = 0;
        assert!(read(&question, true).is_empty());
    }

    #[test]
    fn a_name_that_points_to_itself_ends() {
        let message = [&[0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0][..], &record(b"\xc0\x0c", A, &[1, 2, 3, 4])].concat();
        assert!(read(&message, true).is_empty());
    }

    #[test]
    fn ssdp_names_products_and_no_identities() {
        let notify = b"NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nNT: uuid:1\r\nServer: Linux/4 UPnP/1.0 TV/1\r\nNT: upnp:rootdevice\r\n\r\n";
        assert_eq!(read(notify, false), ["ssdp server: Linux/4 UPnP/1.0 TV/1", "ssdp nt: upnp:rootdevice"]);
        assert!(read(b"\xff\xfe", false).is_empty());
    }
}
