//! Look-ups with dig(1).

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use xtask::lab::Host;

/// A query to one resolver.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    pub resolver: IpAddr,
    pub tcp: bool,
    pub name: &'a str,
    pub kind: &'a str,
}

/// What came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    Answer {
        /// `NOERROR`, `NXDOMAIN`, …
        status: String,
        /// The data of each record: addresses, aliases.
        records: Vec<String>,
        took: Duration,
    },
    /// Nothing, or the connection was cut off.
    None,
}

impl Reply {
    /// There is such a name, and this record is among the answer's.
    pub fn has(&self, record: impl fmt::Display) -> bool {
        let record = record.to_string();
        matches!(self, Self::Answer { status, records, .. } if status == "NOERROR" && records.contains(&record))
    }
}

impl Query<'_> {
    /// Asks once.
    pub fn from(&self, host: &Host) -> Reply {
        let Self { resolver, tcp, name, kind } = self;
        let transport = if *tcp { "+tcp" } else { "+notcp" };
        let dig = host
            .command("dig")
            .args([&format!("@{resolver}"), *name, *kind, transport, "+tries=1", "+time=1", "+noall", "+comments", "+answer", "+stats"])
            .output()
            .expect("dig is there: ./x setup --for test");
        let text = String::from_utf8_lossy(&dig.stdout);
        let field = |key: &str, end: char| text.split_once(key).and_then(|(_, rest)| rest.split(end).next()).map(str::to_owned);
        let Some(status) = field("status: ", ',') else { return Reply::None };
        let records = text.lines().filter(|line| !line.starts_with(';') && !line.is_empty());
        // NAME TTL CLASS TYPE DATA…
        let data = |line: &str| line.split_whitespace().skip(4).collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned();
        let took = field("Query time: ", ' ').and_then(|time| time.parse().ok()).expect("dig prints the time that a query took");
        Reply::Answer { status, records: records.map(data).collect(), took: Duration::from_millis(took) }
    }
}
