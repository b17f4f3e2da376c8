//! The keys of a policy.

mod device;

use edge_ebpf::abi::MAX_SIGNATURE_OFFSET;

use self::device::{EXPRESSION, SHOWN};
use super::rate::MOST;
use super::shape::{Key, Object, Shape, Text};

pub static POLICY: Object = Object {
    name: "policy",
    keys: &[
        Key::required("apiVersion", &Shape::Word(&["edge/v1"]), "version of this language"),
        Key::required("kind", &Shape::Word(&["Policy"]), "what this document is"),
        Key::required("metadata", &Shape::Object(&METADATA), "who says so, and since when"),
        Key::required("spec", &Shape::Object(&SPEC), "what is to be enforced"),
    ],
    choice: false,
    later: &[],
};

static METADATA: Object = Object {
    name: "metadata",
    keys: &[
        Key::required("name", &NAME, "unique name, in metrics and logs"),
        Key::optional("title", &ANY_TEXT, "one line for people; the name if absent"),
        Key::optional("severity", &Shape::Word(SEVERITIES), "how grave the advisory is; medium if absent"),
        Key::optional("issued", &OPTIONAL_DATE, "date of the advisory"),
        Key::optional("expires", &OPTIONAL_DATE, "last day, in UTC, on which the rules hold; `check` warns from the next on"),
        Key::optional("reviewBy", &OPTIONAL_DATE, "day from which on `check` warns and a metric tells that the policy is due for review"),
        Key::optional(
            "stopBy",
            &OPTIONAL_DATE,
            "day, in UTC, from which on devices should have stopped; what they still try is alerted on",
        ),
        Key::optional("references", &Shape::List(0, &Shape::Object(&REFERENCE)), "sources of what the policy says"),
    ],
    choice: false,
    later: &[],
};

pub const SEVERITIES: &[&str] = &["low", "medium", "high", "critical"];

static REFERENCE: Object = Object {
    name: "reference",
    keys: &[
        Key::required("title", &ANY_TEXT, "title of the source"),
        Key::optional("date", &OPTIONAL_DATE, "its date"),
        Key::optional("url", &ANY_TEXT, "where it stands"),
    ],
    choice: false,
    later: &[],
};

static SPEC: Object = Object {
    name: "spec",
    keys: &[
        Key::optional("mode", &Shape::Word(&["enforce", "monitor"]), "monitor: every rule only counts and reports; enforce if absent"),
        Key::optional("priority", &Shape::Integer(0, 1_000_000), "policies with a lower number are asked first; 100 if absent"),
        Key::optional(
            "devices",
            &Shape::Named(&Shape::Object(&EXPRESSION)),
            "groups of devices, by name; `all` and `unknown` are built in",
        ),
        Key::optional("destinations", &Shape::Named(&Shape::Object(&DESTINATION)), "sets of addresses, by name; `any` is built in"),
        Key::optional("services", &Shape::Named(&Shape::Object(&SIGNATURE)), "services that are known by their payload, by name"),
        Key::required("rules", &Shape::List(1, &Shape::Object(&RULE)), "the first rule that matches and does not only monitor decides"),
        Key::optional("tests", &Shape::List(0, &Shape::Object(&TEST)), "packets and what must become of them"),
    ],
    choice: false,
    later: &[],
};

static DESTINATION: Object = Object {
    name: "destination",
    keys: &[
        Key::optional("prefixes", &Shape::List(0, &PREFIX), "CIDR prefixes, addresses, or ranges `first-last`"),
        Key::optional("prefix_lists", &Shape::List(0, &FILE), "text files of the same, one a line, packed by gzip, zstd, xz, or not"),
        Key::optional("countries", &Shape::List(0, &COUNTRY), "ISO 3166 codes of two letters"),
        Key::optional(
            "asns",
            &Shape::List(0, &ASN),
            "numbers of autonomous systems, with or without `AS`; needs `sources.asns` in agent.yaml",
        ),
        Key::optional(
            "domains",
            &Shape::List(0, &DOMAIN),
            "names: `example.com` is the name and everything below it, `=example.com` only the name, `*.example.com` only what is below it",
        ),
        Key::optional(
            "domain_lists",
            &Shape::List(0, &DOMAIN_LIST),
            "files of names: hosts, plain, RPZ or adblock, told by the file unless `hosts:`, `plain:`, `rpz:` or `adblock:` stands before \
             its path; packed by gzip, zstd, xz, or not",
        ),
        Key::optional(
            "learned",
            &Shape::Word(&["off", "monitor", "enforce"]),
            "what an address is worth that an answer gave for one of the names; monitor: it is only counted and reported; enforce if absent",
        ),
    ],
    choice: false,
    later: &[],
};

