//! Countries and autonomous systems of addresses from MMDB files (MaxMind DB file format specification 2.0).

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::path::Path;

use maxminddb::{LookupResult, MaxMindDbError, Reader, WithinOptions};
use serde::Deserialize;

use super::by_key::{AddressesBy, Parsed};
use super::country::{Code, Countries};
use super::file::{self, Cached, SourceError};

/// Addresses by the number of their autonomous system.
pub type Asns = AddressesBy<u32>;

#[derive(Deserialize)]
struct CountryRecord<'a> {
    #[serde(borrow)]
    country: Option<Country<'a>>,
    /// Where the addresses are registered; all that is known of some.
    #[serde(borrow)]
    registered_country: Option<Country<'a>>,
}

#[derive(Deserialize)]
struct Country<'a> {
    iso_code: Option<&'a str>,
}

#[derive(Deserialize)]
struct AsnRecord {
    autonomous_system_number: Option<u32>,
}

type Record<'a> = LookupResult<'a, Vec<u8>>;

/// The country of each address: `country.iso_code`, or else `registered_country.iso_code`.
///
/// # Errors
/// If the file cannot be read, is no MMDB, or has no country.
pub fn countries(path: &Path) -> Result<Cached<Countries>, SourceError> {
    let way_out = "set `sources.countries.mmdb` in agent.yaml to a country database, such as GeoLite2-Country.mmdb";
    let code = |record: &Record<'_>| -> Result<Option<Code>, MaxMindDbError> {
        let Some(CountryRecord { country, registered_country }) = record.decode()? else { return Ok(None) };
        let code = |country: Option<Country<'_>>| country?.iso_code?.as_bytes().try_into().ok();
        Ok(code(country).or_else(|| code(registered_country)))
    };
    let Cached { value, files } = read(path, "the countries of addresses", way_out, code)?;
    Ok(Cached { value: Countries(value), files })
}

/// The autonomous system of each address: `autonomous_system_number`.
///
/// # Errors
/// If the file cannot be read, is no MMDB, or has no such number.
pub fn asns(path: &Path) -> Result<Cached<Asns>, SourceError> {
    let way_out = "set `sources.asns` in agent.yaml to an ASN database, such as GeoLite2-ASN.mmdb";
    read(path, "the ASNs of addresses", way_out, |record| {
        Ok(record.decode::<AsnRecord>()?.and_then(|record| record.autonomous_system_number))
    })
}

fn read<K: Hash + Eq + Copy>(
    path: &Path,
    what: &'static str,
    way_out: &'static str,
    key: impl Fn(&Record<'_>) -> Result<Option<K>, MaxMindDbError>,
) -> Result<Cached<AddressesBy<K>>, SourceError> {
    let (bytes, mut file) = file::read(path, what, way_out)?;
    let refused = |problem: String| SourceError::Database { path: path.to_owned(), what, problem, way_out };
    let (mut v4, mut v6): (Parsed<K, u32>, Parsed<K, u128>) = Default::default();
    let collect = || -> Result<usize, MaxMindDbError> {
        let reader = Reader::from_source(bytes)?;
        // Many networks share a record.
        let mut known: HashMap<usize, Option<K>> = HashMap::new();
        let mut entries = 0;
        for record in reader.networks(WithinOptions::default())? {
            let record = record?;
            let Some(offset) = record.offset() else { continue };
            let found = match known.get(&offset) {
                Some(found) => *found,
                None => *known.entry(offset).or_insert(key(&record)?),
            };
            let Some(found) = found else { continue };
            entries += 1;
            let network = record.network()?;
            match (network.network(), network.prefix()) {
                (IpAddr::V4(first), length) => {
                    let first = first.to_bits();
                    v4.entry(found).or_default().push((first, first | u32::MAX.checked_shr(length.into()).unwrap_or(0)));
                }
                (IpAddr::V6(first), length) => {
                    let first = first.to_bits();
                    v6.entry(found).or_default().push((first, first | u128::MAX.checked_shr(length.into()).unwrap_or(0)));
                }
            }
        }
        Ok(entries)
    };
    file.entries = collect().map_err(|error| refused(error.to_string()))?;
    if file.entries == 0 {
        return Err(refused("no record has the field".to_owned()));
    }
    Ok(Cached { value: AddressesBy::new(v4, v6), files: vec![file] })
}
