//! The lab with everything that the tests of names need besides: servers of many names, and a resolver on the gateway.

use std::net::IpAddr;

use tokio::runtime::Runtime;
use xtask::lab::agent::Settings;
use xtask::lab::plan::{PHONE, RESOLVER, RESOLVER_IPV6, gateway};
use xtask::lab::process::Process;
use xtask::lab::{Lab, resolver};

use super::RULE;
use super::ledger::Ledger;
use super::web;

/// The order of the fields is the order of their end.
pub struct Town {
    pub runtime: Runtime,
    _gateways_resolver: Process,
    pub ledger: Ledger,
    pub lab: Lab,
}

/// The resolvers: through the gateway, and on it.
pub const RESOLVERS: [IpAddr; 4] =
    [IpAddr::V4(RESOLVER), IpAddr::V6(RESOLVER_IPV6), IpAddr::V4(gateway::INSIDE_IPV4), IpAddr::V6(gateway::INSIDE_IPV6)];

impl Town {
    pub fn start() -> Self {
        let lab = Lab::start().unwrap();
        let on_gateway = [gateway::INSIDE_IPV4.into(), gateway::INSIDE_IPV6.into()];
        let gateways_resolver = resolver::start(&lab.gateway, &on_gateway).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let ledger = Ledger::default();
        web::start(&runtime, &lab.servers.namespace, &lab.directory, &ledger);
        Self { runtime, _gateways_resolver: gateways_resolver, ledger, lab }
    }
}

/// A policy with one rule: from the phone, to domains.
#[derive(Clone, Copy)]
pub struct NamePolicy<'a> {
    pub name: &'a str,
    pub domains: &'a [&'a str],
    /// What an address is worth that an answer gave: `off`, `monitor`, `enforce`.
    pub learned: &'a str,
    pub services: &'a [&'a str],
    pub action: &'a str,
}

impl NamePolicy<'_> {
    pub fn yaml(&self) -> String {
        let Self { name, domains, learned, services, action } = self;
        let (domains, services) = (domains.join(", "), services.join(", "));
        format!(
            "apiVersion: edge/v1\nkind: Policy\nmetadata: {{name: {name}, title: End to end, severity: low, issued: 2014-10-24}}\n\
             spec:\n  mode: enforce\n  priority: 100\n  devices: {{phone: {{any: [{{mac: [\"{}\"]}}]}}}}\n  \
             destinations: {{names: {{domains: [{domains}], learned: {learned}}}}}\n  rules:\n  \
             - {{id: {RULE}, from: phone, to: [names], services: [{services}], action: {action}}}\n",
            PHONE.mac
        )
    }

    /// Settings of an agent whose policy folder holds just this one.
    pub fn settings(&self, lab: &Lab) -> Settings {
        let file = lab.directory.write("policies/policy.yaml", &self.yaml()).unwrap();
        Settings::new(file.parent().unwrap())
    }
}
