//! The tests that policies carry: each is one packet, asked of an engine, and what was expected of it.

use edge_ebpf::engine::Side;
use jiff::Timestamp;

use super::{Engine, EngineError, EngineKind, Outcome, probe};
use crate::config::Conduct;
use crate::policy::compile::{CompileError, Compiled, compile};
use crate::policy::expectation::{Expectation, PolicyTest, RuleName};
use crate::policy::model::{Resolved, RuleId};
use crate::policy::resolve::ResolvedTest;
use crate::policy::schema::Placed;

/// Asks an engine about tests: each packet at its time, and as if none had come before it.
pub struct Examiner<'a> {
    kind: EngineKind,
    policies: &'a Resolved,
    compiled: &'a Compiled,
    conduct: Conduct,
    now: Timestamp,
    /// For all tests that are told of nothing before, where neither the time nor an earlier packet makes a difference.
    engine: Option<Box<dyn Engine + 'a>>,
    /// The last test's source port: a flow's earlier packets make a difference, so each test has its own.
    port: u16,
}

#[derive(Debug, thiserror::Error)]
pub enum ExaminerError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Compile(#[from] CompileError),
}

impl<'a> Examiner<'a> {
    /// `compiled` was made of `policies`; `now` is when packets come whose test does not say.
    ///
    /// # Errors
    /// If the kernel refuses the program.
    pub fn new(
        kind: EngineKind,
        policies: &'a Resolved,
        compiled: &'a Compiled,
        conduct: Conduct,
        now: Timestamp,
    ) -> Result<Self, EngineError> {
        let always_alike =
            compiled.timeline.is_none() && compiled.identity.is_none() && compiled.rules.iter().all(|rule| rule.limit.is_none());
        let engine = if always_alike { Some(kind.start(policies, compiled, conduct)?) } else { None };
        Ok(Self { kind, policies, compiled, conduct, now, engine, port: FIRST_PORT })
    }

    /// What becomes of the test's packet.
    ///
    /// # Errors
    /// If the kernel refuses the program, or the engine has a defect.
    pub fn ask(&mut self, test: &PolicyTest) -> Result<Outcome, ExaminerError> {
        self.port = self.port.checked_add(1).unwrap_or(FIRST_PORT);
        let frame = probe::packet(test, self.port).build();
        let answers = probe::answers(test);
        if let Some(engine) = self.engine.as_mut().filter(|_| answers.is_empty() && test.shows.is_empty()) {
            return Ok(engine.run_on(test.side, &frame)?);
        }
        let at = test.at.unwrap_or(self.now);
        let laid_out;
        let compiled = if self.compiled.timeline.is_some() {
            // The tables know about a year.
            laid_out = compile(self.policies, at)?;
            &laid_out
        } else {
            self.compiled
        };
        let mut engine = self.kind.start(self.policies, compiled, self.conduct)?;
        engine.set_time(at)?;
        for answer in answers {
            engine.answer(&answer.build())?;
        }
        for frame in probe::shown(test, FIRST_SHOWN) {
            engine.run_on(Side::Inside, &frame)?;
        }
        Ok(engine.run_on(test.side, &frame)?)
    }
}

/// Ports from which devices show what they are known by: no test's packet comes from there.
const FIRST_SHOWN: u16 = 30_000;
/// Those before it belong to services.
const FIRST_PORT: u16 = 40_000;

/// A rule as tests name it: `policy/rule`.
pub fn rule_name(compiled: &Compiled, rule: RuleId) -> String {
    let Some(rule) = compiled.rules.get(rule.index()) else { return format!("rule {}", rule.0) };
    let policy = compiled.policies.get(rule.policy.index()).map_or("", |policy| &policy.name);
    format!("{policy}/{}", rule.id)
}

