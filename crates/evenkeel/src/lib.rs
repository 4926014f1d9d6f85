//! The evenkeel binary: dev, serve, migrate, saga, bench, doctor.
