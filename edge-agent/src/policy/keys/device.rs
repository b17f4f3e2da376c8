//! The keys of device groups: what a device is known by.

use edge_ebpf::abi::MAX_SIGNATURE_OFFSET;

use super::{BYTES, DOMAIN, HOST, MAC, PAYLOAD, PORTS, text};
use crate::policy::shape::{Key, Object, Shape};

/// A device group is a boolean expression over signals.
pub(super) static EXPRESSION: Object = Object {
    name: "expression",
    keys: &[
        Key::optional("any", &Shape::List(1, &Shape::Object(&EXPRESSION)), "at least one of these holds"),
        Key::optional("all", &Shape::List(1, &Shape::Object(&EXPRESSION)), "all of these hold"),
        Key::optional("not", &Shape::Object(&EXPRESSION), "this does not hold"),
        Key::optional(
            "vendor",
            &Shape::List(1, &VENDOR),
            "the MAC is assigned to an organisation of the IEEE registry whose name has these words, in any case",
        ),
        Key::optional("mac", &Shape::List(1, &MAC), "the MAC begins so: up to six bytes, or the length in bits after `/`"),
        Key::optional("random_mac", &Shape::Bool, "the MAC is one that a device gives itself (locally administered)"),
        Key::optional(
            "names",
            &Shape::List(1, &DOMAIN),
            "it has asked for one of these names: `example.com` is the name and everything below it, `=example.com` only the name, \
             `*.example.com` only what is below it",
        ),
        Key::optional("dhcp", &Shape::Object(&DHCP), "what its DHCP client says; of several keys all must hold"),
        Key::optional("dhcp6", &Shape::Object(&DHCP6), "what its DHCPv6 client says; of several keys all must hold"),
        Key::optional(
            "tcp_syn",
            &TCP_SYN,
            "how it opens TCP connections: a map of what is asked for, or signatures of p0f, `ver:ittl:olen:mss:wsize,scale:olayout:quirks:pclass`",
        ),
        Key::optional("tls", &Shape::Object(&TLS), "how it says hello in TLS over TCP"),
        Key::optional("http", &Shape::Object(&HTTP), "what its HTTP requests say"),
        Key::optional("signature", &Shape::Object(&SIGNAL_SIGNATURE), "bytes in the payload of a packet that it sends"),
    ],
    choice: true,
    later: &[],
};

static DHCP: Object = Object {
    name: "dhcp",
    keys: &[
        Key::optional("vendor_class", &GLOBS, "option 60, `*` for any letters, in any case; of several one must hold"),
        Key::optional("hostname", &GLOBS, "option 12, in the same way"),
        Key::optional(
            "params",
            &Shape::OneOrManyLists(&Shape::List(1, &Shape::Integer(0, 255))),
            "option 55: exactly these numbers in this order; or a list of such lists",
        ),
    ],
    choice: false,
    later: &[],
};

static DHCP6: Object = Object {
    name: "dhcp6",
    keys: &[
        Key::optional("vendor_class", &GLOBS, "the first text of option 16, `*` for any letters, in any case; of several one must hold"),
        Key::optional("hostname", &GLOBS, "option 39, in the same way"),
        Key::optional(
            "params",
            &Shape::OneOrManyLists(&Shape::List(1, &Shape::Integer(0, 65_535))),
            "option 6: exactly these numbers in this order; or a list of such lists",
        ),
    ],
    choice: false,
    later: &[],
};

static TCP_SYN: Shape = Shape::OneOrMany(&Shape::ObjectOr(&SYN, &P0F));
static SYN: Object = Object {
    name: "tcp_syn",
    keys: &[
        Key::optional("ip", &Shape::Integer(4, 6), "4 or 6"),
        Key::optional("ttl", &Shape::Integer(1, 255), "the sender's time to live: 32, 64, 128 or 255, others count as the next of these"),
        Key::optional("mss", &Shape::IntegerOr(0, 65_535, &ANY), "maximum segment size; `*`: any"),
        Key::optional(
            "window",
            &Shape::IntegerOr(0, 65_535, &WINDOW),
            "a number; `mss*20`, `mtu*4`: so many times that; `%8192`: a multiple; `*`: any",
        ),
        Key::optional("wscale", &Shape::IntegerOr(0, 255, &SCALE), "window scale; `none`: no such option; `*`: any"),
        Key::optional(
            "options",
            &Shape::List(0, &Shape::IntegerOr(0, 255, &OPTION)),
            "all TCP options in order: numbers, or p0f's names `mss`, `ws`, `sok`, `sack`, `ts`, `nop`, `eol+n`, `?n`",
        ),
        Key::optional(
            "quirks",
            &Shape::List(0, &QUIRK),
            "exactly these of p0f's quirks; those that IPv4 or IPv6 alone can have count there",
        ),
        Key::optional("payload", &Shape::Bool, "whether it carries data"),
    ],
    choice: false,
    later: &[],
};

static TLS: Object = Object {
    name: "tls",
    keys: &[Key::required(
        "ja4",
        &Shape::OneOrMany(&JA4),
        "JA4 values, JA4_r values (in quotes), or parts of them with `*`; one must hold",
    )],
    choice: false,
    later: &[],
};

