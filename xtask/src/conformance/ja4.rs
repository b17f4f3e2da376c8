//! JA4 values that are published for captures: each must be that of a ClientHello there.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{At, Place};

/// The kind of these places.
pub const KIND: &str = "ja4";
/// Captures of FoxIO, which made JA4, begin so. The others are of nDPI's tests.
const OF_FOXIO: &str = "ja4-";
/// SHA-256 of nothing, and what JA4 has for nothing.
const NOTHING: (&str, &str) = ("e3b0c44298fc", "000000000000");

/// Adds the `published` values to what is `expected`, and to what is `found` those that a hello there has.
pub fn add(published: &str, expected: &mut BTreeMap<Place, Value>, found: &mut BTreeMap<Place, Value>) -> Result<()> {
    let published: BTreeMap<String, Vec<String>> = serde_json::from_str(published).context("the published JA4 values cannot be read")?;
    let mut hellos: BTreeMap<&str, Vec<Hello>> = BTreeMap::new();
    for ((capture, _, _), value) in &*found {
        if let Some(ja4) = value["ja4"].as_str() {
            let name = value["sni"].as_str().map(str::to_owned);
            hellos.entry(capture).or_default().push(Hello { ja4: ja4.to_owned(), name });
        }
    }
    let mut seen = Vec::new();
    for (capture, values) in published {
        let hellos = hellos.get(capture.as_str()).map(Vec::as_slice).unwrap_or_default();
        for value in values {
            let place = (capture.clone(), At::Value(value.clone()), KIND.to_owned());
            let by_foxio = capture.starts_with(OF_FOXIO);
            if hellos.iter().any(|hello| if by_foxio { hello.ja4 == value } else { hello.is_of_ndpi(&value) }) {
                seen.push((place.clone(), Value::Null));
            }
            expected.insert(place, Value::Null);
        }
    }
    found.extend(seen);
    Ok(())
}

struct Hello {
    ja4: String,
    name: Option<String>,
}

impl Hello {
    /// Whether nDPI prints `value` for it. Its letters are not always those of JA4: `d`, unless the name is an address, even if there is
    /// none; as the last one the second letter of ALPN or 0 (its issue 2914). And it hashes nothing.
    fn is_of_ndpi(&self, value: &str) -> bool {
        let is_address = self.name.as_ref().is_some_and(|name| name.parse::<std::net::Ipv4Addr>().is_ok());
        let named = if is_address { "i" } else { "d" };
        let parts = |ja4: &str| Some((ja4.get(..3)?.to_owned(), ja4.get(4..9)?.to_owned(), ja4.get(10..)?.replace(NOTHING.0, NOTHING.1)));
        value == self.ja4 || (value.get(3..4) == Some(named) && parts(value).is_some() && parts(value) == parts(&self.ja4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(capture: &str, ja4: &str, sni: Option<&str>, value: &str) -> bool {
        let place = (capture.to_owned(), At::Frame(4), "client_hello".to_owned());
        let mut found = BTreeMap::from([(place, serde_json::json!({"ja4": ja4, "sni": sni}))]);
        let mut expected = BTreeMap::new();
        add(&format!(r#"{{"{capture}": ["{value}"]}}"#), &mut expected, &mut found).expect("values");
        assert_eq!(expected.len(), 1);
        expected.keys().all(|place| found.contains_key(place))
    }

    #[test]
    fn of_foxio_as_it_is() {
        let value = "t13d1516h1_8daaf6152771_e5627efa2ab1";
        assert!(found("ja4-x.pcap", value, Some("a.example"), value));
        assert!(!found("ja4-x.pcap", value, Some("a.example"), "t13d1516ht_8daaf6152771_e5627efa2ab1"));
    }

    #[test]
    fn of_ndpi_as_it_prints_them() {
        let ours = |named| format!("t13{named}1516h1_8daaf6152771_000000000000");
        let theirs = |named, letter| format!("t13{named}1516h{letter}_8daaf6152771_e3b0c44298fc");
        assert!(found("x.pcap", &ours("i"), None, &theirs("d", "t")));
        assert!(found("x.pcap", &ours("d"), Some("10.0.0.1"), &theirs("i", "0")));
        assert!(!found("x.pcap", &ours("d"), Some("a.example"), &theirs("i", "1")));
        assert!(!found("x.pcap", &ours("d"), Some("a.example"), "t13d1616h1_8daaf6152771_e3b0c44298fc"));
        assert!(!found("x.pcap", &ours("d"), Some("a.example"), "t13d1516h1_8daaf6152772_e3b0c44298fc"));
        assert!(!found("x.pcap", &ours("d"), Some("a.example"), ""));
    }
}
