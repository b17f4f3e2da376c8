//! A rejected sender is told at once, so that an application does not hang.

use std::time::Duration;

use xtask::lab::Lab;
use xtask::lab::agent::Agent;
use xtask::lab::client::{Family, Outcome, Protocol, Try};
use xtask::lab::plan::{ELSEWHERE, REPORTING};

use crate::support::{PHONE_TO_CHINA, Policy, agent_program, rule_packets, with_policy};

/// Less than a client's patience, and less than the first retransmission of a SYN (RFC 6298 section 2.1): no second packet was needed.
const AT_ONCE: Duration = Duration::from_millis(700);

#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn tcp_is_reset_and_udp_answered_by_icmp() {
    let lab = Lab::start().unwrap();
    let policy = Policy { action: "reject", ..PHONE_TO_CHINA };
    let agent = Agent::start(&lab, &agent_program(), &with_policy(&lab, &policy)).unwrap();
    for family in [Family::Ipv4, Family::Ipv6] {
        for protocol in [Protocol::Http, Protocol::Https, Protocol::Echo] {
            let rejected = Try { protocol, server: REPORTING, family };
            let before = rule_packets(&agent, policy.name);
            let answer = rejected.from(&lab.phone, &lab.directory).unwrap();
            assert_eq!(answer.outcome, Outcome::Refused, "{protocol} {family:?}");
            assert!(answer.took < AT_ONCE, "{protocol} {family:?} took {:?}", answer.took);
            assert_eq!(rule_packets(&agent, policy.name), before + 1, "{protocol} {family:?} needed one packet");

            assert_eq!(rejected.from(&lab.laptop, &lab.directory).unwrap().outcome, Outcome::Reached, "{protocol} {family:?}");
            let elsewhere = Try { server: ELSEWHERE, ..rejected };
            assert_eq!(elsewhere.from(&lab.phone, &lab.directory).unwrap().outcome, Outcome::Reached, "{protocol} {family:?}");
        }
    }
}
