//! The keys of `agent.yaml`.

use super::names;
use crate::policy::keys::{MAC, PREFIX, SERVICE};
use crate::policy::shape::{Key, Object, Shape, Text};

pub static AGENT: Object = Object {
    name: "agent",
    keys: &[
        Key::required("interfaces", &Shape::Object(&INTERFACES), "the interfaces to filter on, by role"),
        Key::optional("xdp", &Shape::Object(&XDP), "how the program is attached"),
        Key::optional("policies", &FILE, "folder of the policies, read with all below it; /etc/edge/policies if absent"),
        Key::optional("metrics", &Shape::Object(&METRICS), "Prometheus metrics and health"),
        Key::optional("control", &Shape::Object(&CONTROL), "what `status` and `reload` talk to"),
        Key::optional("log", &Shape::Object(&LOG), "the agent's log on standard error"),
        Key::optional("state", &Shape::Object(&STATE), "what outlives the agent"),
        Key::optional("sources", &Shape::Object(&SOURCES), "data files that policies refer to"),
        Key::optional("always_allow", &Shape::Object(&ALWAYS_ALLOW), "passed before any policy is asked"),
        Key::optional("names", &Shape::Object(&NAMES), "names in packets, and addresses learned for them"),
        Key::optional("identity", &Shape::Object(&IDENTITY), "what devices are known by, and for how long"),
        Key::optional("uninspectable", &Shape::Object(&UNINSPECTABLE), "verdicts on packets that cannot be inspected, by reason"),
    ],
    choice: false,
    later: &[],
};

static INTERFACES: Object = Object {
    name: "interfaces",
    keys: &[
        Key::required("inside", &Shape::List(1, &INTERFACE), "these face the devices"),
        Key::optional("outside", &Shape::List(0, &INTERFACE), "these face the upstream"),
    ],
    choice: false,
    later: &[],
};

static XDP: Object = Object {
    name: "xdp",
    keys: &[Key::optional(
        "mode",
        &Shape::Word(&["native", "generic", "native_or_generic"]),
        "in the driver, after it, or after it where the driver cannot; native if absent",
    )],
    choice: false,
    later: &[],
};

static METRICS: Object = Object {
    name: "metrics",
    keys: &[Key::optional("listen", &SOCKET_ADDRESS, "address and port; 127.0.0.1:9650 if absent")],
    choice: false,
    later: &[],
};

static CONTROL: Object = Object {
    name: "control",
    keys: &[Key::optional("socket", &FILE, "Unix socket; /run/edge/agent.sock if absent")],
    choice: false,
    later: &[],
};

static LOG: Object = Object {
    name: "log",
    keys: &[
        Key::optional("format", &Shape::Word(&["text", "json"]), "text if absent"),
        Key::optional("level", &Shape::Word(&["error", "warn", "info", "debug", "trace"]), "info if absent"),
    ],
    choice: false,
    later: &[],
};

static STATE: Object = Object {
    name: "state",
    keys: &[
        Key::optional("pins", &FILE, "folder in a BPF file system; /sys/fs/bpf/edge if absent"),
        Key::optional("directory", &FILE, "what data files were when they were last used; /var/lib/edge if absent"),
    ],
    choice: false,
    later: &[],
};

static SOURCES: Object = Object {
    name: "sources",
    keys: &[
        Key::optional("vendors", &Shape::List(1, &FILE), "assignments of the IEEE registry as CSV; those of Debian's ieee-data if absent"),
        Key::optional("countries", &Shape::Object(&COUNTRIES), "country of each address; those of Debian's tor-geoipdb if absent"),
        Key::optional("asns", &FILE, "MMDB file with the autonomous system of each address; none if absent"),
        Key::optional("services", &FILE, "names of services, as in services(5); /etc/services if absent"),
        Key::optional("max_shrink", &SHARE, "a file that lost more of its entries since it was last used is not taken; 50% if absent"),
        Key::optional("max_age", &AGE, "a file of addresses that is older is warned of, or `never`; 400d if absent"),
    ],
    choice: false,
    later: &[],
};

static COUNTRIES: Object = Object {
    name: "countries",
    keys: &[
        Key::optional("ipv4", &FILE, "lines `first,last,CC` with addresses as numbers; /usr/share/tor/geoip if absent"),
        Key::optional("ipv6", &FILE, "lines `first,last,CC` with addresses as text; /usr/share/tor/geoip6 if absent"),
        Key::optional("mmdb", &FILE, "MMDB file of both families, instead of those two"),
    ],
    choice: false,
    later: &[],
};

