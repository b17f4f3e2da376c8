//! HTTP requests as no browser sends them: cut in the midst, after another on the same connection, in other forms.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use xtask::lab::Host;
use xtask::lab::names::{ALLOWED, BLOCKED, SHARED_SITE};

use super::{BY_NAME, enforce, uninspectable};
use crate::support::ledger::{Over, Step};
use crate::support::town::Town;
use crate::support::web::{HTTP, PAGE};

/// Less would take a slow machine for a blocked one.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longer than a segment needs to the far side.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Got {
    Page,
    Reset,
    Nothing,
}

/// Sends the parts in segments of their own, and returns what came after the last.
fn send(host: &Host, port: u16, parts: &[String]) -> Got {
    let to = SocketAddr::new(SHARED_SITE.ipv4.into(), port);
    let mut stream = host.namespace.run(|| Ok(TcpStream::connect_timeout(&to, PATIENCE)?)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut got = Got::Nothing;
    for part in parts {
        // What is reset may not even be written to.
        got = stream.write_all(part.as_bytes()).map_or(Got::Reset, |()| Got::Nothing);
        sleep(PAUSE);
        if part.ends_with("\r\n\r\n") && got != Got::Reset {
            got = page(&mut stream);
        }
    }
    got
}

/// Reads to the end of a page, if one comes.
fn page(stream: &mut TcpStream) -> Got {
    let (mut text, mut buffer) = (Vec::new(), [0; 1024]);
    while !text.ends_with(PAGE.as_bytes()) {
        match stream.read(&mut buffer) {
            Ok(0) => return Got::Reset,
            Ok(length) => text.extend_from_slice(&buffer[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Got::Nothing,
            Err(_) => return Got::Reset,
        }
    }
    Got::Page
}

/// One segment with a whole head.
fn forms(name: &str) -> [Vec<String>; 5] {
    [
        format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n"),
        format!("POST / HTTP/1.1\r\nAccept: */*\r\nContent-Length: 0\r\nhOST:\t{}.:80 \r\n\r\n", name.to_uppercase()),
        format!("GET / HTTP/1.0\r\nhost:{name}\r\nconnection: keep-alive\r\n\r\n"),
        format!("GET http://{name}/ HTTP/1.1\r\nHost: {name}\r\n\r\n"),
        format!("OPTIONS /{} HTTP/1.1\r\nHost: {name}\r\n\r\n", "a".repeat(600)),
    ]
    .map(|text| vec![text])
}

/// The name comes in a later segment than the request begins in.
fn cut(name: &str) -> [Vec<String>; 2] {
    [["GET / HTTP/1.1\r\n", "Host: "], ["GET / HTTP/1.1\r\nHost: ", ""]]
        .map(|[first, second]| vec![first.to_owned(), format!("{second}{name}\r\n\r\n")])
}

fn assert_has_pages(town: &Town, host: &Host, name: &str, ways: &[Vec<String>]) {
    for (port, parts) in HTTP.iter().flat_map(|port| ways.iter().map(move |parts| (*port, parts))) {
        assert_eq!(send(host, port, parts), Got::Page, "{} {name} {port} {parts:?}", host.device.name);
    }
    assert!(town.ledger.take().iter().all(|entry| entry.over == Over::Http && entry.name.to_lowercase().trim_end_matches('.') == name));
}

#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn a_blocked_host_is_found_in_every_form_of_a_request() {
    let town = Town::start();
    let (phone, laptop) = (&town.lab.phone, &town.lab.laptop);
    // On a connection that has had another name's page.
    let second = |name| vec![forms(ALLOWED)[0][0].clone(), forms(name)[0][0].clone()];
    for name in [BLOCKED, ALLOWED] {
        assert_has_pages(&town, phone, name, &forms(name));
        assert_has_pages(&town, phone, name, &cut(name));
        assert_eq!(send(phone, HTTP[0], &second(name)), Got::Page, "{name}");
        town.ledger.take();
    }

    let agent = enforce(&town, &BY_NAME, "");
    for (port, parts) in HTTP.iter().flat_map(|port| forms(BLOCKED).map(|parts| (*port, parts))) {
        assert_eq!(send(phone, port, &parts), Got::Reset, "{port} {parts:?}");
    }
    assert_eq!(town.ledger.take(), []);
    assert_eq!(send(phone, HTTP[0], &second(BLOCKED)), Got::Reset);
    assert!(town.ledger.has(phone, Over::Http, Step::Request, ALLOWED));
    assert!(!town.ledger.has(phone, Over::Http, Step::Request, BLOCKED));
    town.ledger.take();
    assert_has_pages(&town, phone, ALLOWED, &forms(ALLOWED));
    assert_has_pages(&town, laptop, BLOCKED, &forms(BLOCKED));

    // Whose name cannot be told is not let through, whoever it is. TCP may send both parts again in one segment, which can be read.
    for (name, parts) in [BLOCKED, ALLOWED].into_iter().flat_map(|name| cut(name).map(|parts| (name, parts))) {
        let before = uninspectable(&agent, "http_unreadable", "drop");
        let got = send(phone, HTTP[0], &parts);
        assert_ne!(got, if name == BLOCKED { Got::Page } else { Got::Reset }, "{parts:?}");
        assert!(uninspectable(&agent, "http_unreadable", "drop") > before, "{parts:?}");
        assert!(town.ledger.take().iter().all(|entry| entry.name == ALLOWED), "{parts:?}");
    }
    assert_has_pages(&town, laptop, BLOCKED, &cut(BLOCKED));
}
