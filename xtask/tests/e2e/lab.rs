//! The lab itself, without an agent: what the other tests and `./x run` take for granted.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use xtask::command::output;
use xtask::lab::client::{Family, Outcome, Protocol, Try};
use xtask::lab::plan::SERVERS;
use xtask::lab::process::wait_until;
use xtask::lab::{Lab, remove_leftovers};

/// Everything is reached while nothing filters. Otherwise a "blocked" elsewhere would prove nothing.
#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn without_a_filter_everything_is_reached() {
    let lab = Lab::start().unwrap();
    for host in [&lab.phone, &lab.laptop] {
        for server in SERVERS {
            for family in [Family::Ipv4, Family::Ipv6] {
                for protocol in [Protocol::Lookup, Protocol::Http, Protocol::Https, Protocol::Echo] {
                    let outcome = Try { protocol, server, family }.from(host, &lab.directory).unwrap().outcome;
                    assert_eq!(outcome, Outcome::Reached, "{} {protocol} {} {family:?}", host.device.name, server.name);
                }
            }
        }
    }
}

#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn nothing_is_left_of_a_lab_that_ended_or_crashed() {
    let lab = Lab::start().unwrap();
    let (directory, gateway) = (lab.directory.path().to_owned(), lab.gateway.name().to_owned());
    assert!(directory.join("bpf").is_dir());
    drop(lab);
    assert!(!directory.exists());
    assert!(!Path::new("/run/netns").join(gateway).exists());

    // A number above the kernel's limit of 2^22 stands for a process that is gone.
    let name = "edge-lab-4194305-0-phone";
    let left = Path::new("/run/edge-lab/4194305-0");
    assert!(Command::new("ip").args(["netns", "add", name]).status().unwrap().success());
    let mut running = Command::new("nsenter").args([&format!("--net=/run/netns/{name}"), "sleep", "60"]).spawn().unwrap();
    wait_until(
        Duration::from_secs(5),
        "something runs there",
        || Ok(!output(Command::new("ip").args(["netns", "pids", name]))?.is_empty()),
    )
    .unwrap();
    std::fs::create_dir_all(left.join("bpf")).unwrap();
    assert!(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(left.join("bpf")).status().unwrap().success());
    remove_leftovers();
    assert_eq!(running.wait().unwrap().signal(), Some(libc::SIGKILL));
    assert!(!left.exists());
    assert!(!Path::new("/run/netns").join(name).exists());
}
