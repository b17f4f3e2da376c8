//! Why a policy set does not fit into a generation.

use edge_ebpf::abi::identity::{MAX_FACT_STATES, MAX_GROUP_OPS, MAX_HELLO_KEYS, MAX_SIGNALS};
use edge_ebpf::abi::{MAX_NAME_NUMBERS, MAX_RULES, MAX_SIGNATURES};

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    #[error(
        "the policies have {rules} rules in all, and a generation holds {MAX_RULES}: join rules that share an action, or drop policies"
    )]
    TooManyRules { rules: usize },
    #[error(
        "the rules tell {classes} kinds of devices, destinations, services and times apart, and with so many rules the tables hold {limit}: \
         use fewer rules, name ranges of ports instead of single ones, or let rules share their destinations"
    )]
    TooManyClasses { classes: usize, limit: usize },
    #[error(
        "one region of the MAC or IPv6 addresses is cut into more pieces than a table holds: name prefixes instead of single addresses"
    )]
    TooDense,
    #[error(
        "the names make {numbers} different combinations of rules, and the tables hold {MAX_NAME_NUMBERS}: use fewer lists, or let rules share them"
    )]
    TooManyNames { numbers: usize },
    #[error(
        "the policies have {entries} signatures in all, each range of ports counted, and a generation holds {MAX_SIGNATURES}: use fewer, or join \
         their ports"
    )]
    TooManySignatures { entries: usize },
    #[error(
        "the groups know devices by {signals} different signals, and a generation holds {MAX_SIGNALS}: put patterns that mean the same devices into one list"
    )]
    TooManySignals { signals: usize },
    #[error(
        "the groups ask for {facts} different facts about MACs beside what devices show, and a generation holds 256: use fewer groups, or let them share their vendors"
    )]
    TooManyMacFacts { facts: usize },
    #[error(
        "the patterns of what devices show make more than {MAX_FACT_STATES} states: write fewer texts with a `*` before and behind (`*x*`), put          those of one group into one list, or let texts begin with letters (`x*`)"
    )]
    TooManyFactStates,
    #[error(
        "the policies know {hellos} JA4 values, and the tables hold {MAX_HELLO_KEYS}: use fewer, or patterns of their first part alone"
    )]
    TooManyHellos { hellos: usize },
    #[error(
        "the groups that know devices by what they show take {ops} steps, and a generation holds {MAX_GROUP_OPS}: use fewer or shorter groups"
    )]
    TooManyGroupOps { ops: usize },
    #[error("the schedules make {combinations} different combinations of rules that hold, and a timeline names 65536: use fewer schedules")]
    TooManySchedules { combinations: usize },
}
