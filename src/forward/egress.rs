//! Which addresses may be dialled: a destination is configured by a tenant, and must not be a way into
//! the operator's own network.

use std::net::IpAddr;

use ipnet::IpNet;

/// Which addresses may be dialled.
#[derive(Debug, Clone, Default)]
pub struct Egress {
    networks: Vec<IpNet>,
}

impl Egress {
    /// Whether that address is in a network that the operator allows.
    pub fn permits(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }
}
