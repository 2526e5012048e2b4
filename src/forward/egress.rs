//! Which addresses may be dialled: a destination is configured by a tenant, and must not be a way into
//! the operator's own network. What is checked is the address that is dialled, never only a name: a name
//! may mean another address a moment later (DNS rebinding).

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use quick_cache::sync::Cache;
use reqwest::Client;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout_at},
};

/// IPv4 networks that are not the public Internet (IANA's registry of special-purpose addresses), and
/// Azure's platform address, which is public only in name.
const NOT_PUBLIC_V4: [(Ipv4Addr, u32); 18] = [
    (Ipv4Addr::UNSPECIFIED, 8),            // "this network", RFC 791
    (Ipv4Addr::new(10, 0, 0, 0), 8),       // private, RFC 1918
    (Ipv4Addr::new(100, 64, 0, 0), 10),    // carrier-grade NAT, RFC 6598; Alibaba's metadata
    (Ipv4Addr::new(127, 0, 0, 0), 8),      // loopback, RFC 1122
    (Ipv4Addr::new(168, 63, 129, 16), 32), // Azure's WireServer
    (Ipv4Addr::new(169, 254, 0, 0), 16),   // link-local, RFC 3927; metadata of most clouds
    (Ipv4Addr::new(172, 16, 0, 0), 12),    // private, RFC 1918
    (Ipv4Addr::new(192, 0, 0, 0), 24),     // protocol assignments, RFC 6890; Oracle's metadata
    (Ipv4Addr::new(192, 0, 2, 0), 24),     // documentation, RFC 5737
    (Ipv4Addr::new(192, 88, 99, 0), 24),   // 6to4 relays, RFC 7526
    (Ipv4Addr::new(192, 168, 0, 0), 16),   // private, RFC 1918
    (Ipv4Addr::new(198, 18, 0, 0), 15),    // benchmarking, RFC 2544
    (Ipv4Addr::new(198, 51, 100, 0), 24),  // documentation, RFC 5737
    (Ipv4Addr::new(203, 0, 113, 0), 24),   // documentation, RFC 5737
    (Ipv4Addr::new(224, 0, 0, 0), 4),      // multicast, RFC 5771
    (Ipv4Addr::new(240, 0, 0, 0), 5),      // reserved, RFC 1112
    (Ipv4Addr::new(248, 0, 0, 0), 5),      // reserved, RFC 1112
    (Ipv4Addr::BROADCAST, 32),             // broadcast, RFC 919
];

/// IPv6 networks inside of 2000::/3, the only public one, that are not public themselves.
const NOT_PUBLIC_V6: [(Ipv6Addr, u32); 3] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments, Teredo: RFC 2928, 4380
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation, RFC 3849
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation, RFC 9637
];

/// How long a request may take, from the name's resolution to the end of the answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Which addresses may be dialled, public ones and those in networks that the operator allows, and how
/// long to wait for them.
#[derive(Clone)]
pub struct Egress {
    networks: Arc<[IpNet]>,
    request_timeout: Duration,
    /// HTTP clients by the authorities that they trust beside the host's: a thousand streams need few.
    clients: Arc<Cache<String, Client>>,
}

/// Clients that are kept for streams to come.
const CLIENTS: usize = 64;

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress").field("networks", &self.networks).finish_non_exhaustive()
    }
}