static HTTP: Object = Object {
    name: "http",
    keys: &[Key::required("user_agent", &GLOBS, "the User-Agent, `*` for any letters, in any case; of several one must hold")],
    choice: false,
    later: &[],
};

static SIGNAL_SIGNATURE: Object = Object {
    name: "signature",
    keys: &[
        Key::required("proto", &Shape::Word(&["tcp", "udp"]), "the protocol"),
        Key::optional("port", &PORTS, "the destination port, or a range"),
        Key::optional("ports", &Shape::OneOrMany(&PORTS), "destination ports and ranges of them; any if both are absent"),
        Key::optional("offset", &Shape::Integer(0, MAX_SIGNATURE_OFFSET as i64), "of the first byte in the payload; 0 if absent"),
        Key::required("bytes", &BYTES, "1 to 16 bytes in hexadecimal, `??` for any, at least one of them not; blanks do not matter"),
    ],
    choice: false,
    later: &[],
};

/// Facts that a test's device shows, where a group has patterns.
pub(super) static SHOWN: Object = Object {
    name: "test_shows",
    keys: &[
        Key::optional("names", &Shape::List(1, &HOST), "it asks for these names"),
        Key::optional("dhcp", &Shape::Object(&SHOWN_DHCP), "it sends a DHCPDISCOVER that says this"),
        Key::optional("dhcp6", &Shape::Object(&SHOWN_DHCP6), "it sends a SOLICIT that says this"),
        Key::optional("tcp_syn", &Shape::ObjectOr(&SYN, &P0F), "it opens a connection so; what is open is as of Linux"),
        Key::optional("tls", &Shape::Object(&SHOWN_TLS), "it says hello so"),
        Key::optional("http", &Shape::Object(&SHOWN_HTTP), "it sends an HTTP request with this"),
        Key::optional("signature", &Shape::Object(&SHOWN_SIGNATURE), "it sends these bytes"),
    ],
    choice: true,
    later: &[],
};

static SHOWN_DHCP: Object = Object {
    name: "test_shows_dhcp",
    keys: &[
        Key::optional("vendor_class", &SHOWN_TEXT, "option 60"),
        Key::optional("hostname", &SHOWN_TEXT, "option 12"),
        Key::optional("params", &Shape::List(1, &Shape::Integer(0, 255)), "option 55"),
    ],
    choice: false,
    later: &[],
};

static SHOWN_DHCP6: Object = Object {
    name: "test_shows_dhcp6",
    keys: &[
        Key::optional("vendor_class", &SHOWN_TEXT, "option 16"),
        Key::optional("hostname", &SHOWN_TEXT, "option 39"),
        Key::optional("params", &Shape::List(1, &Shape::Integer(0, 65_535)), "option 6"),
    ],
    choice: false,
    later: &[],
};

static SHOWN_TLS: Object =
    Object { name: "test_shows_tls", keys: &[Key::required("ja4_r", &JA4_R, "the hello's JA4_r, in quotes")], choice: false, later: &[] };

static SHOWN_HTTP: Object =
    Object { name: "test_shows_http", keys: &[Key::required("user_agent", &SHOWN_TEXT, "the User-Agent")], choice: false, later: &[] };

static SHOWN_SIGNATURE: Object = Object {
    name: "test_shows_signature",
    keys: &[
        Key::required("proto", &Shape::Word(&["tcp", "udp"]), "the protocol"),
        Key::required("port", &Shape::Integer(0, 65_535), "the destination port"),
        Key::optional("offset", &Shape::Integer(0, MAX_SIGNATURE_OFFSET as i64), "zeros before the bytes; 0 if absent"),
        Key::required("bytes", &PAYLOAD, "in hexadecimal"),
    ],
    choice: false,
    later: &[],
};

static SHOWN_TEXT: Shape = text("a text", "", "android-dhcp-11");
static JA4_R: Shape = text("a JA4_r", "", "t13d0203h2_1301,1302_000d_0403");
static VENDOR: Shape = text("a vendor's name", "", "Xiaomi");
static GLOBS: Shape = Shape::OneOrMany(&GLOB);
static GLOB: Shape = text("a text with `*`", "", "android-dhcp-*");
static P0F: Shape = text("a signature of p0f", "", "4:64:0:*:mss*10,6:mss,sok,ts,nop,ws:df,id+:0");
static ANY: Shape = text("a number or `*`", "^\\*$", "*");
static WINDOW: Shape = text("a window", "^(\\*|[0-9]+|mss\\*[0-9]+|mtu\\*[0-9]+|%[0-9]+)$", "mss*20");
static SCALE: Shape = text("a number, `none` or `*`", "^(\\*|none)$", "none");
static OPTION: Shape = text("a TCP option", "^(mss|ws|sok|sack|ts|nop|eol\\+[0-9]+|\\?[0-9]+)$", "nop");
static QUIRK: Shape = text("a quirk", "", "df");
static JA4: Shape = text("a JA4", "", "t13d1516h2_8daaf6152771_e5627efa2ab1");