static SIGNATURE: Object = Object {
    name: "service",
    keys: &[
        Key::required("proto", &Shape::Word(&["tcp", "udp"]), "the protocol"),
        Key::optional("ports", &Shape::OneOrMany(&PORTS), "destination ports and ranges of them; any if absent"),
        Key::optional("offset", &Shape::Integer(0, MAX_SIGNATURE_OFFSET as i64), "of the first byte in the payload; 0 if absent"),
        Key::required("bytes", &BYTES, "1 to 16 bytes in hexadecimal, `??` for any, at least one of them not; blanks do not matter"),
    ],
    choice: false,
    later: &[],
};

static RULE: Object = Object {
    name: "rule",
    keys: &[
        Key::required("id", &NAME, "unique in the policy, in metrics and logs"),
        Key::required("from", &Shape::OneOrMany(&GROUP), "device groups"),
        Key::optional("to", &Shape::OneOrMany(&DESTINATION_NAME), "destinations; any if absent"),
        Key::optional("services", &Shape::OneOrMany(&SERVICE), "protocols and destination ports, names of services; any if absent"),
        Key::required(
            "action",
            &Shape::Word(&["pass", "drop", "reject", "rate_limit", "monitor"]),
            "what becomes of a packet that matches",
        ),
        Key::optional("rate", &Shape::Object(&RATE), "with the action `rate_limit`: what passes for each device, the rest is dropped"),
        Key::optional("when", &Shape::Object(&WHEN), "times of the week at which the rule holds; always if absent"),
        Key::optional(
            "direction",
            &Shape::Word(&["outbound", "inbound", "both"]),
            "outbound, from the inside, if absent; inbound packets are decided on outside interfaces, `to` is where they come from",
        ),
    ],
    choice: false,
    later: &[],
};

static RATE: Object = Object {
    name: "rate",
    keys: &[
        Key::optional("packets_per_second", &Shape::Integer(1, MOST), "packets, or:"),
        Key::optional("bytes_per_second", &Shape::Integer(1, MOST), "bytes of whole frames"),
        Key::optional("burst", &Shape::Integer(1, MOST), "what may come at once, in the same unit; one second's worth if absent"),
    ],
    choice: false,
    later: &[],
};

static WHEN: Object = Object {
    name: "when",
    keys: &[
        Key::optional("days", &Shape::OneOrMany(&DAY), "days on which the hours begin; every day if absent"),
        Key::optional("hours", &HOURS, "first minute and the one after the last; over midnight if that is earlier; 00:00-24:00 if absent"),
        Key::optional("timezone", &TIMEZONE, "whose clock shows them: a name of the IANA database; UTC if absent"),
    ],
    choice: false,
    later: &[],
};

static TEST: Object = Object {
    name: "test",
    keys: &[
        Key::required("name", &ANY_TEXT, "what is shown"),
        Key::required("from", &Shape::Object(&TEST_FROM), "who sends it: the device, or the remote of an inbound packet"),
        Key::required("to", &Shape::Object(&TEST_TO), "where it goes"),
        Key::optional("direction", &Shape::Word(&["outbound", "inbound"]), "of the packet; outbound if absent"),
        Key::optional("at", &TIME, "when it comes, for rules that hold at times; now if absent"),
        Key::required("expect", &Shape::Object(&TEST_EXPECT), "what must become of the packet"),
    ],
    choice: false,
    later: &[],
};

static TEST_FROM: Object = Object {
    name: "test_from",
    keys: &[
        Key::optional("mac", &MAC, "the device's whole MAC; an inbound packet needs none"),
        Key::optional("address", &ADDRESS, "its address; one of the family of `to` if absent, but an inbound packet needs it"),
        Key::optional("shows", &Shape::List(1, &Shape::Object(&SHOWN)), "what the device has shown before, in packets of its own"),
        Key::optional("learned", &Shape::OneOrMany(&HOST), "of an inbound packet: names for which an answer gave the address before"),
    ],
    choice: false,
    later: &[],
};

