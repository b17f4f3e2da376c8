//! The beginning of a MAC: `64:09:80`, `64-09-80-00-00-00/24`, or all of it.

use std::fmt;
use std::str::FromStr;

use super::problem::Fault;

/// All MACs that begin with these bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MacPrefix {
    /// A 48-bit number, zero below the prefix.
    first: u64,
    /// 1–48.
    length: u8,
}

impl MacPrefix {
    /// First and last MAC, as 48-bit numbers.
    pub fn range(self) -> (u64, u64) {
        (self.first, self.first | host_bits(self.length))
    }

    /// The one MAC, if the prefix is all of it.
    pub fn address(self) -> Option<[u8; 6]> {
        let [_, _, mac @ ..] = self.first.to_be_bytes();
        (self.length == 48).then_some(mac)
    }
}

fn host_bits(length: u8) -> u64 {
    (1 << (48 - u32::from(length))) - 1
}

impl FromStr for MacPrefix {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let wrong = |what: String| Fault::new(what, "such as `64:09:80` or `64:09:80:00:00:00/24`");
        let (bytes, length) = match text.split_once('/') {
            Some((bytes, length)) => (bytes, Some(length)),
            None => (text, None),
        };
        let separator = if bytes.contains('-') { '-' } else { ':' };
        let (mut first, mut count) = (0, 0u8);
        for part in bytes.split(separator) {
            let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            let (true, Ok(byte)) = (digits, u8::from_str_radix(part, 16)) else {
                return Err(wrong(format!("`{text}` is not a MAC prefix: `{part}` is not two hexadecimal digits")));
            };
            if count == 6 {
                return Err(wrong(format!("`{text}` is not a MAC prefix: it has more than six bytes")));
            }
            first |= u64::from(byte) << (40 - 8 * count);
            count += 1;
        }
        let length = match length {
            None => 8 * count,
            Some(length) => match length.parse() {
                Ok(length @ 1..=48) if length <= 8 * count => length,
                Ok(1..=48) => return Err(wrong(format!("`{text}` is not a MAC prefix: it is longer than its {count} bytes"))),
                _ => return Err(wrong(format!("`{text}` is not a MAC prefix: its length is not from 1 to 48"))),
            },
        };
        if first & host_bits(length) != 0 {
            let meant = Self { first: first & !host_bits(length), length };
            return Err(Fault::new(format!("`{text}` has bits set beyond its length"), format!("did you mean `{meant}`?")));
        }
        Ok(Self { first, length })
    }
}

impl fmt::Display for MacPrefix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, _, a, b, c, d, e, f] = self.first.to_be_bytes();
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")?;
        if self.length < 48 {
            write!(out, "/{}", self.length)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(text: &str) -> Result<(u64, u64), Fault> {
        text.parse().map(MacPrefix::range)
    }

    #[test]
    fn long_and_short_forms_are_the_same_range() {
        let whole = (0x6409_8000_0000, 0x6409_80ff_ffff);
        for text in ["64:09:80:00:00:00/24", "64:09:80", "64-09-80", "64:09:80/24", "64:09:80:00/24"] {
            assert_eq!(range(text), Ok(whole), "{text}");
        }
        assert_eq!(range("01:00:00:00:00:00"), Ok((0x0100_0000_0000, 0x0100_0000_0000)));
        assert_eq!(range("80/1"), Ok((0x8000_0000_0000, 0xffff_ffff_ffff)));
        assert_eq!(range("70:b3:d5:f2:f0/36"), Ok((0x70b3_d5f2_f000, 0x70b3_d5f2_ffff)));
    }

    #[test]
    fn what_is_no_prefix_is_refused_with_its_reason() {
        for (text, part) in [
            ("64:9:80", "`9` is not two hexadecimal digits"),
            ("640980", "is not two hexadecimal digits"),
            ("+1:00", "is not two hexadecimal digits"),
            ("64:09:80:00:00:00:00", "more than six bytes"),
            ("64:09:80/0", "not from 1 to 48"),
            ("64:09:80/49", "not from 1 to 48"),
            ("64:09/24", "longer than its 2 bytes"),
            ("64:09:80:00:00:01/24", "beyond its length"),
        ] {
            let fault = range(text).unwrap_err();
            assert!(fault.message.contains(part), "{text}: {fault:?}");
        }
        assert_eq!(range("64:09:80:00:00:01/24").unwrap_err().hint, "did you mean `64:09:80:00:00:00/24`?");
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(number in 0u64..1 << 48, length in 1u8..=48) {
            let prefix = MacPrefix { first: number & !host_bits(length), length };
            prop_assert_eq!(prefix.to_string().parse(), Ok(prefix));
            let (first, last) = prefix.range();
            prop_assert!(first <= number && number <= last && last - first == host_bits(length));
        }
    }
}
