//! Where a client is.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Returns the client's address: that of the connection, unless it comes from a proxy that is believed; then the last address
/// in `x-forwarded-for` that is not such a proxy, since everything left of it was written by the client.
pub(crate) fn client_ip(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|net| net.contains(ip));
    let mut client = peer.to_canonical();
    if !is_trusted(&client) {
        return client;
    }
    let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
    let entries = lines
        .iter()
        .rev()
        .flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
    for entry in entries {
        // A proxy that writes something else is not one to be believed further.
        let Some(ip) = address(entry.trim()) else { break };
        client = ip;
        if !is_trusted(&client) {
            break;
        }
    }
    client
}

/// Reads `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let ip = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|addr| addr.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())?;
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn trusted() -> Vec<IpNet> {
        vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]
    }

    #[rstest]
    #[case::nobody_is_believed_from_outside("192.0.2.9", &["198.51.100.1"], "192.0.2.9")]
    #[case::a_proxy_is_believed("10.0.0.1", &["198.51.100.1"], "198.51.100.1")]
    #[case::what_the_client_wrote_is_not("10.0.0.1", &["1.2.3.4, 198.51.100.1"], "198.51.100.1")]
    #[case::proxies_behind_proxies("10.0.0.1", &["1.2.3.4, 198.51.100.1, 10.9.9.9"], "198.51.100.1")]
    #[case::several_lines("10.0.0.1", &["1.2.3.4", "198.51.100.1"], "198.51.100.1")]
    #[case::rubbish_ends_it("10.0.0.1", &["1.2.3.4, unknown, 10.2.2.2"], "10.2.2.2")]
    #[case::no_header("10.0.0.1", &[], "10.0.0.1")]
    #[case::with_a_port("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1")]
    #[case::version_six("fd00::1", &["[2001:db8::7]:80"], "2001:db8::7")]
    #[case::mapped("::ffff:10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1")]
    fn the_client_is_whom_the_last_believed_proxy_names(
        #[case] peer: &str,
        #[case] lines: &[&'static str],
        #[case] client: &str,
    ) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_static(line));
        }
        let found = client_ip(peer.parse().unwrap(), &headers, &trusted());
        assert_eq!(found, client.parse::<IpAddr>().unwrap());
    }

    proptest! {
        #[test]
        fn no_header_panics_and_strangers_decide_nothing(line in "[ -~]{0,60}") {
            let mut headers = HeaderMap::new();
            headers.insert(FORWARDED_FOR, HeaderValue::from_str(&line).unwrap());
            let stranger: IpAddr = "192.0.2.1".parse().unwrap();
            prop_assert_eq!(client_ip(stranger, &headers, &trusted()), stranger);
            client_ip("10.0.0.1".parse().unwrap(), &headers, &trusted());
        }
    }
}
