//! What DHCP clients say of themselves (RFC 2131, RFC 2132, RFC 8415): where it lies in their messages.

use crate::{
    name::Span,
    packet::{
        Mac,
        access::{Bytes, forget},
    },
    turns::{Turn, take},
};

/// Where servers and relays listen.
pub const SERVER: u16 = 67;
pub const SERVER_6: u16 = 547;
/// Options that are looked at, bytes of padding among them.
pub const MAX_OPTIONS: usize = 128;

const HARDWARE: usize = 28;
const COOKIE: usize = 236;
const OPTIONS: usize = 240;
const MAGIC: u32 = 0x6382_5363;
/// BOOTREQUEST, Ethernet, six bytes.
const REQUEST: u32 = 0x0001_0106;

const PAD: u8 = 0;
const END: u8 = 255;
const HOST_NAME: u8 = 12;
const MESSAGE_TYPE: u8 = 53;
const PARAMETERS: u8 = 55;
const VENDOR_CLASS: u8 = 60;

/// Of DHCPv6.
const OPTION_REQUEST: u16 = 6;
const VENDOR_CLASS_6: u16 = 16;
const CLIENT_NAME: u16 = 39;

/// Where the values lie; empty: there is none.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Said {
    pub parameters: Span,
    pub vendor_class: Span,
    pub host_name: Span,
}

/// Reads a client's message that lies from `start` to before `end`. `device`: whose frame it is; a message that is relayed for another one says
/// nothing of it. False: it is none of a client.
#[inline(always)]
pub fn read(bytes: &impl Bytes, start: usize, end: usize, device: Mac, said: &mut Said) -> bool {
    *said = Said::default();
    if start + OPTIONS > end {
        return false;
    }
    let Some(head) = bytes.view::<4>(start) else { return false };
    let Some(hardware) = bytes.view::<8>(start + HARDWARE) else { return false };
    let Some(cookie) = bytes.view::<4>(start + COOKIE) else { return false };
    // The last byte counts hops of relays.
    if head.u32::<0>() >> 8 != REQUEST & 0x00ff_ffff || cookie.u32::<0>() != MAGIC {
        return false;
    }
    let noise = hardware.u64::<0>();
    if noise >> 16 != device.0 {
        return false;
    }
    // Nowhere yet. Until Linux 6.7 the verifier follows a callback once, and would take what else is known for what is so after it.
    let [kind, parameters, vendor_class, host_name] = [5, 6, 7, 8].map(|salt| forget(0, noise.wrapping_add(salt)));
    let options = Options { bytes: *bytes, at: forget(start + OPTIONS, noise), end, kind, parameters, vendor_class, host_name, noise };
    let (_, options) = take::<MAX_OPTIONS, _>(options, 0, noise);
    // DISCOVER, REQUEST, DECLINE, RELEASE, INFORM: those that describe the client are these three.
    let kind = if options.kind == 0 { 0 } else { bytes.view::<3>(options.kind).map_or(0, |option| option.u16::<1>()) };
    // Behind the option's length.
    if kind != 0x0101 && kind != 0x0103 && kind != 0x0108 {
        return false;
    }
    said.parameters = value(bytes, options.parameters);
    said.vendor_class = value(bytes, options.vendor_class);
    said.host_name = value(bytes, options.host_name);
    true
}

#[inline(always)]
fn value(bytes: &impl Bytes, option: usize) -> Span {
    if option == 0 {
        return Span::default();
    }
    match bytes.view::<2>(option) {
        Some(header) => Span::new(option + 2, option + 2 + usize::from(header.u8::<1>())),
        None => Span::default(),
    }
}

struct Options<B> {
    bytes: B,
    at: usize,
    end: usize,
    /// Where they are; 0: nowhere.
    kind: usize,
    parameters: usize,
    vendor_class: usize,
    host_name: usize,
    noise: u64,
}

impl<B: Bytes> Turn for Options<B> {
    const FIRST: usize = 0;
    const EACH: usize = 1;

