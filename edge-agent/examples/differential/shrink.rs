//! Makes a difference small: fewer frames, fewer rules, fewer selectors, as long as the engines still differ.

use anyhow::bail;
use edge_agent::policy::model::{Resolved, Rule};
use edge_ebpf::engine::Side;

use crate::corpus_case;
use crate::describe;
use crate::frames::{Arrival, Way};
use crate::judge::{Kernel, Prepared};
use crate::policies::{Case, START};

/// Attempts with the kernel, each of which loads a program, and without.
const ATTEMPTS: [usize; 2] = [300, 10_000];

/// The last of `frames` shows a difference. Returns a smaller pair that still does, in the corpus' form.
pub fn shrink(case: &Case, frames: &[Arrival], asked: Kernel) -> anyhow::Result<String> {
    let mut case = case.clone();
    let mut frames = frames.to_vec();
    let still = |case: &Case, frames: &[Arrival]| -> anyhow::Result<bool> {
        Ok(Prepared::new(case)?.disagreement(frames, asked, |_| {})?.is_some())
    };
    let mut attempts = ATTEMPTS[usize::from(asked == Kernel::Without)];
    let mut differs = |case: &Case, frames: &[Arrival]| -> anyhow::Result<bool> {
        attempts = attempts.saturating_sub(1);
        Ok(attempts > 0 && still(case, frames)?)
    };
    // Most frames stand alone; the others need what came before: first fragments, other segments, answers.
    let last = frames[frames.len() - 1..].to_vec();
    if differs(&case, &last)? {
        frames = last;
    } else {
        drop_parts(&mut frames, |frames| differs(&case, frames))?;
    }
    let mut rules = std::mem::take(&mut case.policies.rules);
    drop_parts(&mut rules, |rules| differs(&with_rules(&case, rules), &frames))?;
    for index in 0..rules.len() {
        drop_some(&mut rules, index, |rule| &mut rule.from, |rules| differs(&with_rules(&case, rules), &frames))?;
        drop_some(&mut rules, index, |rule| &mut rule.to, |rules| differs(&with_rules(&case, rules), &frames))?;
        drop_some(&mut rules, index, |rule| &mut rule.services, |rules| differs(&with_rules(&case, rules), &frames))?;
    }
    case = with_rules(&case, &rules);
    // With fewer rules, fewer frames may do.
    drop_parts(&mut frames, |frames| differs(&case, frames))?;
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
    match Prepared::new(&again)?.disagreement(&arrivals, asked, |_| {})? {
        Some((frame, disagreement)) => Ok(format!("# frame {frame}: {disagreement}\n{text}")),
        None => bail!("the case as written shows no difference:\n{text}"),
    }
}

fn with_rules(case: &Case, rules: &[Rule]) -> Case {
    let Case { policies, conduct } = case;
    Case { policies: Resolved { rules: rules.to_vec(), ..policies.clone() }, conduct: *conduct }
}

/// Leaves out selectors of a rule that are not missed.
fn drop_some<T: Clone>(
    rules: &mut [Rule],
    index: usize,
    selectors: impl Fn(&mut Rule) -> &mut Vec<T>,
    mut still: impl FnMut(&[Rule]) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let mut fewer = rules.to_vec();
    let mut kept = selectors(&mut rules[index]).clone();
    drop_parts(&mut kept, |parts| {
        selectors(&mut fewer[index]).clone_from(&parts.to_vec());
        Ok(!parts.is_empty() && still(&fewer)?)
    })?;
    *selectors(&mut rules[index]) = kept;
    Ok(())
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
