//! JA4 values (FoxIO, "JA4: TLS Client Fingerprinting") as policies write them: `t13d1516h2_8daaf6152771_e5627efa2ab1`, with `*` for a part,
//! or with what is hashed in the place of a hash, as JA4_r has it.

use std::fmt;
use std::str::FromStr;

use edge_ebpf::identity::hello::is_grease;

use super::model::{Ja4Part, Ja4Pattern};
use super::problem::Fault;

const LETTERS: usize = 10;
/// Digits of a hash.
const HASH: usize = 12;
const EXAMPLE: &str = "such as `t13d1516h2_8daaf6152771_e5627efa2ab1`, `t13d1516h2_*` or `*_*_e5627efa2ab1`";
const QUOTES: &str = "put a JA4_r in quotes: its commas separate the items of a list";

impl FromStr for Ja4Pattern {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let wrong = |why: String, hint: &str| Fault::new(format!("`{text}` is not a JA4: {why}"), hint);
        let parts: Vec<&str> = text.split('_').collect();
        if let [alone] = parts[..]
            && alone.len() == 32
            && alone.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            return Err(wrong("it looks like a JA3".to_owned(), "`edge-agent fingerprint` shows the JA4 in a capture"));
        }
        let (first, rest) = parts.split_first().unwrap_or((&"", &[]));
        let letters = letters(first).map_err(|(why, hint)| wrong(why, hint))?;
        let part = |text: &str, raw: &dyn Fn(&str) -> Result<String, Why>| match text {
            "*" => Ok(None),
            _ if text.len() == 4 || text.contains(',') => raw(text).map(|raw| Some(Ja4Part::Raw(raw))),
            _ => hash(text).map(|hash| Some(Ja4Part::Hash(hash))),
        };
        let pattern = match *rest {
            [] | ["*"] => Ok(Self { letters, ciphers: None, extensions: None }),
            [only] if values(only).is_some() => Err(("it ends behind the ciphers".to_owned(), QUOTES)),
            [_] => Err(("it has two parts, and a whole one has three".to_owned(), EXAMPLE)),
            [ciphers, extensions] => part(ciphers, &of_ciphers)
                .and_then(|ciphers| Ok(Self { letters, ciphers, extensions: part(extensions, &|text| of_extensions(text, None))? })),
            [ciphers, extensions, algorithms] => part(ciphers, &of_ciphers).and_then(|ciphers| {
                Ok(Self { letters, ciphers, extensions: Some(Ja4Part::Raw(of_extensions(extensions, Some(algorithms))?)) })
            }),
            _ => Err((format!("it has {} parts, and a whole one has three, or four as JA4_r", parts.len()), EXAMPLE)),
        };
        let pattern = pattern.map_err(|(why, hint)| wrong(why, hint))?;
        if pattern == (Self { letters: [None; LETTERS], ciphers: None, extensions: None }) {
            return Err(wrong("every hello would have it".to_owned(), EXAMPLE));
        }
        Ok(pattern)
    }
}

type Why = (String, &'static str);

/// Ten letters, `?` for any of them, one `*` for any that are missing.
fn letters(text: &str) -> Result<[Option<u8>; LETTERS], Why> {
    let wrong = |why: &str| (why.to_owned(), EXAMPLE);
    let mut letters = [None; LETTERS];
    let (before, after) = text.split_once('*').unwrap_or((text, ""));
    let known = before.len() + after.len();
    if after.contains('*') {
        return Err(wrong("one `*` stands for all letters that are missing"));
    }
    if known > LETTERS || (known < LETTERS && !text.contains('*')) {
        return Err((format!("its first part has {known} letters, and ten are right"), EXAMPLE));
    }
    let places = (0..before.len()).chain(LETTERS - after.len()..LETTERS);
    for (place, letter) in places.zip(before.bytes().chain(after.bytes())).filter(|(_, letter)| *letter != b'?') {
        let (possible, what) = match place {
            0 if letter == b'q' || letter == b'd' => {
                let hint = "a device is known by its hellos over TCP, whose JA4 begins with `t`";
                return Err(("it is of QUIC or DTLS".to_owned(), hint));
            }
            0 => (letter == b't', "begins with `t`"),
            1 | 2 => (
                letter.is_ascii_digit() || letter == b's',
                "has its version in the second and third letter: `13`, `12`, `11`, `10`, `s3`, `s2`",
            ),
            3 => (letter == b'd' || letter == b'i', "has `d` (a name) or `i` (none) as fourth letter"),
            4..=7 => (letter.is_ascii_digit(), "has four digits behind that, of how many ciphers and extensions there are"),
            _ => (letter.is_ascii_alphanumeric(), "ends with two letters of the ALPN"),
        };
        if !possible {
            return Err((format!("its first part {what}"), EXAMPLE));
        }
        letters[place] = Some(letter);
    }
    Ok(letters)
}

fn hash(text: &str) -> Result<[u8; HASH / 2], Why> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let Some(digits) = digits else { return Err((format!("`{text}` is neither a hash, nor a list of numbers, nor `*`"), EXAMPLE)) };
    let pairs: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    match pairs.try_into() {
        Ok(hash) if digits.len() == HASH => Ok(hash),
        _ => Err((format!("`{text}` has {} digits, and a hash has {HASH}", digits.len()), EXAMPLE)),
    }
}