impl Egress {
    /// Public addresses, and those in these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        let clients = Arc::new(Cache::new(CLIENTS));
        Self { networks: networks.into(), request_timeout: REQUEST_TIMEOUT, clients }
    }

    /// Public addresses only.
    pub fn public() -> Self {
        Self::new(Vec::new())
    }

    /// The same, with requests that may take so long instead of 30 seconds, which is also the most.
    #[must_use]
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout.min(REQUEST_TIMEOUT);
        self.without_clients()
    }

    /// The same, with no client yet.
    pub(super) fn without_clients(self) -> Self {
        Self { clients: Arc::new(Cache::new(CLIENTS)), ..self }
    }

    /// The client that trusts these authorities beside the host's, made by `make` if there is none.
    pub(super) fn client(
        &self,
        ca_certificates_pem: &str,
        make: impl FnOnce() -> Result<Client, String>,
    ) -> Result<Client, String> {
        self.clients.get_or_insert_with(ca_certificates_pem, make)
    }

    /// How long a request may take.
    pub(super) const fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// From the setting `log_streams.allowed_networks`: networks such as `10.0.0.0/8` separated by
    /// commas, `*` for all, empty for none. An error names what is no network.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut networks = Vec::new();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            if item == "*" {
                networks.extend([
                    IpNet::new_assert(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
                    IpNet::new_assert(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
                ]);
                continue;
            }
            let address = item.parse::<IpAddr>().map(IpNet::from);
            let network = item.parse::<IpNet>().or(address);
            networks
                .push(network.map_err(|_| format!("{item:?} is not a network like 10.0.0.0/8"))?);
        }
        Ok(Self::new(networks))
    }

    /// Whether that address is public or in a network that the operator allows. An IPv6 address that
    /// leads to an IPv4 address is treated like that.
    pub fn permits(&self, address: IpAddr) -> bool {
        if self.networks.iter().any(|network| network.contains(&address)) {
            return true;
        }
        match address {
            IpAddr::V4(address) => is_public_v4(address),
            IpAddr::V6(address) => match embedded_v4(address) {
                Some(v4) => self.permits(IpAddr::V4(v4)),
                None => is_public_v6(address),
            },
        }
    }

    /// The addresses of a host, a name or an address itself, that may be dialled. `PermissionDenied` if
    /// it has only others.
    pub async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let bare = bare(host);
        let mut addresses: Vec<SocketAddr> = lookup_host((bare, port)).await?.collect();
        let found = addresses.len();
        addresses.retain(|address| self.permits(address.ip()));
        if addresses.is_empty() && found > 0 {
            return Err(refused(bare));
        }
        Ok(addresses)
    }

    /// Connects to a host, trying its addresses one after the other: each is dialled as it was checked.
    pub async fn connect(&self, host: &str, port: u16, timeout: Duration) -> io::Result<TcpStream> {
        let deadline = Instant::now() + timeout;
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
        for address in timeout_at(deadline, self.resolve(host, port)).await?? {
            match timeout_at(deadline, TcpStream::connect(address)).await? {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// A host without the brackets that an IPv6 address has in a URL (RFC 3986, section 3.2.2).
pub(super) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Why a host is not dialled.
pub(super) fn refused(host: &str) -> io::Error {
    let message = format!(
        "{host} has no public address, and log_streams.allowed_networks allows none that it has"
    );
    io::Error::new(io::ErrorKind::PermissionDenied, message)
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let inside = |&(network, bits): &(Ipv4Addr, u32)| {
        (address.to_bits() ^ network.to_bits()) >> (32 - bits) == 0
    };
    !NOT_PUBLIC_V4.iter().any(inside)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let inside = |&(network, bits): &(Ipv6Addr, u32)| {
        (address.to_bits() ^ network.to_bits()) >> (128 - bits) == 0
    };
    address.segments()[0] >> 13 == 1 && !NOT_PUBLIC_V6.iter().any(inside)
}

/// The IPv4 address that an IPv6 address leads to: mapped (RFC 4291), NAT64 (RFC 6052) or 6to4 (RFC
/// 3056). IPv4-compatible and Teredo addresses are never public and need no look inside.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let in_two =
        |high: u16, low: u16| Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(in_two(high, low))
        }
        [0x2002, high, low, ..] => Some(in_two(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(egress: &Egress, address: &str) -> bool {
        egress.permits(address.parse().unwrap())
    }

    #[test]
    fn public_addresses_are_permitted() {
        let egress = Egress::public();
        for public in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "169.253.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00::1",
            "2001:200::1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
        ] {
            assert!(permits(&egress, public), "{public}");
        }
    }

    #[test]
    fn no_other_address_is_permitted() {
        let egress = Egress::public();
        for other in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "254.1.1.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::1.1.1.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:a9fe:a9fe::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!permits(&egress, other), "{other}");
        }
    }

    #[test]
    fn the_operator_allows_networks() {
        let egress = Egress::parse(" 10.1.0.0/16, fd00::/8,127.0.0.1 ").unwrap();
        for allowed in ["10.1.2.3", "fd00::1", "127.0.0.1", "::ffff:10.1.2.3", "1.1.1.1"] {
            assert!(permits(&egress, allowed), "{allowed}");
        }
        for other in ["10.2.0.1", "127.0.0.2", "fe80::1"] {
            assert!(!permits(&egress, other), "{other}");
        }
        let all = Egress::parse("*").unwrap();
        assert!(permits(&all, "127.0.0.1") && permits(&all, "::1"));
        assert!(!permits(&Egress::parse("").unwrap(), "127.0.0.1"));
        assert!(Egress::parse("10.0.0.0/33").unwrap_err().contains("10.0.0.0/33"));
    }

    #[tokio::test]
    async fn a_name_of_a_private_address_is_refused() {
        for host in ["localhost", "127.0.0.1", "::1", "[::1]"] {
            let error = Egress::public().resolve(host, 1).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{host}");
        }
        let addresses = Egress::parse("*").unwrap().resolve("localhost", 1).await.unwrap();
        assert!(addresses.iter().all(|address| address.ip().is_loopback()));
    }

    #[tokio::test]
    async fn connects_to_what_was_checked() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let wait = Duration::from_secs(5);
        let allowed = Egress::parse("127.0.0.0/8").unwrap();
        let stream = allowed.connect("127.0.0.1", address.port(), wait).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        let error = Egress::public().connect("127.0.0.1", address.port(), wait).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
