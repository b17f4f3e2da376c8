//! The engines agree: on what is written down (`decisions`, `corpus`), and on what nobody thought of (the example `differential`).

mod corpus;
mod corpus_case;
mod decisions;
mod noise;
mod pinhole;
mod small_set;
mod trio;
