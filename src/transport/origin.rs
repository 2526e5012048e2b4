//! Where a request comes from: the client's address, behind proxies that are trusted too, with the id of
//! the request and what the client says that it is.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{Extensions, HeaderMap, HeaderName, header},
    middleware::Next,
    response::Response,
};
use ipnet::IpNet;
use tonic::transport::server::TcpConnectInfo;

use super::request_id::RequestId;
use crate::domain::{caller::Origin, limits::USER_AGENT_CHARS};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies whose word about the client's address is taken. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    /// From the setting `trusted_proxies`: addresses, or networks such as `10.0.0.0/8`, separated by
    /// commas. An error names what is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let network = |item: &str| {
            let address = item.parse::<IpAddr>().map(IpNet::from);
            item.parse::<IpNet>().or(address).map_err(|_| {
                format!("{item:?} is neither an address nor a network like 10.0.0.0/8")
            })
        };
        Ok(Self(items.map(network).collect::<Result<_, _>>()?))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client's address: the connection's, unless that is a trusted proxy's; then the last of
    /// `X-Forwarded-For` that is none. What stands before it may be anybody's invention. Each proxy adds
    /// whom it was called by at the end; one that adds nothing readable is where the trail ends.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let values = headers.get_all(FORWARDED_FOR).iter();
        // What is no text is no address, and ends the trail there.
        let values: Vec<_> =
            values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        for entry in values.iter().rev().flat_map(|value| value.rsplit(',')) {
            if !self.trusts(client) {
                break;
            }
            let Some(before) = address(entry.trim()) else { break };
            client = before;
        }
        client
    }
}

/// An address as proxies write it: alone or with a port.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse().map(|socket: std::net::SocketAddr| socket.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = text.parse().or_else(|_| with_port()).ok().or_else(in_brackets);
    address.map(|address: IpAddr| address.to_canonical())
}

/// Notes among a request's extensions where it comes from.
pub async fn note(
    State(proxies): State<TrustedProxies>,
    mut request: Request,
    next: Next,
) -> Response {
    let origin = of(request.extensions(), request.headers(), &proxies);
    request.extensions_mut().insert(Arc::new(origin));
    next.run(request).await
}

fn of(extensions: &Extensions, headers: &HeaderMap, proxies: &TrustedProxies) -> Origin {
    let peer = extensions.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    Origin {
        address: peer.map(|peer| proxies.client(peer.ip(), headers)),
        request_id: extensions
            .get::<RequestId>()
            .map(|id| id.as_str().to_owned())
            .unwrap_or_default(),
        user_agent: user_agent.map(|text| text.chars().take(USER_AGENT_CHARS).collect()),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(trusted: &str, peer: &str, forwarded: &[&str]) -> String {
        let proxies = TrustedProxies::parse(trusted).unwrap();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_client_is_the_last_that_no_trusted_proxy_is() {
        let trusted = "10.0.0.0/8, 2001:db8::/32,192.0.2.1";
        let rows: [(&str, &[&str], &str); 13] = [
            // Nobody else's word is taken.
            ("203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("2001:db8::1", &["2001:4860::8, 10.1.1.1"], "2001:4860::8"),
            // What the client itself made up stands before its address.
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.2.2.2"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1", "198.51.100.1", "10.2.2.2"], "198.51.100.1"),
            ("10.0.0.1", &["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
            ("192.0.2.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("192.0.2.1", &["[2001:4860::8]:4711"], "2001:4860::8"),
            ("192.0.2.1", &["[2001:4860::8]"], "2001:4860::8"),
            // Where the trail cannot be read it ends.
            ("10.0.0.1", &["198.51.100.1, unknown"], "10.0.0.1"),
            ("192.0.2.1", &["198.51.100.1, , 10.0.0.2"], "10.0.0.2"),
        ];
        for (peer, forwarded, expected) in rows {
            assert_eq!(client(trusted, peer, forwarded), expected, "{peer} {forwarded:?}");
        }
        assert_eq!(client("", "127.0.0.1", &["198.51.100.1"]), "127.0.0.1");
    }

    #[test]
    fn what_is_no_text_hides_no_address_behind_it() {
        let proxies = TrustedProxies::parse("10.0.0.0/8").unwrap();
        let of = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(FORWARDED_FOR, HeaderValue::from_bytes(value).unwrap());
            }
            proxies.client("10.0.0.1".parse().unwrap(), &headers).to_string()
        };
        assert_eq!(of(&[b"\xff, 203.0.113.9"]), "203.0.113.9");
        // Nor does it uncover what stands before it.
        assert_eq!(of(&[b"198.51.100.1", b"\xff"]), "10.0.0.1");
    }

    #[test]
    fn what_is_no_network_is_named() {
        let error = TrustedProxies::parse("10.0.0.0/8,proxy.example").unwrap_err();
        assert!(error.contains("proxy.example"), "{error}");
    }
}
