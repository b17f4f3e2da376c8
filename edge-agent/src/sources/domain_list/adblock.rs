//! Filters of ad blockers. Of their rules one kind is about whole names, `||example.com^`: the name and everything below it.
//!
//! Options narrow a rule to kinds of requests that no packet tells, so such rules are left out, but for `important` and `all`, which
//! widen it. Exceptions (`@@`) are left out too: a set of names can only grow, and what shall pass is a rule of the policy, before the one
//! that blocks, where its order and its hits can be seen.

use super::{Reading, Reason};
use crate::policy::name::NameScope;

pub fn is_header(line: &str) -> bool {
    line.starts_with("[Adblock") || line.starts_with("[uBlock") || line.starts_with("[AdGuard")
}

pub fn looks_so(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("||") || line.starts_with("@@") || is_cosmetic(line)
}

pub fn read_line(line: &str, reading: &mut Reading) {
    let rule = line.trim();
    if rule.is_empty() || is_header(rule) {
        return;
    }
    if rule.starts_with("@@") {
        reading.leave_out(Reason::Exception, line);
        return;
    }
    let Some(body) = rule.strip_prefix("||").filter(|_| !is_cosmetic(rule)) else {
        reading.leave_out(Reason::OtherRule, line);
        return;
    };
    let (body, options) = body.split_once('$').unwrap_or((body, ""));
    let Some(name) = body.strip_suffix('^').or_else(|| body.strip_suffix("^|")) else {
        reading.leave_out(Reason::OtherRule, line);
        return;
    };
    if !options.is_empty() && !options.split(',').all(|option| matches!(option.trim(), "important" | "all")) {
        reading.leave_out(Reason::Option, line);
        return;
    }
    match name.strip_prefix("*.") {
        // A path, or a `*` for a part of a label.
        _ if name.contains(['/', '^', '|']) => reading.leave_out(Reason::OtherRule, line),
        Some(name) if !name.contains('*') => reading.name(name, NameScope::Below),
        None if !name.contains('*') => reading.name(name, NameScope::Both),
        _ => reading.leave_out(Reason::OtherRule, line),
    }
}

/// About elements of pages: `##`, `#@#`, `#?#`, `#$#`, `#%#` and their like.
pub fn is_cosmetic(rule: &str) -> bool {
    rule.split_once('#').is_some_and(|(_, rest)| {
        rest.starts_with('#') || (rest.starts_with(['@', '?', '$', '%']) && rest.bytes().skip(1).take(3).any(|letter| letter == b'#'))
    })
}
