//! From YAML to tables: load → resolve → compile, each step a type that only the one before can make.
pub mod compile;
pub mod json_schema;
pub mod keys;
pub mod model;
pub mod problem;
pub mod shape;
pub mod yaml;
