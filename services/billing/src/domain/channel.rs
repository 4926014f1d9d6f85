//! Channels: the payment providers that billing knows by name.

use proto::billing::v1 as pb;

/// A payment provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Channel {
    WeChat,
    Alipay,
}

impl Channel {
    pub(crate) const ALL: [Self; 2] = [Self::WeChat, Self::Alipay];

    /// Returns the name in tables and URLs, which is that of [`pay::Provider::name`].
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::WeChat => "wechat",
            Self::Alipay => "alipay",
        }
    }

    /// Reads a name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.name() == name)
    }

    /// Reads the channel of a message; `None` if it is unspecified.
    pub(crate) const fn from_message(channel: pb::Channel) -> Option<Self> {
        match channel {
            pb::Channel::Unspecified => None,
            pb::Channel::Wechat => Some(Self::WeChat),
            pb::Channel::Alipay => Some(Self::Alipay),
        }
    }
}

impl From<Channel> for pb::Channel {
    fn from(channel: Channel) -> Self {
        match channel {
            Channel::WeChat => Self::Wechat,
            Channel::Alipay => Self::Alipay,
        }
    }
}
