//! Addresses that answers gave for names.

use std::collections::HashMap;
use std::net::IpAddr;

use super::read::name::Name;

/// Names that an address keeps at a time.
const NAMES: usize = 4;

#[derive(Default)]
pub struct Learned {
    kept: HashMap<IpAddr, [Option<Kept>; NAMES]>,
}

struct Kept {
    name: Name,
    /// Until which second of the Unix epoch, that one included.
    until: i64,
}

impl Learned {
    /// What was said before may hold for longer. `alike`: whether two names have the same rules.
    pub fn learn(&mut self, address: IpAddr, name: &Name, (now, until): (i64, i64), alike: impl Fn(&Name, &Name) -> bool) {
        let kept = self.kept.entry(address).or_default();
        if let Some(known) = kept.iter_mut().flatten().find(|known| known.name == *name) {
            known.until = known.until.max(until);
            return;
        }
        let new = Kept { name: name.clone(), until };
        let place = match kept.iter().position(|place| place.as_ref().is_none_or(|known| known.until < now)) {
            Some(free) => Some(free),
            None => gives_way(kept, &new, alike),
        };
        if let Some(place) = place {
            kept[place] = Some(new);
        }
    }

    /// Names that the address has in this second.
    pub fn names(&self, address: IpAddr, now: i64) -> Vec<Name> {
        let kept = self.kept.get(&address).into_iter().flatten().flatten();
        kept.filter(|known| now <= known.until).map(|known| known.name.clone()).collect()
    }
}

/// Which of as many names as there may be gives way to a new one; `None`: the new one itself, which says nothing that is not known for as long.
fn gives_way(kept: &[Option<Kept>], new: &Kept, alike: impl Fn(&Name, &Name) -> bool) -> Option<usize> {
    let known: Vec<&Kept> = kept.iter().flatten().collect();
    let says_it = |one: &Kept, other: &Kept| alike(&one.name, &other.name);
    // Nothing is lost without one whose rules another has for as long; of two that end at once, the later place has it for the earlier.
    let needless = (0..known.len()).filter(|&place| {
        says_it(known[place], new) && known[place].until <= new.until
            || (0..known.len()).any(|other| {
                let as_long =
                    if other < place { known[other].until >= known[place].until } else { known[other].until > known[place].until };
                other != place && says_it(known[place], known[other]) && as_long
            })
    });
    let needless = needless.min_by_key(|&place| known[place].until);
    let is_new_needless = known.iter().any(|known| says_it(known, new) && known.until >= new.until);
    match needless {
        Some(place) if is_new_needless && new.until <= known[place].until => None,
        Some(place) => Some(place),
        None if is_new_needless => None,
        None => (0..known.len()).min_by_key(|&place| known[place].until),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 5));

    /// The names known at 10, each spelled with a letter for its rules first and learned at 1.
    fn known(answers: &[(&str, i64)]) -> Vec<String> {
        let mut learned = Learned::default();
        for (name, until) in answers {
            learned.learn(ADDRESS, &vec![name.as_bytes().to_vec()], (1, *until), |one, other| one[0][0] == other[0][0]);
        }
        let mut known: Vec<String> = learned.names(ADDRESS, 10).iter().map(|name| String::from_utf8_lossy(&name[0]).into_owned()).collect();
        known.sort();
        known
    }

    #[test]
    fn a_fifth_name_takes_the_place_of_the_one_that_is_missed_least() {
        let four = [("a", 20), ("b", 12), ("c", 15), ("d", 15)];
        assert_eq!(known(&[&four[..], &[("e", 11)]].concat()), ["a", "c", "d", "e"], "the one that ends first");
        assert_eq!(known(&[&four[..], &[("c2", 16)]].concat()), ["a", "b", "c2", "d"], "one whose rules the new one has for longer");
        assert_eq!(known(&[&four[..], &[("c2", 14)]].concat()), ["a", "b", "c", "d"], "the new one, whose rules another has");
        let twice = [("a", 20), ("b", 12), ("a2", 19), ("d", 15)];
        assert_eq!(known(&[&twice[..], &[("e", 11)]].concat()), ["a", "b", "d", "e"], "one of two with the same rules");
        assert_eq!(known(&[&four[..], &[("b", 30), ("e", 11)]].concat()), ["a", "b", "d", "e"], "a name that is told again is no other");
    }
}
