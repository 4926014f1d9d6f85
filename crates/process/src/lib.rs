//! Process skeleton: configuration parts, Postgres pools, health, signals, drain.
