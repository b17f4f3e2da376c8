//! What tells devices apart beside their MACs: facts that packets show ([`syn`], [`dhcp`], [`hello`], [`user_agent`]), what they are for the
//! policies ([`automaton`]), and the groups that follow from it ([`groups`]), kept by device ([`device`]).

pub mod automaton;
pub mod device;
pub mod dhcp;
pub mod groups;
pub mod hello;
pub mod syn;
pub mod user_agent;

#[cfg(test)]
mod tests;