/// Each way in which the outcome is not what the test expects, as a sentence; none: it passes.
pub fn differences(test: &ResolvedTest, compiled: &Compiled, outcome: &Outcome) -> Vec<String> {
    let Expectation { verdict, rule, monitored, matches } = &test.test.expect;
    let mut differences = Vec::new();
    let named = |name: &Placed<RuleName>| {
        let (policy, rule) = test.rule(&name.value);
        format!("{policy}/{rule}")
    };
    let decided = match (outcome.rule, outcome.reason) {
        (Some(rule), _) => format!("by {}", rule_name(compiled, rule)),
        (None, Some(reason)) => format!("as uninspectable: {}", reason.name()),
        (None, None) => "by no rule".to_owned(),
    };
    let counted: Vec<String> = outcome.monitored.iter().map(|rule| rule_name(compiled, *rule)).collect();
    let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    if let Some(verdict) = verdict.filter(|verdict| outcome.verdict != *verdict) {
        differences.push(format!("expected {}, got {} {decided}", verdict.name(), outcome.verdict.name()));
    }
    if let Some(expected) = rule.as_ref().map(named)
        && outcome.rule.map(|rule| rule_name(compiled, rule)).as_ref() != Some(&expected)
    {
        differences.push(format!("expected the rule {expected} to decide, and it was decided {decided}"));
    }
    if let Some(monitored) = monitored {
        let expected: Vec<String> = monitored.iter().map(named).collect();
        if expected != counted {
            differences.push(format!("expected monitored: {}; got: {}", list(&expected), list(&counted)));
        }
    }
    if let Some(matches) = matches {
        let met: Vec<String> = counted.into_iter().chain(outcome.rule.map(|rule| rule_name(compiled, rule))).collect();
        let missed = matches.iter().map(named).filter(|rule| !met.contains(rule));
        differences.extend(missed.map(|rule| format!("expected {rule} to match; those that did: {}", list(&met))));
        let own: Vec<String> = met.iter().filter(|rule| rule.split_once('/').is_some_and(|(of, _)| of == test.policy)).cloned().collect();
        if matches.is_empty() && !own.is_empty() {
            differences.push(format!("expected no rule of {} to match; those that did: {}", test.policy, list(&own)));
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use std::fs;

    use edge_ebpf::abi::{OnUninspectable, Reason};

    use super::*;
    use crate::config::AlwaysAllow;
    use crate::policy::load::{load, today};
    use crate::policy::resolve::resolve;
    use crate::sources::Sources;

    /// Runs the test with this expectation, of a packet that `watch` monitors and `block` drops; `None`: the host engine was content.
    fn run(expect: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let policy = format!(
            "
apiVersion: edge/v1
kind: Policy
metadata: {{name: p, title: t}}
spec:
  devices: {{phone: {{mac: [\"64:09:80:00:00:00/24\"]}}}}
  destinations: {{there: {{prefixes: [192.0.2.0/24, \"2001:db8::/32\"]}}}}
  rules:
    - {{id: watch, from: phone, to: [there], services: [tcp/443], action: monitor}}
    - {{id: block, from: phone, to: [there], action: drop}}
  tests:
    - {{name: t, from: {{mac: \"64:09:80:00:00:01\"}}, to: {{address: \"2001:db8::1\", service: tcp/443}}, expect: {expect}}}
"
        );
        fs::write(folder.path().join("p.yaml"), policy).expect("a file");
        let mut sources = Sources::new(crate::config::SourceFiles::default());
        let loaded = load(&[folder.path().to_owned()], today());
        let resolution = resolve(loaded, &AlwaysAllow::default(), &[], &mut sources).expect("a right policy");
        let compiled = compile(&resolution.resolved, jiff::Timestamp::now()).expect("small");
        let conduct = [OnUninspectable::Drop; Reason::ALL.len()].into();
        let now = jiff::Timestamp::now();
        let mut examiner = Examiner::new(EngineKind::Host, &resolution.resolved, &compiled, conduct, now).expect("needs nothing");
        let [test] = resolution.tests.as_slice() else { panic!("one test") };
        let outcome = examiner.ask(&test.test).expect("whole tables");
        differences(test, &compiled, &outcome)
    }

    /// The differences of each of the tests of this rule and these tests, by the engine of this kind.
    fn examined(kind: EngineKind, spec: &str) -> Vec<Vec<String>> {
        let folder = tempfile::tempdir().expect("a folder");
        let policy = format!("apiVersion: edge/v1\nkind: Policy\nmetadata: {{name: p, expires: 2030-01-01}}\nspec:\n{spec}");
        fs::write(folder.path().join("p.yaml"), policy).expect("a file");
        let mut sources = Sources::new(crate::config::SourceFiles::default());
        let loaded = load(&[folder.path().to_owned()], jiff::civil::date(2026, 1, 1));
        let resolution = resolve(loaded, &AlwaysAllow::default(), &[], &mut sources).expect("a right policy");
        let now = "2026-01-01T12:00:00Z".parse().expect("a time");
        let compiled = compile(&resolution.resolved, now).expect("small");
        let conduct = [OnUninspectable::Drop; Reason::ALL.len()].into();
        let mut examiner = Examiner::new(kind, &resolution.resolved, &compiled, conduct, now).expect("needs nothing");
        resolution.tests.iter().map(|test| differences(test, &compiled, &examiner.ask(&test.test).expect("an answer"))).collect()
    }

    #[test]
    fn a_test_says_when_its_packet_comes_and_from_where() {
        let spec = r#"
  rules:
    - {id: night, from: all, services: tcp/1, action: drop, when: {hours: "22:00-06:00", timezone: Asia/Kolkata}}
    - {id: slow, from: all, services: tcp/2, action: rate_limit, rate: {packets_per_second: 1}}
    - {id: in, from: all, services: tcp/3, action: drop, direction: inbound}
  tests:
    - {name: by day, at: "2014-10-24T12:00:00Z", from: {mac: "64:09:80:00:00:01"}, to: {address: 192.0.2.1, service: tcp/1}, expect: {verdict: pass}}
    - {name: at night, at: "2014-10-24T23:00:00+05:30", from: {mac: "64:09:80:00:00:01"}, to: {address: 192.0.2.1, service: tcp/1}, expect: {verdict: drop, rule: night}}
    - {name: a decade later, at: "2024-10-24T23:00:00+05:30", from: {mac: "64:09:80:00:00:01"}, to: {address: 192.0.2.1, service: tcp/1}, expect: {verdict: drop, rule: night}}
    - {name: expired, at: "2030-01-02T00:00:00Z", from: {mac: "64:09:80:00:00:01"}, to: {address: 192.0.2.1, service: tcp/1}, expect: {verdict: pass}}
    - {name: now, from: {mac: "64:09:80:00:00:01"}, to: {address: 192.0.2.1, service: tcp/1}, expect: {verdict: pass}}
    - {name: first, from: {mac: "64:09:80:00:00:01"}, to: {address: 192.0.2.1, service: tcp/2}, expect: {verdict: pass, rule: slow}}
    - {name: also first, from: {mac: "64:09:80:00:00:01"}, to: {address: 192.0.2.1, service: tcp/2}, expect: {verdict: pass, rule: slow}}
    - {name: out, from: {mac: "64:09:80:00:00:01"}, to: {address: 192.0.2.1, service: tcp/3}, expect: {verdict: pass}}
    - {name: in, direction: inbound, from: {address: 203.0.113.1}, to: {address: 192.0.2.1, service: tcp/3}, expect: {verdict: drop, rule: in}}
"#;
        for kind in [EngineKind::Host, EngineKind::Oracle] {
            assert_eq!(examined(kind, spec), vec![Vec::<String>::new(); 9], "{}", kind.name());
        }
    }

    #[test]
    fn a_met_expectation_has_no_difference() {
        assert_eq!(run("{verdict: drop}"), [""; 0]);
        assert_eq!(run("{verdict: drop, rule: block, monitored: [watch]}"), [""; 0]);
        assert_eq!(run("{verdict: drop, rule: p/block}"), [""; 0]);
    }

    #[test]
    fn what_matches_decides_or_counts() {
        assert_eq!(run("{matches: [watch, block]}"), [""; 0]);
        assert_eq!(run("{matches: [block]}"), [""; 0]);
        assert_eq!(run("{verdict: pass, matches: [watch]}"), ["expected pass, got drop by p/block"]);
        assert_eq!(run("{matches: []}"), ["expected no rule of p to match; those that did: p/watch, p/block"]);
        let other = "expected always-allow/dhcp to match; those that did: p/watch, p/block";
        assert_eq!(run("{matches: [block, always-allow/dhcp]}"), [other]);
    }

    #[test]
    fn each_unmet_expectation_is_a_sentence() {
        assert_eq!(run("{verdict: pass}"), ["expected pass, got drop by p/block"]);
        assert_eq!(run("{verdict: drop, rule: watch}"), ["expected the rule p/watch to decide, and it was decided by p/block"]);
        assert_eq!(run("{verdict: drop, monitored: []}"), ["expected monitored: none; got: p/watch"]);
        assert_eq!(run("{verdict: reject, rule: watch, monitored: [block]}").len(), 3);
    }
}
