//! One module a definition: its world, its input, and what must hold at rest.

pub(crate) mod shapes;
pub(crate) mod task_run;
