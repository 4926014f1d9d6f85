//! Faults on purpose, under load. Slow: `make test-faults`.

mod kills;
mod load;
mod outages;
