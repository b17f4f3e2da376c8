use super::{BEFORE, framed};
use crate::identity::user_agent::read;
use crate::packet::access::Frame;

/// The value as far as the automaton walks it.
fn user_agent(request: &str) -> Option<String> {
    let bytes = framed(request.as_bytes());
    let found = read(&Frame::new(&bytes), BEFORE, BEFORE + request.len());
    let value = bytes[found.start as usize..found.end as usize].split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    (!found.is_empty()).then(|| String::from_utf8_lossy(value).into_owned())
}

#[test]
fn the_value_is_found_wherever_it_stands() {
    for padding in 0..40 {
        let before = format!("GET /{} HTTP/1.1\r\nHost: a.example\r\n", "x".repeat(padding));
        for (header, expected) in [
            ("User-Agent: MIUI/1 (x)\r\n\r\n", Some("MIUI/1 (x)")),
            ("uSER-aGENT:curl/8\r\nAccept: */*\r\n\r\n", Some("curl/8")),
            ("User-Agent: cut by the segm", Some("cut by the segm")),
            ("User-Agent:  two blanks\n\n", Some(" two blanks")),
            ("User-Agent: one\r\nUser-Agent: two\r\n\r\n", Some("one")),
            ("X-User-Agent: a\r\nUser-Agents: b\r\nUser-Agen: c\r\n\r\n", None),
            ("User-Agent: x", Some("x")),
            ("User-Agent: ", None),
            ("User-Agent:", None),
            ("User-Agen", None),
            ("\r\nUser-Agent: of a body\r\n", None),
            ("\nUser-Agent: of a body\r\n", None),
        ] {
            assert_eq!(user_agent(&format!("{before}{header}")).as_deref(), expected, "{padding} {header}");
        }
    }
}

#[test]
fn the_first_line_is_none() {
    assert_eq!(user_agent("User-Agent: x\r\n\r\n"), None);
    assert_eq!(user_agent(""), None);
}

#[test]
fn it_is_found_in_a_full_segment() {
    let before = format!("GET / HTTP/1.1\r\nCookie: {}\r\n", "c".repeat(1400));
    assert_eq!(user_agent(&format!("{before}User-Agent: y\r\n\r\n")).as_deref(), Some("y"));
}
