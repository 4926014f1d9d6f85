//! Memberships: rights to a tier, made of the periods that orders have added.

mod revoke;

pub(crate) use revoke::revoke;