    #[inline(always)]
    fn turn(&mut self) -> Option<usize> {
        let Self { bytes, at, end, kind, parameters, vendor_class, host_name, noise } = self;
        if *at >= *end {
            return Some(0);
        }
        let Some(option) = bytes.view::<1>(*at) else { return Some(0) };
        let code = option.u8::<0>();
        if code == END {
            return Some(0);
        }
        let mut length = 1;
        if code != PAD {
            let Some(header) = bytes.view::<2>(*at) else { return Some(0) };
            length = 2 + usize::from(header.u8::<1>());
            if *at + length > *end {
                return Some(0);
            }
            for (wanted, place, salt) in
                [(MESSAGE_TYPE, &mut *kind, 1u64), (PARAMETERS, parameters, 2), (VENDOR_CLASS, vendor_class, 3), (HOST_NAME, host_name, 4)]
            {
                if code == wanted {
                    *place = forget(*at, noise.wrapping_add(salt));
                }
            }
        }
        *at = forget(*at + length, *noise);
        None
    }
}

/// As [`read`], of DHCPv6 (RFC 8415 section 8): what a client sends itself.
#[inline(always)]
pub fn read_6(bytes: &impl Bytes, start: usize, end: usize, said: &mut Said) -> bool {
    *said = Said::default();
    if start + 4 > end {
        return false;
    }
    let Some(head) = bytes.view::<4>(start) else { return false };
    // SOLICIT, REQUEST, CONFIRM, RENEW, REBIND, INFORMATION-REQUEST.
    if !matches!(head.u8::<0>(), 1 | 3 | 4 | 5 | 6 | 11) {
        return false;
    }
    let noise = u64::from(head.u32::<0>());
    let [parameters, vendor_class, host_name] = [5u64, 6, 7].map(|salt| forget(0, noise.wrapping_add(salt << 40)));
    let options = Options6 { bytes: *bytes, at: forget(start + 4, noise), end, parameters, vendor_class, host_name, noise };
    let (_, options) = take::<MAX_OPTIONS, _>(options, 0, noise);
    said.parameters = value_6(bytes, options.parameters);
    said.host_name = value_6(bytes, options.host_name);
    // Flags.
    said.host_name.start += 1;
    let class = value_6(bytes, options.vendor_class);
    // An enterprise's number, then strings behind their lengths.
    if class.start + 6 <= class.end
        && let Some(length) = bytes.view::<2>(class.start as usize + 4)
    {
        let first = class.start + 6;
        let last = first + u32::from(length.u16::<0>());
        if last <= class.end {
            said.vendor_class = Span { start: first, end: last };
        }
    }
    true
}

#[inline(always)]
fn value_6(bytes: &impl Bytes, option: usize) -> Span {
    if option == 0 {
        return Span::default();
    }
    match bytes.view::<4>(option) {
        Some(header) => Span::new(option + 4, option + 4 + usize::from(header.u16::<2>())),
        None => Span::default(),
    }
}

struct Options6<B> {
    bytes: B,
    at: usize,
    end: usize,
    parameters: usize,
    vendor_class: usize,
    host_name: usize,
    noise: u64,
}

impl<B: Bytes> Turn for Options6<B> {
    const FIRST: usize = 0;
    const EACH: usize = 1;

    #[inline(always)]
    fn turn(&mut self) -> Option<usize> {
        let Self { bytes, at, end, parameters, vendor_class, host_name, noise } = self;
        if *at + 4 > *end {
            return Some(0);
        }
        let Some(header) = bytes.view::<4>(*at) else { return Some(0) };
        let code = header.u16::<0>();
        let next = *at + 4 + usize::from(header.u16::<2>());
        if next > *end {
            return Some(0);
        }
        for (wanted, place, salt) in [(OPTION_REQUEST, parameters, 1u64), (VENDOR_CLASS_6, vendor_class, 2), (CLIENT_NAME, host_name, 3)] {
            if code == wanted {
                *place = forget(*at, noise.wrapping_add(salt << 40));
            }
        }
        *at = forget(next, *noise);
        None
    }
}
