//! One module a definition: its world, its input, and what must hold at rest.

pub(crate) mod bench;
pub(crate) mod billing;
pub(crate) mod order;
pub(crate) mod shapes;
pub(crate) mod task_run;
pub(crate) mod trip;
