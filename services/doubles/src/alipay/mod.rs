//! A double of Alipay.
