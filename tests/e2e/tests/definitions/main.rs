//! Every definition in the repository, over its real participants, against the same faults. Slow: `make test-faults`.

mod generic;
mod subjects;

generic_fault_tests!(task_run, crate::subjects::task_run::TaskRun);
generic_fault_tests!(journey, crate::subjects::shapes::Journey);
generic_fault_tests!(transfer, crate::subjects::shapes::Transfer);
generic_fault_tests!(lend, crate::subjects::shapes::Lend);
