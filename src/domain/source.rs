//! Where requests come from, as far as one sender is told from another.

use core::net::{IpAddr, Ipv6Addr};

/// Trailing bits of an IPv6 address that whoever has the network chooses (RFC 4291, section 2.5.4).
const CHOSEN_BITS: u32 = 64;

/// The address, or of IPv6 its network: all of one are one sender.
pub fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() >> CHOSEN_BITS << CHOSEN_BITS;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}
