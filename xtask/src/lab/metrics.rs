//! Samples of the agent's `/metrics`, as far as the lab reads them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// One line of the text exposition format.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Sample {
    /// The value of a label, or nothing.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// All samples of one scrape.
#[derive(Clone, Debug)]
pub struct Metrics(Vec<Sample>);

impl Metrics {
    /// Reads the text exposition format, as the agent writes it: no timestamps.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(|line| sample(line).with_context(|| format!("not a sample: {line}"))).collect::<Result<_>>().map(Self)
    }

    /// The samples of a metric.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| sample.name == name)
    }

    /// The sum of a metric's samples that have all these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has_labels = |sample: &&Sample| labels.iter().all(|(label, value)| sample.label(label) == *value);
        self.of(name).filter(has_labels).map(|sample| sample.value).sum()
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, labels)) = series.split_once('{') else {
        return Some(Sample { name: series.to_owned(), labels: BTreeMap::new(), value });
    };
    let mut rest = labels.strip_suffix('}')?;
    let mut labels = BTreeMap::new();
    while !rest.is_empty() {
        let (label, tail) = rest.split_once("=\"")?;
        let (text, tail) = quoted(tail)?;
        labels.insert(label.to_owned(), text);
        rest = tail.strip_prefix(',').unwrap_or(tail);
    }
    Some(Sample { name: name.to_owned(), labels, value })
}

/// The text up to the closing quote, and what comes after that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            (_, other) => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_labels_with_every_escape() {
        let text = "# HELP a b\na{x=\"1\",y=\"say \\\"no\\\", a\\\\b\\n\"} 2.5\na{x=\"2\"} 1\nb 7\n";
        let metrics = Metrics::parse(text).unwrap();
        assert_eq!(metrics.of("a").next().unwrap().label("y"), "say \"no\", a\\b\n");
        assert_eq!(metrics.sum("a", &[]), 3.5);
        assert_eq!(metrics.sum("a", &[("x", "2")]), 1.0);
        assert_eq!(metrics.sum("b", &[]), 7.0);
        assert_eq!(metrics.sum("c", &[]), 0.0);
    }

    #[test]
    fn refuses_what_is_no_sample() {
        assert!(Metrics::parse("a{x=\"1} 2\n").is_err());
        assert!(Metrics::parse("a nothing\n").is_err());
    }
}
