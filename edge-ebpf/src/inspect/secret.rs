//! Keyed hashes of what packets bear, so that nobody outside can make two flows or addresses meet in a table.
//!
//! Each word adds the product of its halves, each plus a secret; only 32-bit halves are multiplied, since a kernel program has no 128-bit
//! product (the sum is NH of Black et al., "UMAC", 1999).

use crate::packet::Address;

/// Secret numbers, made once for as long as the tables live.
pub const SECRETS: usize = 8;

/// Their places.
const FLOW: [usize; 5] = [0, 1, 2, 3, 4];
const ADDRESS: [usize; 2] = [5, 6];
/// Where the hash of a learned name begins.
pub const NAME: usize = 7;

pub trait Secrets {
    /// `place` is less than [`SECRETS`].
    fn secret(&self, place: usize) -> u64;
}

impl Secrets for [u64; SECRETS] {
    fn secret(&self, place: usize) -> u64 {
        self[place]
    }
}

#[inline(always)]
fn product(word: u64, secret: u64) -> u64 {
    let low = (word as u32).wrapping_add(secret as u32);
    let high = ((word >> 32) as u32).wrapping_add((secret >> 32) as u32);
    u64::from(low) * u64::from(high)
}

/// The finalizer of splitmix64 (Steele, Lea, Flood 2014).
#[inline(always)]
pub const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Of a flow; never 0. `ports`: its source's and its destination's.
#[inline(always)]
pub fn flow(secrets: &impl Secrets, source: Address, destination: Address, ports: (u16, u16), protocol: u8) -> u64 {
    let rest = u64::from(ports.0) | u64::from(ports.1) << 16 | u64::from(protocol) << 32;
    let words = [source.high, source.low, destination.high, destination.low, rest];
    let mut sum = 0u64;
    let mut place = 0;
    while place < words.len() {
        sum = sum.wrapping_add(product(words[place], secrets.secret(FLOW[place])));
        place += 1;
    }
    mix(sum) | 1
}

/// Of an address; never 0.
#[inline(always)]
pub fn address(secrets: &impl Secrets, Address { high, low }: Address) -> u64 {
    mix(product(high, secrets.secret(ADDRESS[0])).wrapping_add(product(low, secrets.secret(ADDRESS[1])))) | 1
}
