//! What the phone and the laptop try in each round, and what should become of it.

use std::thread;

use anyhow::{Result, anyhow};

use super::table::{Expected, Row};
use crate::lab::client::{Family, Protocol, Try};
use crate::lab::plan::{ELSEWHERE, REPORTING, Server};
use crate::lab::{Host, Lab};

use Expected::{Blocked, Reached};
use Family::{Ipv4, Ipv6};
use Protocol::{Echo, Http, Https, Lookup};

/// The policy keeps the phone, by its vendor, from every server in China and from the vendor's names, whose look-ups it stops; the rest of the world
/// stays open.
const PHONE: [(Protocol, Server, Family, Expected); 8] = [
    (Lookup, REPORTING, Ipv4, Blocked),
    (Http, REPORTING, Ipv4, Blocked),
    (Https, REPORTING, Ipv4, Blocked),
    (Https, REPORTING, Ipv6, Blocked),
    (Echo, REPORTING, Ipv4, Blocked),
    (Http, ELSEWHERE, Ipv4, Reached),
    (Https, ELSEWHERE, Ipv4, Reached),
    (Https, ELSEWHERE, Ipv6, Reached),
];

/// The same for the laptop, which it is not about.
const LAPTOP: [(Protocol, Server, Family, Expected); 5] = [
    (Http, REPORTING, Ipv4, Reached),
    (Https, REPORTING, Ipv4, Reached),
    (Https, REPORTING, Ipv6, Reached),
    (Echo, REPORTING, Ipv4, Reached),
    (Https, ELSEWHERE, Ipv4, Reached),
];

/// Makes all tries at once, and returns them in the order of the tables above.
pub fn play(lab: &Lab) -> Result<Vec<Row>> {
    let phone = PHONE.iter().map(|line| (&lab.phone, line));
    let laptop = LAPTOP.iter().map(|line| (&lab.laptop, line));
    thread::scope(|scope| {
        let running: Vec<_> = phone.chain(laptop).map(|(host, line)| scope.spawn(|| play_one(lab, host, line))).collect();
        running.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a client's thread panicked"))?).collect()
    })
}

fn play_one(lab: &Lab, host: &Host, line: &(Protocol, Server, Family, Expected)) -> Result<Row> {
    let (protocol, server, family, expected) = *line;
    let tried = Try { protocol, server, family };
    Ok(Row { device: host.device.name, answer: tried.from(host, &lab.directory)?, tried, expected })
}
