//! Packets that no rule can judge by what is seen of them.

use super::{Cause, Decision, Observer, Shows, Side, Tables, active, device_row, remote, remote_row, rows::Rows};
use crate::{
    abi::{MAX_RULES, MAX_WORDS, OnUninspectable, Reason, Verdict},
    inspect::Showing,
    packet::{Family, Packet, access::Frame},
};

/// The configured verdict, which may depend on whether a restricting rule could have matched what is known.
#[inline(always)]
pub(super) fn uninspectable(
    side: Side,
    frame: &Frame<'_>,
    packet: &Packet,
    reason: Reason,
    tables: &impl Tables,
    observer: &mut impl Observer,
) -> Option<Decision> {
    let verdict = match tables.on_uninspectable(reason) {
        OnUninspectable::Pass => Verdict::Pass,
        OnUninspectable::Drop => Verdict::Drop,
        OnUninspectable::DropIfRuleCouldMatch | OnUninspectable::Inspect => {
            // A source route's destination is not where the packet ends, so it says nothing.
            let next_stop_only = matches!(reason, Reason::SourceRoute) && matches!(side, Side::Inside);
            let remote_known = !matches!(packet.family, Family::None) && !next_stop_only;
            let device = device_row(side, packet, tables)?;
            let active = active(tables, observer)?;
            // What is not known may be anything.
            let rows = Rows { device, remote: 0, service: 0, active, shows: false };
            let mut could_match = restricting(rows, false, tables);
            if could_match != 0 && remote_known {
                let remote = remote_row(packet.family, remote(side, frame, packet), tables)?;
                could_match = restricting(Rows { remote, ..rows }, true, tables);
            }
            if could_match == 0 { Verdict::Pass } else { Verdict::Drop }
        }
    };
    Some(Decision::uninspectable(verdict, reason))
}

/// Not zero where a rule of the device, and of the remote where that is known, keeps a packet from passing.
#[inline(always)]
fn restricting(rows: Rows, remote_known: bool, tables: &impl Tables) -> u64 {
    let mut any = 0;
    for word in 0..MAX_WORDS {
        if word >= tables.words() {
            break;
        }
        any |= rows.word_of_any_service(tables, word, remote_known) & tables.restricting(word);
    }
    any
}

/// A packet that passes by its rules, whose name may be missed or asks for what hides names: the configured verdict.
///
/// `first` is the rule that decided: a name could only have changed that for an earlier one.
#[inline(always)]
pub(super) fn obstructed(
    decision: Decision,
    evidence: Showing,
    rows: Rows,
    first: Option<u32>,
    tables: &impl Tables,
    observer: &mut impl Observer,
) -> Decision {
    let (reason, any_service) = match evidence.obstacle() {
        Some(reason) => (reason, false),
        None if evidence.asks_keys() => (Reason::HttpsRecord, true),
        None => return decision,
    };
    let drops = match tables.on_uninspectable(reason) {
        OnUninspectable::Pass => false,
        // A query that no rule is about is answered by whom it asks.
        OnUninspectable::Drop if !any_service => true,
        _ => {
            let first = match first {
                Some(first) => first,
                None => MAX_RULES as u32,
            };
            observer.could_match(rows, first, any_service, tables)
        }
    };
    if any_service {
        // An answer without data is an answer.
        return if drops { Decision::uninspectable(Verdict::Reject, reason) } else { decision };
    }
    if drops {
        Decision::uninspectable(Verdict::Drop, reason)
    } else if matches!(decision.cause, Cause::NoRule) {
        Decision::uninspectable(Verdict::Pass, reason)
    } else {
        decision
    }
}

/// Whether a rule on names keeps packets of this device from passing, and comes before the rule `first`. `any_service`: whatever service it is
/// for.
#[inline(always)]
pub fn could_match(rows: Rows, first: u32, any_service: bool, tables: &impl Tables, shows: &impl Shows) -> bool {
    let mut any = 0;
    for word in 0..MAX_WORDS {
        if word >= tables.words() {
            break;
        }
        // The rules of this word that come before it.
        let before = (first as usize).saturating_sub(word * 64);
        let before = if before >= 64 { u64::MAX } else { (1 << before) - 1 };
        let possible = rows.word_of_any_remote(tables, shows, word, any_service);
        any |= possible & tables.restricting(word) & tables.named(word) & before;
    }
    any != 0
}
