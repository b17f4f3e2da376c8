//! What stands in `deploy/` is what it says: units that systemd accepts, alerts that fire, queries that Prometheus answers with data.

mod boot;
mod dashboard;
mod live;
mod prometheus;
mod systemd;
mod tool;
