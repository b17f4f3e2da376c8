//! Rates as policies write them: `rate: {packets_per_second: 10, burst: 20}`.

use super::model::{RateLimit, RateUnit};
use super::problem::Problems;
use super::yaml::Node;

/// The largest that fits into the kernel's arithmetic with room to spare: a terabyte a second.
pub const MOST: i64 = 1_000_000_000_000;
/// Of Ethernet without a tag, as the program sees it: 1,500 bytes behind a header of 14 (IEEE 802.3 section 3.2.7).
const FULL_FRAME: u64 = 1514;

/// `None` if something in it is wrong.
pub(super) fn decode_rate(node: &Node, problems: &mut Problems) -> Option<RateLimit> {
    let (packets, bytes) = (node.get("packets_per_second"), node.get("bytes_per_second"));
    let (unit, per_second) = match (packets, bytes) {
        (Some(packets), None) => (RateUnit::Packets, packets),
        (None, Some(bytes)) => (RateUnit::Bytes, bytes),
        (packets, _) => {
            let count = if packets.is_some() { "two units" } else { "no unit" };
            let problem = problems.error(&node.place, format!("the rate has {count}"));
            problem.hint("give it one of `packets_per_second` and `bytes_per_second`");
            return None;
        }
    };
    let within = |node: &Node| node.integer::<i64>().filter(|number| (1..=MOST).contains(number)).map(i64::unsigned_abs);
    let rate = within(per_second)?;
    let burst = match node.get("burst") {
        Some(burst) => within(burst)?,
        None => rate,
    };
    if unit == RateUnit::Bytes && burst < FULL_FRAME {
        problems
            .warning(&node.get("burst").unwrap_or(per_second).place, format!("a burst of {burst} bytes lets no full frame pass, ever"))
            .hint(format!("a full frame has {FULL_FRAME} bytes: give `burst` at least that"));
    }
    Some(RateLimit { unit, per_second: rate, burst })
}
