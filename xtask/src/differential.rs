//! `xtask differential`: random policies and packets through the three engines.

use anyhow::Result;

use crate::build::cargo;
use crate::command::{is_root, run};
use crate::setup::{Purpose, setup};

/// Ask the three engines about random policies and packets.
#[derive(clap::Args)]
pub struct Differential {
    #[command(flatten)]
    pairs: Pairs,
}

/// What to ask about: the command takes it, and the program that it starts.
#[derive(clap::Args, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pairs {
    /// Pairs of a policy set and a packet.
    #[arg(long, default_value_t = 200_000)]
    pub pairs: u64,
    /// The same seed gives the same pairs.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Packets for each policy set; loading one into the kernel costs more than a thousand packets.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub packets: u64,
    /// End after so many seconds, with what has been done till then; so does Ctrl-C.
    #[arg(long)]
    pub seconds: Option<u64>,
    /// Leave names and signatures out of the policies.
    #[arg(long)]
    pub without_names: bool,
    /// Know devices by their MACs alone.
    #[arg(long)]
    pub without_identity: bool,
}

impl Pairs {
    /// As they are written on a command line.
    fn arguments(&self) -> Vec<String> {
        let Self { pairs, seed, packets, seconds, without_names, without_identity } = self;
        let mut arguments = vec![format!("--pairs={pairs}"), format!("--seed={seed}"), format!("--packets={packets}")];
        arguments.extend(without_names.then(|| "--without-names".to_owned()));
        arguments.extend(without_identity.then(|| "--without-identity".to_owned()));
        arguments.extend(seconds.map(|seconds| format!("--seconds={seconds}")));
        arguments
    }
}

impl Differential {
    pub fn run(&self) -> Result<()> {
        let Self { pairs } = self;
        setup(Purpose::Build)?;
        let mut command = cargo();
        command.args(["run", "--quiet", "--profile=differential", "--package=edge-agent", "--example=differential", "--"]);
        command.args(pairs.arguments());
        if !is_root() {
            println!("differential: not root: the kernel engine is left out; sudo ./x differential asks all three");
            command.arg("--without-kernel");
        }
        run(&mut command)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        pairs: Pairs,
    }

    #[test]
    fn what_the_command_is_told_reaches_the_program() {
        let default = Pairs { pairs: 200_000, seed: 1, packets: 1000, seconds: None, without_names: false, without_identity: false };
        let other = Pairs { pairs: 7, seed: 8, packets: 9, seconds: Some(10), without_names: true, without_identity: true };
        for told in [default, other] {
            let line = std::iter::once("differential".to_owned()).chain(told.arguments());
            assert_eq!(Program::try_parse_from(line).map(|program| program.pairs).ok(), Some(told));
        }
        assert!(Program::try_parse_from(["differential"]).is_ok_and(|program| program.pairs == default));
        assert!(Program::try_parse_from(["differential", "--packets=0"]).is_err(), "that asks nothing");
    }
}
