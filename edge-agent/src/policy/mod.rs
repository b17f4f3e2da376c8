//! From YAML to tables: load → resolve → compile, each step a type that only the one before can make.
pub mod address;
mod always_allow;
pub mod compile;
pub mod expectation;
pub mod json_schema;
pub mod keys;
pub mod load;
pub mod mac;
pub mod model;
mod overlap;
pub mod problem;
pub mod resolve;
pub mod schema;
pub mod service;
mod sets;
pub mod shape;
pub mod summary;
pub mod yaml;
