//! Names in use: a policy on 300,000 of them, frames that carry none, and frames that carry one.
//!
//! A generator writes another name into each frame: a block of fixed size, of which what the name leaves is filled as the protocol fills it,
//! so that names are as long as they come.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use edge_agent::config::Conduct;
use edge_agent::dataplane::object::ANSWERS;
use edge_agent::engine::frame::{Ends, FrameSpec, TcpFlags, Transport};
use edge_agent::engine::message::wire_name;
use edge_agent::engine::{Engine, host::HostEngine};
use edge_agent::policy::compile::Compiled;
use edge_ebpf::abi::{AnswerResult, Counter, Verdict};
use edge_ebpf::packet::Mac;
use serde_json::json;

use crate::expected::{DROP, PASS, code};
use crate::kernel::{self, BLOCK, Block, Loaded, Programs};
use crate::measure::{Expect, Subject};
use crate::sets::{self, ELSEWHERE, Folder, PHONE, Random};
use crate::workshop::Workshop;

const WATCHED: usize = 300_000;
/// As many as a generator goes through, of a power of two.
const ALL: usize = 1 << 18;
const FEW: usize = 256;
/// Of no group of the policy.
const UNWATCHED: Mac = Mac(0x0210_0000_0001);
/// `TC_ACT_UNSPEC`, as `BPF_PROG_TEST_RUN` returns it.
const GO_ON: u32 = u32::MAX;

/// A frame that carries no name; to this port.
#[derive(Clone, Copy)]
pub enum Plain {
    Tcp(u16),
    Udp(u16),
    /// TCP, of a device that no rule on names is for.
    Unwatched(u16),
}

/// What carries a name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    Query,
    Hello,
    Request,
    Answer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A name below a watched one.
    Watched,
    /// One that no rule is about.
    Other,
}

/// How many names there are before the first one comes again.
#[derive(Clone, Copy)]
pub enum Rotation {
    /// What they need is in the caches.
    Few,
    /// Look-ups miss the caches.
    All,
}

impl Workshop<'_> {
    /// A rule on an address, and on [`WATCHED`] names.
    pub fn names(&self) -> Result<Arc<Compiled>> {
        self.set("names", || {
            let folder = Folder::new(&policy("names", ", domain_lists: [names.txt]"))?;
            let list: String = domains(Asked::Watched).iter().map(|domain| format!("{domain}\n")).collect();
            std::fs::write(folder.path().join("names.txt"), list).context("cannot write the list of names")?;
            sets::compiled(&[folder.path()])
        })
    }

    /// The same rule without names.
    pub fn names_off(&self) -> Result<Arc<Compiled>> {
        self.set("names off", || sets::compiled(&[Folder::new(&policy("names-off", ""))?.path()]))
    }

    pub fn plain(&self, name: &'static str, plain: Plain, set: Arc<Compiled>) -> Result<Subject> {
        let Loaded { compiled, mut object } = Loaded::new(set)?;
        self.describe(name, &compiled);
        let program = kernel::inside(&mut object)?;
        self.note(name, [("verified_instructions", json!(program.verified_instruction_count()))]);
        let frame = plain.frame();
        ensure!(by_rule(&compiled, &frame)?.is_none(), "{name}: a rule is about the frame");
        let expect: Expect = Box::new(|_, returned| returned == PASS);
        Subject::new(name, program, frame, expect, vec![Box::new(object)])?.after(&plain.before())
    }

    pub fn tc_floor(&self, name: &'static str) -> Result<Subject> {
        let mut programs = Programs::plain()?;
        let program = programs.load("go_on")?;
        Subject::new(name, program, towards_device(), Box::new(|_, returned| returned == GO_ON), vec![Box::new(programs)])
    }

    pub fn towards_device(&self, name: &'static str) -> Result<Subject> {
        let Loaded { compiled: _, mut object } = Loaded::new(self.names()?)?;
        let program = kernel::answers(&mut object)?;
        self.note(name, [("verified_instructions", json!(program.verified_instruction_count()))]);
        Subject::new(name, program, towards_device(), Box::new(|_, returned| returned == GO_ON), vec![Box::new(object)])
    }

    pub fn names_floor(&self, name: &'static str, carrier: Carrier, rotation: Rotation) -> Result<Subject> {
        let names = names(Asked::Watched, rotation);
        let mut programs = Programs::varying(&blocks(carrier, &names)?, carrier.place())?;
        let (floor, returns) = if carrier == Carrier::Answer { ("go_on", GO_ON) } else { ("drop", DROP) };
        let floor = programs.load(floor)?;
        programs.jump_to(&floor)?;
        let program = programs.load(carrier.generator())?;
        let frame = carrier.frame(&carrier.block(&names[0])?);
        Subject::new(name, program, frame, Box::new(move |_, returned| returned == returns), vec![Box::new(programs)])
    }

    pub fn named(&self, name: &'static str, carrier: Carrier, asked: Asked, rotation: Rotation) -> Result<Subject> {
        let Loaded { compiled, mut object } = Loaded::new(self.names()?)?;
        self.describe(name, &compiled);
        let names = names(asked, rotation);
        let frame = carrier.frame(&carrier.block(&names[0])?);
        let (target, returns) = if carrier == Carrier::Answer {
            let target = kernel::answers(&mut object)?;
            let result = if asked == Asked::Watched { AnswerResult::Learned } else { AnswerResult::Nothing };
            // The program lets everything go on: only its counters tell.
            let subject = Subject::new(name, target, frame.clone(), Box::new(|_, returned| returned == GO_ON), vec![])?;
            drop(subject.after(std::slice::from_ref(&frame))?);
            let counted = object.per_cpu::<Counter>(ANSWERS)?.get(&(result as u32), 0)?;
            ensure!(counted.iter().map(|counter| counter.0.packets).sum::<u64>() == 1, "{name}: the answer was not {}", result.name());
            (kernel::answers(&mut object)?, GO_ON)
        } else {
            let verdict = by_rule(&compiled, &frame)?.unwrap_or(Verdict::Pass);
            ensure!((verdict == Verdict::Drop) == (asked == Asked::Watched), "{name}: it would be {verdict:?}");
            (kernel::inside(&mut object)?, code(verdict))
        };
        self.note(
            name,
            [
                ("verified_instructions", json!(target.verified_instruction_count())),
                ("watched_names", json!(WATCHED)),
                ("frame_bytes", json!(frame.len())),
            ],
        );
        let mut programs = Programs::varying(&blocks(carrier, &names)?, carrier.place())?;
        programs.jump_to(&target)?;
        let program = programs.load(carrier.generator())?;
        let expect: Expect = Box::new(move |_, returned| returned == returns);
        Subject::new(name, program, frame, expect, vec![Box::new(programs), Box::new(object)])
    }
}

