//! The crate through its public interface.

mod graphs;
mod identity;
mod json;
mod lab;
mod language;
mod mapping;
mod mistakes;
mod never_panics;
mod publishing;
mod task_run;
mod tcc;
