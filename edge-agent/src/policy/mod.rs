//! From YAML to tables: load → resolve → compile, each step a type that only the one before can make.
pub mod model;
