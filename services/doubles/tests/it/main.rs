//! The doubles over real HTTP.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod ai;
mod alipay;
mod allocator;
mod identity;
mod kms;
mod merchant;
mod wechatpay;