static TEST_TO: Object = Object {
    name: "test_to",
    keys: &[
        Key::optional("address", &ADDRESS, "the address that it goes to; one for documentation if absent, where there is a name"),
        Key::required("service", &SERVICE, "one protocol and port: `tcp/443`, `udp/53`, `icmp/8`, `ip/47`"),
        Key::optional(
            "name",
            &HOST,
            "the name that the packet carries: a DNS query's to port 53, an HTTP request's to tcp/80, a ClientHello's to other ports of tcp",
        ),
        Key::optional("learned", &Shape::OneOrMany(&HOST), "names for which an answer gave the address before"),
        Key::optional("payload", &PAYLOAD, "instead of a name, the first bytes that it carries, in hexadecimal"),
    ],
    choice: false,
    later: &[],
};

static TEST_EXPECT: Object = Object {
    name: "test_expect",
    keys: &[
        Key::optional(
            "verdict",
            &Shape::Word(&["pass", "drop", "reject"]),
            "what becomes of the packet; not asked for if there is `matches`",
        ),
        Key::optional("rule", &RULE_NAME, "the rule that decides; `policy/rule` for another policy's"),
        Key::optional("monitored", &Shape::List(0, &RULE_NAME), "all rules that count and report it and do not decide, in order"),
        Key::optional(
            "matches",
            &Shape::List(0, &RULE_NAME),
            "rules that it meets, whether they decide or only count, so that it holds in both modes; empty: no rule of the policy",
        ),
    ],
    choice: false,
    later: &[],
};

const fn text(what: &'static str, pattern: &'static str, example: &'static str) -> Shape {
    Shape::Text(Text { what, pattern, example })
}

pub static NAME: Shape = text("a name", "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", "no-reporting");
static ANY_TEXT: Shape = text("a text", "", "as it shall be shown");
static OPTIONAL_DATE: Shape = Shape::OrNull(&DATE);
static DATE: Shape = text("a date", "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "2014-10-24");
static TIME: Shape = text("a time", "", "2014-10-24T12:00:00Z");
static DAY: Shape = text("a day", "^(mon|tue|wed|thu|fri|sat|sun)(-(mon|tue|wed|thu|fri|sat|sun))?$", "mon-fri");
static HOURS: Shape = text("hours of a day", "^[0-2][0-9]:[0-5][0-9]-[0-2][0-9]:[0-5][0-9]$", "08:00-17:30");
static TIMEZONE: Shape = text("a time zone's name", "", "Asia/Kolkata");
pub static MAC: Shape = text("a MAC prefix", "^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){0,5}(/[0-9]{1,2})?$", "64:09:80:00:00:00/24");
pub static PREFIX: Shape = text("a prefix", "", "42.62.48.0/24");
static FILE: Shape = text("a file", "", "lists/servers.txt");
static DOMAIN: Shape = text("a domain name", "", "example.com");
static DOMAIN_LIST: Shape = text("a file", "", "lists/names.txt");
static COUNTRY: Shape = text("a country's code", "^[A-Z]{2}$", "CN");
static ASN: Shape = Shape::IntegerOr(1, u32::MAX as i64, &ASN_TEXT);
static ASN_TEXT: Shape = text("an AS number", "^(AS|as)?[0-9]{1,10}$", "AS4134");
static GROUP: Shape = text("a group's name", "", "phones");
static DESTINATION_NAME: Shape = text("a destination's name", "", "servers");
pub static SERVICE: Shape = text("a service", "", "tcp/443");
static PORTS: Shape = Shape::IntegerOr(0, u16::MAX as i64, &PORT_RANGE);
static PORT_RANGE: Shape = text("a port or a range of ports", "^[0-9]{1,5}(-[0-9]{1,5})?$", "8000-8010");
static BYTES: Shape = text("a signature", "^[0-9A-Fa-f? ]+$", "c2fe0005 ???????? 00020016");
static PAYLOAD: Shape = text("a payload", "^[0-9A-Fa-f ]+$", "c2fe0005 00020016");
static HOST: Shape = text("a name", "", "www.example.com");
pub static ADDRESS: Shape = text("an address", "", "192.0.2.1");
static RULE_NAME: Shape = text("a rule's id", "", "no-reporting");