/// The verdict of the rule that is about the frame: what could not be inspected is not to be taken for it.
fn by_rule(compiled: &Compiled, frame: &[u8]) -> Result<Option<Verdict>> {
    let outcome = HostEngine::new(compiled, Conduct::default())?.run(frame)?;
    ensure!(outcome.reason.is_none(), "the frame cannot be inspected: {:?}", outcome.reason);
    Ok(outcome.rule.map(|_| outcome.verdict))
}

fn policy(name: &str, names: &str) -> String {
    let head = sets::head(name, 100);
    let phone = sets::text(PHONE);
    format!(
        "{head}  devices:\n    phones: {{any: [{{mac: [\"{phone}\"]}}]}}\n\
         \x20 destinations:\n    watched: {{prefixes: [203.0.113.0/24]{names}}}\n\
         \x20 rules:\n    - {{id: no-watched, from: phones, to: watched, action: drop}}\n"
    )
}

/// Distinct domains, in no order, as long as such mostly are. No watched one is another one.
fn domains(asked: Asked) -> Vec<String> {
    const TOP: [&str; 8] = ["com", "com", "com", "net", "org", "de", "cn", "info"];
    let (seed, count) = if asked == Asked::Watched { (21, WATCHED) } else { (22, ALL) };
    let mut random = Random(seed);
    let mut domains = BTreeSet::new();
    // What tells both kinds apart is their last letter.
    let (letters, last) = (b"abcdefghijklmnopqrstuvwxyz-0123456789", if asked == Asked::Watched { 'w' } else { 'o' });
    while domains.len() < count {
        let length = 5 + random.next() as usize % 9;
        let mut label: String =
            (0..length).map(|place| pick(&letters[..if place == 0 { 26 } else { letters.len() }], &mut random)).collect();
        label.push(last);
        // Hyphens in the third and fourth place are another alphabet's (RFC 5891).
        if label.as_bytes().get(2..4) != Some(b"--") {
            domains.insert((random.next(), format!("{label}.{}", TOP[random.next() as usize % TOP.len()])));
        }
    }
    domains.into_iter().map(|(_, domain)| domain).collect()
}

fn pick(letters: &[u8], random: &mut Random) -> char {
    char::from(letters[random.next() as usize % letters.len()])
}

