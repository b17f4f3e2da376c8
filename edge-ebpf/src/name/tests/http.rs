use proptest::prelude::*;

use super::{BEFORE, framed};
use crate::name::http::request;
use crate::name::{Reading, Span};
use crate::packet::access::Frame;

fn read(payload: &[u8]) -> (Reading, String) {
    let bytes = framed(payload);
    let mut host = Span::default();
    let reading = request(&Frame::new(&bytes), BEFORE, bytes.len(), &mut host);
    (reading, String::from_utf8_lossy(&bytes[host.start as usize..host.end as usize]).into_owned())
}

#[test]
fn hosts_of_requests() {
    for (payload, reading, host) in [
        ("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", Reading::Name, "example.com"),
        ("GET / HTTP/1.1\nhOsT:example.com\n\n", Reading::Name, "example.com"),
        ("POST /a?b HTTP/1.0\r\nAccept: */*\r\nUser-Agent: Host: x\r\nHOST: \t Example.com:8080\r\n", Reading::Name, "Example.com"),
        ("PROPFIND / HTTP/1.1\r\nHost: a.b\r\n", Reading::Name, "a.b"),
        ("GET http://one.example/x HTTP/1.1\r\nHost: two.example\r\n\r\n", Reading::Name, "one.example"),
        ("GET HTTP://one.example:80 HTTP/1.1\r\n", Reading::Name, "one.example"),
        ("CONNECT one.example:443 HTTP/1.1\r\nHost: two.example\r\n\r\n", Reading::Name, "one.example"),
        ("GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", Reading::NoName, ""),
        ("GET / HTTP/1.1\r\nAccept: x\r\n\r\nHost: body.example\r\n", Reading::NoName, ""),
        ("GET / HTTP/1.0\r\n\r\n", Reading::NoName, ""),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Reading::NoName, ""),
        ("GET http://user@one.example/ HTTP/1.1\r\n", Reading::Malformed, ""),
        ("GET / HTTP/1.1\r\nXHost: x.y\r\nHost: example.co", Reading::Incomplete, ""),
        ("GET / HT", Reading::Incomplete, ""),
        ("GE", Reading::Incomplete, ""),
        ("OPTIONS rtsp://a.b RTSP/1.0\r\nHost: a.b\r\n", Reading::Other, ""),
        ("get / HTTP/1.1\r\nHost: a.b\r\n", Reading::Other, ""),
        ("HTTP/1.1 200 OK\r\nHost: a.b\r\n", Reading::Other, ""),
        ("SSH-2.0-OpenSSH_9.2\r\n", Reading::Other, ""),
        ("", Reading::Other, ""),
    ] {
        assert_eq!(read(payload.as_bytes()), (reading, host.to_owned()), "{payload:?}");
    }
}

#[test]
fn a_limit_is_no_end() {
    let headers = "A: b\r\n".repeat(400);
    assert_eq!(read(format!("GET / HTTP/1.1\r\n{headers}Host: a.b\r\n\r\n").as_bytes()).0, Reading::TooLong);
    let name = "a".repeat(300);
    assert_eq!(read(format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n").as_bytes()).0, Reading::TooLong);
}

proptest! {
    #[test]
    fn the_host_is_found_behind_any_headers(
        path in "[!-~]{0,60}",
        headers in prop::collection::vec(("[A-Za-z-]{1,20}", "[ -~]{0,60}"), 0..12),
        host in "[a-z0-9-]{1,20}(\\.[a-z]{1,10}){1,3}",
        cut in 0usize..40,
    ) {
        prop_assume!(headers.iter().all(|(key, _)| !key.eq_ignore_ascii_case("host")));
        let headers: String = headers.iter().map(|(key, value)| format!("{key}: {value}\r\n")).collect();
        let before = format!("GET /{path} HTTP/1.1\r\n{headers}");
        let whole = format!("{before}Host: {host}\r\nX: y\r\n\r\n");
        prop_assert_eq!(read(whole.as_bytes()), (Reading::Name, host.clone()));
        // Until the host has ended it is not known.
        let shown = (before.len() + cut).min(before.len() + 6 + host.len());
        prop_assert_eq!(read(&whole.as_bytes()[..shown]).0, Reading::Incomplete);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        rest in prop::collection::vec(any::<u8>(), 0..300),
        start in prop::sample::select(vec!["GET ", "", "CONNECT ", "GET http://", "GET / HTTP/1.1\r\nHost:"]),
    ) {
        let (reading, host) = read(&[start.as_bytes(), &rest].concat());
        prop_assert_eq!(reading == Reading::Name, !host.is_empty());
    }
}
