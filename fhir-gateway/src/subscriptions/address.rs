//! Which addresses a client may have called in its name. The gateway stands where the client does not: without
//! a limit, a Subscription would reach what only this machine and its network do.
//!
//! Allowed are https addresses on the public internet, and the origins that the operator names. A name is looked
//! up when it is called, by the resolver below, so that one that points elsewhere tomorrow is refused tomorrow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Longest accepted endpoint, in bytes.
const ENDPOINT_BYTES_MAX: usize = 2_048;

/// Whether the operator named the origin of an endpoint.
pub fn is_trusted(url: &Url, trusted: &[String]) -> bool {
    trusted.contains(&url.origin().ascii_serialization())
}

/// Reads an endpoint.
///
/// # Errors
/// What is wrong with it, without the address: it may hold a secret.
pub fn read(text: &str, trusted: &[String]) -> Result<Url, String> {
    let wrong = |what: &str| Err(what.to_owned());
    if text.len() > ENDPOINT_BYTES_MAX {
        return Err(format!("is longer than {ENDPOINT_BYTES_MAX} bytes"));
    }
    let Ok(url) = Url::parse(text) else { return wrong("must be an absolute https address") };
    check(&url, trusted)?;
    Ok(url)
}

/// Refuses an address that may not be called.
///
/// # Errors
/// As [`read`].
pub fn check(url: &Url, trusted: &[String]) -> Result<(), String> {
    let wrong = |what: &str| Err(what.to_owned());
    if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
        return wrong("must be an absolute https address");
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return wrong("has a user, a password or a fragment; what the endpoint has to be told is a channel.header");
    }
    if is_trusted(url, trusted) {
        return Ok(());
    }
    if url.scheme() != "https" {
        return wrong("must be an https address, unless this server's operator trusts the endpoint");
    }
    let literal = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        _ => None,
    };
    if literal.is_some_and(|address| !is_public(address)) {
        return wrong("is no public address, which this server calls only where its operator trusts the endpoint");
    }
    Ok(())
}

/// Whether an address is one of the public internet: by the registries of special-purpose addresses (RFC 6890 and
/// its successors), of IPv6 only what is given out for global use.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    let is_special = match first {
        0 | 10 | 127 => true,
        100 => (64..128).contains(&second),
        169 => second == 254,
        172 => (16..32).contains(&second),
        192 => matches!((second, third), (168, _) | (0, 0 | 2) | (88, 99)),
        198 => matches!((second, third), (18 | 19, _) | (51, 100)),
        203 => (second, third) == (0, 113),
        224.. => true,
        _ => false,
    };
    !is_special
}

/// Not: what carries an IPv4 address (mapped, 6to4, Teredo, NAT64), which would lead around the rules for those.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let is_global = first & 0xe000 == 0x2000;
    let is_special = match (first, second) {
        // Protocol assignments with Teredo, and documentation.
        (0x2001, second) => second < 0x0200 || second == 0x0db8,
        // 6to4, and documentation.
        (0x2002, _) | (0x3fff, 0..0x1000) => true,
        _ => false,
    };
    is_global && !is_special
}

/// Why a name was not called.
#[derive(Debug, thiserror::Error)]
#[error("the name leads to no public address")]
pub struct NotPublic;

/// Why a name was not called.
#[derive(Debug, thiserror::Error)]
#[error("the name leads nowhere")]
pub struct Unknown;

/// Looks names up and gives public addresses only.
#[derive(Debug, Clone, Copy)]
pub struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|_| Unknown)?;
            let found: Vec<SocketAddr> = found.collect();
            if found.is_empty() {
                return Err(Unknown.into());
            }
            let public: Vec<SocketAddr> = found.into_iter().filter(|address| is_public(address.ip())).collect();
            if public.is_empty() { Err(NotPublic.into()) } else { Ok(Box::new(public.into_iter()) as Addrs) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_within_a_machine_or_a_network_is_not_public() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "5f00::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "203.0.112.1",
            "223.255.255.255",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn an_endpoint_is_https_and_public_or_trusted_by_its_whole_origin() {
        let trusted = ["http://127.0.0.1:9000".to_owned(), "https://ehr.internal".to_owned()];
        for text in [
            "https://example.org/hook?key=1",
            "https://8.8.8.8/",
            "https://[2606:4700::1111]/",
            "http://127.0.0.1:9000/a",
            "https://ehr.internal:443/hook",
            "https://EHR.internal/hook",
        ] {
            assert!(read(text, &trusted).is_ok(), "{text}");
        }
        for text in [
            "",
            "hook",
            "/hook",
            "ftp://example.org",
            "mailto:a@example.org",
            "http://example.org/hook",
            "http://127.0.0.1:9001/a",
            "https://127.0.0.1:9000/a",
            "http://127.0.0.1/",
            "http://ehr.internal/hook",
            "https://user@example.org/",
            "https://user:word@example.org/",
            "https://example.org/#part",
            // Every spelling of an address that the parser knows is the same address.
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:169.254.169.254]/",
            "https://169.254.169.254/latest",
            "https://10.0.0.1/",
            "http://user@127.0.0.1:9000/",
        ] {
            assert!(read(text, &trusted).is_err(), "{text}");
        }
        let problem = read("http://canary.example.org/", &trusted).unwrap_err();
        assert!(!problem.contains("canary"), "{problem}");
        assert!(read(&format!("https://example.org/{}", "a".repeat(ENDPOINT_BYTES_MAX)), &trusted).is_err());
    }

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_is_not_called() {
        let found = PublicOnly.resolve("localhost".parse().unwrap()).await;
        let error = found.err().unwrap();
        assert!(error.is::<NotPublic>(), "{error}");
        // No name has a part of more than 63 letters, so nobody is asked for it.
        let found = PublicOnly.resolve(format!("{}.example", "a".repeat(70)).parse().unwrap()).await;
        let error = found.err().unwrap();
        assert!(error.is::<Unknown>(), "{error}");
    }
}