/// Three labels each.
fn names(asked: Asked, rotation: Rotation) -> Vec<String> {
    let count = match rotation {
        Rotation::Few => FEW,
        Rotation::All => ALL,
    };
    domains(asked).into_iter().take(count).map(|domain| format!("www.{domain}")).collect()
}

fn blocks(carrier: Carrier, names: &[String]) -> Result<Vec<Block>> {
    names.iter().map(|name| carrier.block(name)).collect()
}

impl Plain {
    fn tcp(device: Mac, port: u16, flags: TcpFlags, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let transport = Transport::Tcp { source: 40_000, destination: port, flags, sequence, acknowledgment: 2000 };
        FrameSpec { payload: payload.to_vec(), ..FrameSpec::new(device, Ends::to(ELSEWHERE.into()), transport) }.build()
    }

    const fn device(self) -> Mac {
        match self {
            Self::Tcp(_) | Self::Udp(_) => PHONE,
            Self::Unwatched(_) => UNWATCHED,
        }
    }

    fn frame(self) -> Vec<u8> {
        let flags = TcpFlags { ack: true, ..TcpFlags::default() };
        match self {
            // As a record of TLS begins; and as numbers may.
            Self::Tcp(443) => Self::tcp(self.device(), 443, flags, 5000, &[0x17, 3, 3, 0, 1, 0]),
            Self::Tcp(port) | Self::Unwatched(port) => Self::tcp(self.device(), port, flags, 5000, &[0, 0, 0, 2, 7, 1]),
            Self::Udp(port) => {
                let spec = FrameSpec::new(self.device(), Ends::to(ELSEWHERE.into()), Transport::udp(port));
                FrameSpec { payload: vec![0x17; 18], ..spec }.build()
            }
        }
    }

    /// How the flow began.
    fn before(self) -> Vec<Vec<u8>> {
        let syn = TcpFlags { syn: true, ..TcpFlags::default() };
        let ack = TcpFlags { ack: true, ..TcpFlags::default() };
        match self {
            Self::Udp(_) => vec![],
            Self::Tcp(443) => vec![
                Self::tcp(self.device(), 443, syn, 1000, &[]),
                Self::tcp(self.device(), 443, ack, 1001, &hello(&server_name("www.example.org"))),
            ],
            Self::Tcp(port) | Self::Unwatched(port) => {
                vec![Self::tcp(self.device(), port, syn, 1000, &[]), Self::tcp(self.device(), port, ack, 1001, &[0, 0, 0, 2, 7, 0])]
            }
        }
    }
}

/// Headers without options.
const ETHERNET_IPV4: usize = 14 + 20;
const UDP: usize = 8;
const TCP: usize = 20;
const DNS: usize = 12;

impl Carrier {
    const fn generator(self) -> &'static str {
        match self {
            Self::Answer => "vary_block_tc",
            Self::Query | Self::Hello | Self::Request => "vary_block",
        }
    }

    /// Of the block in the frame.
    const fn place(self) -> usize {
        match self {
            Self::Query | Self::Answer => ETHERNET_IPV4 + UDP + DNS,
            Self::Hello => ETHERNET_IPV4 + TCP + HELLO_BLOCK,
            Self::Request => ETHERNET_IPV4 + TCP + REQUEST.len(),
        }
    }

    fn block(self, name: &str) -> Result<Block> {
        let bytes = match self {
            Self::Query => [wire_name(name), vec![0, 1, 0, 1]].concat(),
            // An address of its own for each name, by a sum that spreads them.
            Self::Answer => {
                let sum = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
                let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 20];
                [wire_name(name), vec![0, 1, 0, 1], record.to_vec(), (sum >> 40).to_be_bytes()[5..].to_vec()].concat()
            }
            Self::Hello => return Ok(server_name(name)),
            Self::Request => format!("Host: {name}\r\nCookie: ").into_bytes(),
        };
        let rest = BLOCK.checked_sub(bytes.len()).context("a name is too long for its block")?;
        let filled = match self {
            // EDNS, with as much padding as there is room for (RFC 7830).
            Self::Query | Self::Answer => {
                let padding = rest.checked_sub(15).context("a name is too long for its block")? as u8;
                let mut record = vec![0, 0, 41, 4, 208, 0, 0, 0, 0, 0, padding + 4, 0, 12, 0, padding];
                record.resize(rest, 0);
                record
            }
            Self::Hello | Self::Request => {
                let mut cookie = vec![b'c'; rest - 2];
                cookie.extend(b"\r\n");
                cookie
            }
        };
        let block = [bytes, filled].concat();
        block.try_into().ok().context("a block is filled")
    }

    fn frame(self, block: &Block) -> Vec<u8> {
        let tcp = |port, payload: &[u8]| Plain::tcp(PHONE, port, TcpFlags { ack: true, ..TcpFlags::default() }, 1001, payload);
        match self {
            Self::Query => {
                let header = [0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
                let spec = FrameSpec::new(PHONE, Ends::to(ELSEWHERE.into()), Transport::udp(53));
                FrameSpec { payload: [&header[..], block].concat(), ..spec }.build()
            }
            Self::Answer => {
                let header = [0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 1];
                let spec = FrameSpec::new(UNWATCHED, to_device(), Transport::Udp { source: 53, destination: 40_000 });
                FrameSpec { payload: [&header[..], block].concat(), ..spec }.build()
            }
            Self::Hello => tcp(443, &hello(block)),
            Self::Request => tcp(80, &[REQUEST, &block[..], REQUEST_REST].concat()),
        }
    }
}