/// Numbers in four hexadecimal digits, separated by commas.
fn values(text: &str) -> Option<Vec<u16>> {
    let value =
        |text: &str| (text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| u16::from_str_radix(text, 16).ok());
    text.split(',').map(|part| value(part).flatten()).collect()
}

fn raw(text: &str) -> Result<Vec<u16>, Why> {
    let values = values(text).ok_or_else(|| (format!("`{text}` is no list of numbers in four hexadecimal digits"), QUOTES))?;
    match values.iter().find(|value| is_grease(**value)) {
        Some(value) => Err((format!("`{value:04x}` is of GREASE, which JA4 leaves out"), "remove it")),
        None => Ok(values),
    }
}

fn written(values: &[u16]) -> String {
    values.iter().map(|value| format!("{value:04x}")).collect::<Vec<_>>().join(",")
}

fn of_ciphers(text: &str) -> Result<String, Why> {
    let mut ciphers = raw(text)?;
    ciphers.sort_unstable();
    Ok(written(&ciphers))
}

/// Extensions in order of their numbers, and signature algorithms in that of the hello.
fn of_extensions(extensions: &str, algorithms: Option<&str>) -> Result<String, Why> {
    let mut extensions = raw(extensions)?;
    if let Some(left_out) = extensions.iter().find(|extension| matches!(extension, 0 | 16)) {
        let hint = "JA4_r leaves out the extensions 0000 and 0010; JA4_ro, in the order of the hello, has them";
        return Err((format!("it has the extension {left_out:04x}"), hint));
    }
    extensions.sort_unstable();
    let mut text = written(&extensions);
    if let Some(algorithms) = algorithms {
        // GREASE among them is hashed.
        let algorithms = values(algorithms).ok_or_else(|| (format!("`{algorithms}` is no list of signature algorithms"), QUOTES))?;
        text = format!("{text}_{}", written(&algorithms));
    }
    Ok(text)
}

impl Ja4Part {
    /// Numbers before and behind the `_` of what is hashed.
    pub fn numbers(raw: &str) -> (Vec<u16>, Vec<u16>) {
        let (before, behind) = raw.split_once('_').unwrap_or((raw, ""));
        (values(before).unwrap_or_default(), values(behind).unwrap_or_default())
    }
}

impl fmt::Display for Ja4Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { letters, ciphers, extensions } = self;
        for letter in letters {
            write!(out, "{}", letter.map_or('?', char::from))?;
        }
        for part in [ciphers, extensions] {
            match part {
                None => out.write_str("_*")?,
                Some(Ja4Part::Raw(raw)) => write!(out, "_{raw}")?,
                Some(Ja4Part::Hash(hash)) => {
                    out.write_str("_")?;
                    hash.iter().try_for_each(|byte| write!(out, "{byte:02x}"))?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_what_it_says() {
        for (written, form) in [
            ("t13d1516h2_8daaf6152771_E5627EFA2AB1", "t13d1516h2_8daaf6152771_e5627efa2ab1"),
            ("t13d1516h2", "t13d1516h2_*_*"),
            ("t13d1516h2_*", "t13d1516h2_*_*"),
            ("t13d*_*_e5627efa2ab1", "t13d??????_*_e5627efa2ab1"),
            ("t13*h2_*_*", "t13?????h2_*_*"),
            ("*_8daaf6152771_*", "??????????_8daaf6152771_*"),
            ("t13d??16h2", "t13d??16h2_*_*"),
            ("t13d0203h2_1302,1301_002b,000d_0403,0804", "t13d0203h2_1301,1302_000d,002b_0403,0804"),
            ("t12d0101h2_002F_000d", "t12d0101h2_002f_000d"),
            ("*_1301,1302_*", "??????????_1301,1302_*"),
        ] {
            let pattern: Ja4Pattern = written.parse().unwrap_or_else(|fault| panic!("{written}: {fault:?}"));
            assert_eq!(pattern.to_string(), form);
            assert_eq!(form.parse(), Ok(pattern), "{form}");
        }
        assert_eq!(Ja4Part::numbers("000d,002b_0403"), (vec![0xd, 0x2b], vec![0x403]));
    }

    #[test]
    fn what_is_near_has_a_hint() {
        for (text, part) in [
            ("", "has 0 letters"),
            ("t13d1516h_8daaf6152771_e5627efa2ab1", "has 9 letters"),
            ("t13d1516h2_8daaf6152771_e5627efa2ab", "has 11 digits"),
            ("t13d1516h2_8daaf6152771", "it has two parts"),
            ("t13d1516h2_002f", "ends behind the ciphers"),
            ("q13d0312h3_55b375c5d22e_06cda9e17597", "it is of QUIC"),
            ("T13d1516h2_*", "begins with `t`"),
            ("t13d15x6h2_*", "has four digits"),
            ("6734f37431670b3ab4292b8f60f29984", "looks like a JA3"),
            ("*", "every hello would have it"),
            ("*_*_*", "every hello would have it"),
            ("t13d1516h2_1a1a,1301_*", "is of GREASE"),
            ("t13d1516h2_1301,1302_0000,0010_0403", "it has the extension 0000"),
            ("t13d1516h2_8daaf615277x_*", "is neither a hash"),
            ("a_b_c_d_e", "letters"),
        ] {
            let fault = text.parse::<Ja4Pattern>().expect_err(text);
            assert!(fault.message.contains(part), "{text}: {fault:?}");
        }
    }
}
