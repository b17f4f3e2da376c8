//! A browser, with the hello that most phones and laptops send: post-quantum, with an ECH extension, in two segments.

use std::io;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use xtask::command::{find_program, output};
use xtask::lab::{Directory, Host};

use super::town::Town;

/// Seconds; starting it is most of that.
const PATIENCE: &str = "60";

/// Of the page that the servers have.
const SHOWN: &str = "the page was reached";
/// What the code of every error begins with.
const ERROR: &str = "ERR_";

/// Whether it is there. Says so if it is not: it is large, and no reason to fail where it cannot be had.
pub fn is_there() -> bool {
    let found = find_program("chromium").is_some();
    if !found {
        // Past the test's capture, for who runs the tests to see.
        let reason = "\ntest: the browser is left out: the package chromium is not installed (./x test as root installs it on Debian)\n";
        let _ = io::Write::write_all(&mut io::stderr(), reason.as_bytes());
    }
    found
}

/// Opens the page of a name on a device, with more options. If the browser shows an error instead: its code, as `ERR_CONNECTION_RESET`.
pub fn open(town: &Town, host: &Host, name: &str, options: &[&str]) -> Result<(), String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // A fresh profile: nothing is remembered of the last page, its address, its protocol.
    let profile = town.lab.directory.path().join(format!("chromium-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    let Output { status, stdout, stderr } = host
        .command("timeout")
        .args(["--kill-after=5", PATIENCE, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--ignore-certificate-errors-spki-list={}", key_digest(&town.lab.directory)))
        .args(options)
        .args(["--dump-dom", &format!("https://{name}/")])
        .env("HOME", &profile)
        .stdin(Stdio::null())
        .output()
        .expect("timeout is part of every Debian");
    let (page, log) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    if page.contains(SHOWN) {
        return Ok(());
    }
    // In the page that some versions print in the place of another, or in the log of the others.
    let error = [&page, &log].into_iter().find_map(|text| Some(ERROR.to_owned() + text.split_once(ERROR)?.1));
    let error = error.unwrap_or_else(|| panic!("chromium {status} shows neither the page nor an error: {page} {log}"));
    Err(error.chars().take_while(|letter| letter.is_ascii_uppercase() || *letter == '_').collect())
}

/// The SHA-256 of the lab's public key, by which the browser takes its certificate for good; over QUIC it takes no other hint.
fn key_digest(directory: &Directory) -> String {
    let pipe = "openssl x509 -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | openssl base64";
    let mut shell = std::process::Command::new(find_program("sh").unwrap_or_else(|| Path::new("/bin/sh").to_owned()));
    let certificate = std::fs::File::open(Host::trusted(directory)).unwrap();
    output(shell.args(["-c", pipe]).stdin(certificate)).unwrap().trim().to_owned()
}
