//! A SOCKS5 server (RFC 1928) of this process, on a loopback port, which the Kafka client dials
//! through: it has no other place where the address that is dialled can be checked. It has no
//! authentication (the client speaks none); another process of this host could reach through it what
//! the stream may reach, and that it can reach by itself.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

use crate::forward::Egress;

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const CONNECT: u8 = 1;
const SUCCEEDED: u8 = 0;
const NOT_ALLOWED: u8 = 2;
const HOST_UNREACHABLE: u8 = 4;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the last connection was not made: whether that may pass, and what happened.
type LastFailure = Arc<Mutex<Option<(bool, String)>>>;

/// The server. It and its connections end with it.
pub struct Dialler {
    address: SocketAddr,
    last_failure: LastFailure,
    _task: AbortOnDropHandle<()>,
}

impl Dialler {
    /// Starts one for connections to permitted addresses.
    pub async fn start(egress: Egress) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let last_failure = LastFailure::default();
        let task = tokio::spawn(serve(listener, egress, last_failure.clone()));
        Ok(Self { address, last_failure, _task: AbortOnDropHandle::new(task) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the last connection was not made: if that may pass, and why.
    pub fn last_failure(&self) -> Option<(bool, String)> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Once something was delivered, what failed before says nothing about what fails later.
    pub fn forget_failure(&self) {
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

async fn serve(listener: TcpListener, egress: Egress, last_failure: LastFailure) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(relay(client, egress.clone(), last_failure.clone()));
    }
}

async fn relay(mut client: TcpStream, egress: Egress, last: LastFailure) -> io::Result<()> {
    client.set_nodelay(true)?;
    let (host, port) = requested(&mut client).await?;
    let dialled = egress.connect(&host, port, CONNECT_TIMEOUT).await;
    let said = dialled.as_ref().err().map(|error| {
        let may_pass = error.kind() != io::ErrorKind::PermissionDenied;
        (may_pass, format!("{host}:{port}: {error}"))
    });
    let reply = match &said {
        None => SUCCEEDED,
        Some((true, _)) => HOST_UNREACHABLE,
        Some((false, _)) => NOT_ALLOWED,
    };
    *last.lock().unwrap_or_else(PoisonError::into_inner) = said;
    // BND.ADDR and BND.PORT mean nothing to the client.
    client.write_all(&[VERSION, reply, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    copy_bidirectional(&mut client, &mut dialled?).await.map(|_| ())
}

/// Where the client wants to go.
async fn requested(client: &mut TcpStream) -> io::Result<(String, u16)> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let [version, methods] = read(client).await?;
    if version != VERSION {
        return Err(wrong("not SOCKS5"));
    }
    client.read_exact(&mut vec![0; methods.into()]).await?;
    client.write_all(&[VERSION, NO_AUTHENTICATION]).await?;
    let [VERSION, CONNECT, 0, kind] = read(client).await? else {
        return Err(wrong("not a request to connect"));
    };
    let host = match kind {
        1 => IpAddr::from(Ipv4Addr::from(read(client).await?)).to_string(),
        3 => {
            let [length] = read(client).await?;
            let mut name = vec![0; length.into()];
            client.read_exact(&mut name).await?;
            String::from_utf8(name).map_err(|_| wrong("not a host name"))?
        }
        4 => IpAddr::from(Ipv6Addr::from(read::<16>(client).await?)).to_string(),
        _ => return Err(wrong("not a kind of address")),
    };
    Ok((host, u16::from_be_bytes(read(client).await?)))
}

async fn read<const N: usize>(client: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn dial(dialler: &Dialler, request: &[u8]) -> (TcpStream, u8) {
        let mut client = TcpStream::connect(dialler.address()).await.unwrap();
        client.write_all(&[VERSION, 1, NO_AUTHENTICATION]).await.unwrap();
        assert_eq!(read(&mut client).await.unwrap(), [VERSION, NO_AUTHENTICATION]);
        client.write_all(request).await.unwrap();
        let [_, reply, ..]: [u8; 10] = read(&mut client).await.unwrap();
        (client, reply)
    }

    #[tokio::test]
    async fn permitted_addresses_are_reached() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let [high, low] = server.local_addr().unwrap().port().to_be_bytes();
        let dialler = Dialler::start(Egress::parse("127.0.0.1").unwrap()).await.unwrap();
        let name = [&[VERSION, CONNECT, 0, 3, 9][..], b"127.0.0.1", &[high, low]].concat();
        for request in [&[VERSION, CONNECT, 0, 1, 127, 0, 0, 1, high, low][..], &name] {
            let (mut client, reply) = dial(&dialler, request).await;
            assert_eq!(reply, SUCCEEDED);
            let (mut other, _) = server.accept().await.unwrap();
            client.write_all(b"there").await.unwrap();
            assert_eq!(&read::<5>(&mut other).await.unwrap(), b"there");
            other.write_all(b"back").await.unwrap();
            assert_eq!(&read::<4>(&mut client).await.unwrap(), b"back");
        }
        assert_eq!(dialler.last_failure(), None);
    }

    #[tokio::test]
    async fn other_addresses_are_not_dialled() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let [high, low] = server.local_addr().unwrap().port().to_be_bytes();
        let dialler = Dialler::start(Egress::public()).await.unwrap();
        let request = [&[VERSION, CONNECT, 0, 3, 9][..], b"localhost", &[high, low]].concat();
        let (_, reply) = dial(&dialler, &request).await;
        assert_eq!(reply, NOT_ALLOWED);
        let (may_pass, message) = dialler.last_failure().unwrap();
        assert!(!may_pass && message.starts_with("localhost:"), "{message}");
        dialler.forget_failure();
        assert_eq!(dialler.last_failure(), None);
    }
}