/// From a server, as the gateway sends it on.
fn to_device() -> Ends {
    Ends::V4(ELSEWHERE, Ipv4Addr::new(192, 0, 2, 10))
}

fn towards_device() -> Vec<u8> {
    let flags = TcpFlags { ack: true, ..TcpFlags::default() };
    let transport = Transport::Tcp { source: 443, destination: 40_000, flags, sequence: 2000, acknowledgment: 1000 };
    FrameSpec { payload: vec![0x17; 6], ..FrameSpec::new(UNWATCHED, to_device(), transport) }.build()
}

const REQUEST: &[u8] = b"GET /index.html HTTP/1.1\r\n";
const REQUEST_REST: &[u8] = b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\n\r\n";

/// Bytes of a browser's ClientHello before post-quantum key shares, which pad it to that (RFC 7685).
const HELLO: usize = 517;
/// What is before its server name: record and message headers, version, random, session, suites, compression, lengths; and one extension.
const HELLO_BLOCK: usize = 5 + 4 + 2 + 32 + 33 + 2 + 32 + 2 + 2 + 4;

/// The extension with the name (RFC 6066), and a reserved one (RFC 8701) that fills the block.
fn server_name(name: &str) -> Block {
    let length = name.len() as u16;
    let list = [&(length + 3).to_be_bytes()[..], &[0], &length.to_be_bytes(), name.as_bytes()].concat();
    let mut bytes = extension(0, &list);
    bytes.extend(extension(0x5a5a, &vec![0; BLOCK.saturating_sub(bytes.len() + 4)]));
    let mut block = [0; BLOCK];
    block.copy_from_slice(&bytes[..BLOCK]);
    block
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes(), &(body.len() as u16).to_be_bytes(), body].concat()
}

/// With the extensions of a browser, in its order.
/// A browser's, with some name.
pub fn some_hello() -> Vec<u8> {
    hello(&server_name("www.example.org"))
}

fn hello(server_name: &Block) -> Vec<u8> {
    let suites: [u16; 16] =
        [0x0a0a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035];
    let key = [&[0, 41, 0x0a, 0x0a, 0, 1, 0, 0, 29, 0, 32][..], &[0x3c; 32]].concat();
    let mut extensions = [
        extension(0x0a0a, &[]),
        server_name.to_vec(),
        extension(23, &[]),
        extension(0xff01, &[0]),
        extension(10, &[0, 8, 0x0a, 0x0a, 0, 29, 0, 23, 0, 24]),
        extension(11, &[1, 0]),
        extension(35, &[]),
        extension(16, b"\0\x0c\x02h2\x08http/1.1"),
        extension(5, &[1, 0, 0, 0, 0]),
        extension(13, &[0, 16, 4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1]),
        extension(18, &[]),
        extension(51, &key),
        extension(45, &[1, 1]),
        extension(43, &[6, 0x0a, 0x0a, 3, 4, 3, 3]),
        extension(27, &[2, 0, 2]),
        extension(17513, &[0, 3, 2, b'h', b'2']),
        extension(0x1a1a, &[0]),
    ]
    .concat();
    let padding = HELLO - (HELLO_BLOCK - 4) - extensions.len() - 4;
    extensions.extend(extension(21, &vec![0; padding]));
    let suites: Vec<u8> = suites.into_iter().flat_map(u16::to_be_bytes).collect();
    let body =
        [&[3, 3][..], &[0x5a; 32], &[32], &[0xa5; 32], &[0, 32], &suites, &[1, 0], &(extensions.len() as u16).to_be_bytes(), &extensions]
            .concat();
    let message = [&[1][..], &(body.len() as u32).to_be_bytes()[1..], &body].concat();
    [&[22, 3, 1][..], &(message.len() as u16).to_be_bytes(), &message].concat()
}