static ALWAYS_ALLOW: Object = Object {
    name: "always_allow",
    keys: &[
        Key::optional("prefixes", &Shape::List(0, &PREFIX), "destinations: CIDR prefixes, addresses, or ranges `first-last`"),
        Key::optional("services", &Shape::List(0, &SERVICE), "protocols and destination ports"),
        Key::optional("macs", &Shape::List(0, &MAC), "devices"),
    ],
    choice: false,
    later: &[],
};

static NAMES: Object = Object {
    name: "names",
    keys: &[
        Key::optional(
            "quic",
            &Shape::Word(&["block", "pass", "inspect"]),
            "QUIC's first packets, whose name is encrypted; block: dropped where a rule could match, so that clients take TCP; inspect: \
             the same, until the agent has read the name; block if absent",
        ),
        Key::optional(
            "ech",
            &Shape::Word(&["pass", "strip", "block"]),
            "ClientHellos that may hide the name (RFC 9849); strip: their keys are kept from clients; block: dropped where a rule could \
             match; pass if absent",
        ),
        Key::optional(
            "dns_reject",
            &Shape::Word(&["nxdomain", "refused", "null_address"]),
            "how a query is answered that a rule rejects; nxdomain if absent",
        ),
        Key::optional("learned", &Shape::Object(&LEARNED), "addresses that answers gave for names"),
        Key::optional("flows", &CAPACITY, "connections of which something is remembered; 65536 if absent"),
    ],
    choice: false,
    later: &[],
};

static LEARNED: Object = Object {
    name: "learned",
    keys: &[
        Key::optional("capacity", &CAPACITY, "how many are kept; those that end first go first; 65536 if absent"),
        Key::optional("min_ttl", &SECONDS, "kept for at least so long, in seconds or as `1h`; 1h if absent"),
        Key::optional("max_ttl", &SECONDS, "and for at most so long, whatever the answer says; 7d if absent"),
    ],
    choice: false,
    later: &[],
};

static IDENTITY: Object = Object {
    name: "identity",
    keys: &[
        Key::optional(
            "observe",
            &Shape::Bool,
            "the agent keeps what devices show of themselves, so that new policies know them by it, and after a reboot; true if absent",
        ),
        Key::optional("remember", &SECONDS, "for so long after a device was last seen, in seconds or as `1h`; 30d if absent"),
        Key::optional("devices", &CAPACITY, "devices of which something is remembered; 16384 if absent"),
        Key::optional("inventory", &FILE, "known devices, as YAML or CSV (by the file's ending); none if absent"),
        Key::optional("p0f", &FILE, "p0f's database, p0f.fp; none if absent"),
        Key::optional("satori", &FILE, "Satori's database of DHCP clients, dhcp.xml; none if absent"),
        Key::optional("fingerprints", &FILE, "database in the format of policies/fingerprints; none if absent"),
    ],
    choice: false,
    later: &[],
};

/// One key a reason, named as in `edge_ebpf::abi::Reason`; those that are not here are under `names`.
static UNINSPECTABLE: Object = Object {
    name: "uninspectable",
    keys: &[
        Key::optional("truncated", &VERDICT, "ends before a header that it announces does"),
        Key::optional("bad_header", &VERDICT, "a header contradicts itself"),
        Key::optional("extension_chain", &VERDICT, "more IPv6 extension headers than are followed"),
        Key::optional("fragment_without_first", &VERDICT, "a later fragment whose first one was not seen"),
        Key::optional("nested_tags", &VERDICT, "more than two VLAN tags"),
        Key::optional("source_route", &VERDICT, "the header names a next stop, not the destination"),
        Key::optional("dns_unreadable", &VERDICT, "a DNS query that cannot be read, of a device that rules with names are about"),
        Key::optional("tls_unreadable", &VERDICT, "such a device's TLS ClientHello that cannot be read"),
        Key::optional("http_unreadable", &VERDICT, "such a device's HTTP request whose host is not in its first segment"),
        Key::optional("out_of_order", &VERDICT, "such a device's TCP segment that came before the one that may hold the name"),
    ],
    choice: false,
    later: &[],
};

static VERDICT: Shape = Shape::Word(&["pass", "drop", "drop_if_rule_could_match"]);
static CAPACITY: Shape = Shape::Integer(names::LEAST, names::MOST);
static SECONDS: Shape = Shape::IntegerOr(1, names::MOST_SECONDS, &TIME);
static TIME: Shape = text("a time", "1h");
static FILE: Shape = text("a path", "/etc/edge/policies");
static INTERFACE: Shape = text("an interface's name", "eth0");
static SOCKET_ADDRESS: Shape = text("an address and port", "127.0.0.1:9650");
static SHARE: Shape = text("a share", "50%");
static AGE: Shape = text("a number of days", "400d");

const fn text(what: &'static str, example: &'static str) -> Shape {
    Shape::Text(Text { what, pattern: "", example })
}
