//! Alipay.
