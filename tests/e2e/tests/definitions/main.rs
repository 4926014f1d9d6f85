//! Every definition in the repository, over its real participants, against the same faults. Slow: `make test-faults`.

mod catalogue;
mod generic;
mod subjects;

generic_fault_tests! {
    task_run: crate::subjects::task_run::TaskRun,
    bench_four: crate::subjects::bench::BenchFour,
    journey: crate::subjects::shapes::Journey,
    transfer: crate::subjects::shapes::Transfer,
    lend: crate::subjects::shapes::Lend,
    order: crate::subjects::order::Order,
    trip: crate::subjects::trip::Trip,
    payment: crate::subjects::billing::Payment,
    payment_purchase: crate::subjects::billing::Purchase,
    payment_refund: crate::subjects::billing::Refund,
    withdrawal: crate::subjects::billing::Withdrawal,
}
