//! Times of the week as policies write them: `when: {days: mon-fri, hours: "08:00-17:30", timezone: Asia/Kolkata}`.

use jiff::tz::{self, TimeZone};

use super::model::Schedule;
use super::problem::{Fault, Problems, nearest};
use super::schema::one_or_many;
use super::yaml::Node;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MIDNIGHT: u16 = 24 * 60;

/// What is not said is: every day, all day, UTC. `None` if something in it is wrong.
pub(super) fn decode_when(node: &Node, problems: &mut Problems) -> Option<Schedule> {
    let mut days = [node.get("days").is_none(); 7];
    let mut right = true;
    for item in one_or_many(node.get("days")) {
        match item.text().and_then(|text| problems.take(&item.place, days_of(text))) {
            Some(named) => named.into_iter().for_each(|day| days[day] = true),
            None => right = false,
        }
    }
    let part = |key: &str| match node.get(key) {
        None => Some(None),
        Some(node) => node.text().map(|text| Some((node, text))),
    };
    let (hours, timezone) = (part("hours"), part("timezone"));
    let hours = match hours? {
        None => Some((0, MIDNIGHT)),
        Some((node, text)) => problems.take(&node.place, hours_of(text)),
    };
    let timezone = match timezone? {
        None => Some(TimeZone::UTC),
        Some((node, text)) => problems.take(&node.place, timezone_of(text)),
    };
    let (from, to) = hours?;
    right.then_some(Schedule { days, from, to, timezone: timezone? })
}

/// Places of the days that `mon` or `sat-mon` names.
fn days_of(text: &str) -> Result<Vec<usize>, Fault> {
    let day = |name: &str| {
        DAYS.iter().position(|day| *day == name).ok_or_else(|| {
            let hint = match nearest(name, DAYS) {
                Some(day) => format!("did you mean `{day}`?"),
                None => format!("days are {}, and ranges of them such as `mon-fri`", DAYS.map(|day| format!("`{day}`")).join(", ")),
            };
            Fault::new(format!("`{name}` is not a day"), hint)
        })
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (day(first)?, day(last)?),
        None => (day(text)?, day(text)?),
    };
    let length = (last + 7 - first) % 7;
    Ok((first..=first + length).map(|day| day % 7).collect())
}

/// Minutes since midnight at which the hours begin and end; an end that is not later is on the next day.
fn hours_of(text: &str) -> Result<(u16, u16), Fault> {
    let wrong = || Fault::new(format!("`{text}` are not hours of a day"), "such as `08:00-17:30`, or `22:00-06:00` over midnight");
    let minutes = |text: &str| -> Option<u16> {
        let (hours, minutes) = text.split_once(':')?;
        let two_digits = |part: &str| (part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit())).then(|| part.parse().ok())?;
        let (hours, minutes): (u16, u16) = (two_digits(hours)?, two_digits(minutes)?);
        (minutes < 60 && hours * 60 + minutes <= MIDNIGHT).then_some(hours * 60 + minutes)
    };
    let (from, to) = text.split_once('-').ok_or_else(wrong)?;
    let (from, to) = (minutes(from).ok_or_else(wrong)?, minutes(to).ok_or_else(wrong)?);
    if from == MIDNIGHT {
        return Err(wrong());
    }
    if from == to {
        return Err(Fault::new(format!("`{text}` begin and end at once"), "leave `hours` out for the whole day"));
    }
    Ok((from, if to == 0 { MIDNIGHT } else { to }))
}

fn timezone_of(name: &str) -> Result<TimeZone, Fault> {
    TimeZone::get(name).map_err(|_| {
        let known: Vec<_> = tz::db().available().collect();
        let hint = match nearest(name, known.iter().map(|name| name.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "names are those of the IANA database, such as `Asia/Kolkata`".to_owned(),
        };
        Fault::new(format!("no time zone is named `{name}`"), hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_names_and_ranges_over_the_weekend_too() {
        assert_eq!(days_of("wed").unwrap(), [2]);
        assert_eq!(days_of("mon-fri").unwrap(), [0, 1, 2, 3, 4]);
        assert_eq!(days_of("sat-mon").unwrap(), [5, 6, 0]);
        assert_eq!(days_of("sun-sun").unwrap(), [6]);
        assert_eq!(days_of("fir").unwrap_err().hint, "did you mean `fri`?");
        for wrong in ["", "Monday", "mon-", "mon-fri-sun", "mon,tue", "1"] {
            assert!(days_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hours_begin_on_a_day_and_may_end_on_the_next() {
        for (text, from, to) in [
            ("08:00-17:30", 480, 1050),
            ("22:00-06:00", 1320, 360),
            ("00:00-24:00", 0, 1440),
            ("22:00-24:00", 1320, 1440),
            ("22:00-00:00", 1320, 1440),
            ("00:01-00:02", 1, 2),
        ] {
            assert_eq!(hours_of(text).unwrap(), (from, to), "{text}");
        }
        for wrong in [
            "",
            "8:00-17:00",
            "08:00",
            "08:00-",
            "08:60-09:00",
            "24:00-06:00",
            "08:00-24:01",
            "08:00-08:00",
            "+8:00-09:00",
            "08:00 - 09:00",
        ] {
            assert!(hours_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_zone_has_an_iana_name() {
        assert_eq!(timezone_of("Asia/Kolkata").unwrap().iana_name(), Some("Asia/Kolkata"));
        assert_eq!(timezone_of("Asia/Kolkatta").unwrap_err().hint, "did you mean `Asia/Kolkata`?");
        assert!(timezone_of("+05:30").is_err());
    }
}
