//! What the running kernel can do. It is asked, since its version does not tell: distributions carry features back.

use aya::programs::{ProgramError, ProgramType, SchedClassifier, TcAttachType};
use aya::sys::{BpfHelper, is_helper_supported};

use super::error::Error;
use crate::policy::compile::{Compiled, CompiledRule};

/// What kernels that the agent runs on differ in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kernel {
    /// A frame may lie in several buffers (Linux 5.18). Elsewhere drivers refuse native XDP where a frame might need a second one.
    pub scattered_frames: bool,
    /// Programs are linked to an interface's egress as they are to XDP (Linux 6.6). Elsewhere they are filters of a qdisc.
    pub links_on_egress: bool,
}

impl Kernel {
    /// # Errors
    /// If it cannot be asked, for want of privileges.
    pub fn probe() -> Result<Self, Error> {
        // The helper came with the flag of programs for such frames.
        let scattered_frames = is_helper_supported(ProgramType::Xdp, BpfHelper::BPF_FUNC_xdp_get_buff_len);
        let scattered_frames = scattered_frames.map_err(|error| Error::Probe(Box::new(error)))?;
        Ok(Self { scattered_frames, links_on_egress: links_on_egress() })
    }

    /// Whether devices' packets can be counted against rates: the programs for frames in one buffer are without, as kernels before 5.12
    /// have no atomic exchange.
    pub const fn rates(self) -> bool {
        self.scattered_frames
    }

    /// Whether names are looked for in packets, and learned from DNS answers.
    pub const fn names(self) -> bool {
        self.scattered_frames
    }

    /// # Errors
    /// If the policies want what this kernel cannot do.
    pub fn refuse(self, compiled: &Compiled) -> Result<(), Error> {
        let first = |wanted: fn(&CompiledRule) -> bool| {
            let CompiledRule { policy, id, .. } = compiled.rules.iter().find(|rule| wanted(rule))?;
            let policy = compiled.policies.get(policy.index()).map_or_else(String::new, |policy| policy.name.clone());
            Some((policy, id.clone()))
        };
        if let Some((policy, rule)) = first(|rule| rule.limit.is_some()).filter(|_| !self.rates()) {
            return Err(Error::NoRates { policy, rule });
        }
        if let Some((policy, rule)) = first(|rule| rule.looks_inside).filter(|_| !self.names()) {
            return Err(Error::NoNames { policy, rule });
        }
        if compiled.identity.is_some() && !self.names() {
            return Err(Error::NoIdentity);
        }
        Ok(())
    }

    /// What the admin should know that this kernel cannot do, and what follows from it.
    pub fn lacks(self) -> Option<&'static str> {
        let Self { scattered_frames, links_on_egress: _ } = self;
        (!scattered_frames).then_some(
            "this kernel is older than Linux 5.18: rules with rate_limit, names or signatures, and groups by what devices show, are refused; and as it has no frames of several buffers, drivers \
             refuse native XDP where the MTU is above about 3,500 bytes",
        )
    }
}

/// Asks which programs are linked to the egress of the loopback device, which every network namespace has.
fn links_on_egress() -> bool {
    match SchedClassifier::query_tcx("lo", TcAttachType::Egress) {
        Ok(_) => true,
        // The list was told; looking at other tools' programs takes a privilege that the agent does without.
        Err(ProgramError::SyscallError(error)) => error.call != "bpf_prog_query",
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use edge_ebpf::abi::Verdict;
    use jiff::Timestamp;

    use super::*;
    use crate::policy::compile::compile;
    use crate::policy::model::{PolicyId, RateLimit, RateUnit, Resolved};

    #[test]
    fn what_the_program_has_not_is_refused_by_the_rules_name() {
        let nothing = Resolved {
            policies: vec![],
            signals: vec![],
            groups: vec![],
            destinations: vec![],
            schedules: vec![],
            signatures: vec![],
            rules: vec![],
        };
        let mut compiled = compile(&nothing, Timestamp::UNIX_EPOCH).unwrap();
        let new = Kernel { scattered_frames: true, links_on_egress: true };
        let old = Kernel { scattered_frames: false, ..new };
        assert!(old.refuse(&compiled).is_ok() && old.lacks().is_some() && new.lacks().is_none());
        let rule = CompiledRule {
            policy: PolicyId(0),
            id: "slow".to_owned(),
            action: "rate_limit",
            verdict: Verdict::Pass,
            monitored: false,
            report: false,
            looks_inside: false,
            limit: Some(RateLimit { unit: RateUnit::Bytes, per_second: 1, burst: 1 }),
            by_learned: None,
        };
        compiled.rules.push(rule.clone());
        assert!(new.refuse(&compiled).is_ok());
        let error = old.refuse(&compiled).unwrap_err().to_string();
        assert!(error.contains("/slow`") && error.contains("rate_limit") && error.contains("Linux 5.18"), "{error}");

        compiled.rules = vec![CompiledRule { id: "named".to_owned(), looks_inside: true, limit: None, ..rule }];
        assert!(new.refuse(&compiled).is_ok());
        let error = old.refuse(&compiled).unwrap_err().to_string();
        assert!(error.contains("/named`") && error.contains("domains") && error.contains("Linux 5.18"), "{error}");
    }
}
