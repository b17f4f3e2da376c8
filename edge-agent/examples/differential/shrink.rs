//! Makes a difference small: fewer frames, fewer rules, fewer selectors, as long as the engines still differ.

use anyhow::ensure;
use edge_agent::policy::model::Resolved;
use edge_ebpf::engine::Side;

use crate::corpus_case;
use crate::describe;
use crate::frames::{Arrival, Way};
use crate::judge::{Kernel, Prepared};
use crate::policies::{Case, START};

/// Attempts, each of which may load a program.
const ATTEMPTS: usize = 300;

/// The last of `frames` shows a difference. Returns a smaller pair that still does, in the corpus' form.
pub fn shrink(case: &Case, frames: &[Arrival], asked: Kernel) -> anyhow::Result<String> {
    let mut case = case.clone();
    let mut frames = frames.to_vec();
    let mut attempts = ATTEMPTS;
    let mut differs = |case: &Case, frames: &[Arrival]| -> anyhow::Result<bool> {
        if attempts == 0 {
            return Ok(false);
        }
        attempts -= 1;
        Ok(Prepared::new(case)?.disagreement(frames, asked, |_| {})?.is_some())
    };
    // Most frames stand alone; the others need what came before: first fragments, other segments, answers.
    let last = frames[frames.len() - 1..].to_vec();
    if differs(&case, &last)? {
        frames = last;
    } else {
        drop_parts(&mut frames, |frames| differs(&case, frames))?;
    }
    let mut rules = std::mem::take(&mut case.policies.rules);
    drop_parts(&mut rules, |rules| {
        let policies = Resolved { rules: rules.to_vec(), ..case.policies.clone() };
        differs(&Case { policies, conduct: case.conduct }, &frames)
    })?;
    case.policies.rules = rules;
    let text = serde_yaml::to_string(&describe::describe(&case, &frames)?)?;
    let read: corpus_case::Case = serde_yaml::from_str(&text)?;
    let again = Case { policies: read.resolved(), conduct: read.conduct() };
    let arrivals: Vec<Arrival> = read
        .frames
        .iter()
        .map(|case| Arrival {
            way: match (case.is_towards_device(), case.inbound) {
                (true, _) => Way::TowardsDevice,
                (false, true) => Way::In(Side::Outside),
                (false, false) => Way::In(Side::Inside),
            },
            at: case.at.map_or(START, |at| at.as_second()),
            frame: case.bytes(),
        })
        .collect();
    ensure!(differs(&again, &arrivals)?, "the case as written shows no difference:\n{text}");
    Ok(text)
}

/// Halves, then quarters, and so on down to single parts are left out where they are not missed.
fn drop_parts<T: Clone>(parts: &mut Vec<T>, mut still: impl FnMut(&[T]) -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let mut size = parts.len().div_ceil(2);
    while size > 0 {
        let mut start = 0;
        while start < parts.len() {
            let mut fewer = parts.clone();
            fewer.drain(start..(start + size).min(parts.len()));
            if still(&fewer)? { *parts = fewer } else { start += size }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    Ok(())
}
