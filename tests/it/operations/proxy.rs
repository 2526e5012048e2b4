//! A stand-in for the network between the service and its database, which a test can break.

use std::{future::pending, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::watch,
    time::sleep,
};

/// What becomes of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// They work.
    Open,
    /// They are cut, and new ones too.
    Cut,
    /// They stay, but nothing comes through.
    Silent,
    /// The database hears everything, and its answers are lost.
    AnswersLost,
    /// They work, and each answer comes so much later.
    Slow(Duration),
}

/// Forwards a port of its own to the database.
pub struct Proxy {
    /// Where it is, for new connections.
    database: watch::Sender<SocketAddr>,
    /// How often connections were forsaken.
    forsaken: watch::Sender<u32>,
    address: SocketAddr,
    /// Bound, so that the port is ours, but not listening, so that it refuses.
    closed: Option<TcpSocket>,
    line: watch::Sender<Line>,
}

impl Proxy {
    /// In front of the database at that URL; its port is closed. Returns the URL through it too.
    pub async fn closed(database_url: &str) -> (Self, String) {
        let mut url = reqwest::Url::parse(database_url).unwrap();
        let (host, port) = (url.host_str().unwrap().to_owned(), url.port().unwrap_or(5_432));
        let database = tokio::net::lookup_host((host, port)).await.unwrap().next().unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(address.port())).unwrap();
        let (line, forsaken) = (watch::channel(Line::Open).0, watch::channel(0).0);
        let database = watch::channel(database).0;
        (Self { database, forsaken, address, closed: Some(socket), line }, url.into())
    }

    /// The same with the port open.
    pub async fn open(database_url: &str) -> (Self, String) {
        let (mut proxy, url) = Self::closed(database_url).await;
        proxy.set(Line::Open);
        (proxy, url)
    }

    /// Changes what becomes of connections, those that are there and new ones. Opens the port.
    pub fn set(&mut self, line: Line) {
        self.line.send_replace(line);
        let Some(socket) = self.closed.take() else { return };
        let listener = socket.listen(64).unwrap();
        assert_eq!(listener.local_addr().unwrap(), self.address);
        let (database, line) = (self.database.subscribe(), self.line.subscribe());
        let forsaken = self.forsaken.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let database = *database.borrow();
                let connection = connect(client, database, line.clone(), forsaken.clone());
                tokio::spawn(connection);
            }
        });
    }

    /// Leads new connections elsewhere, as a virtual address does that moves.
    pub fn lead_to(&self, database: SocketAddr) {
        self.database.send_replace(database);
    }

    /// Never again lets anything through the connections that are there, nor ends them: as when the
    /// machine at their other end is gone.
    pub fn forsake(&self) {
        self.forsaken.send_modify(|times| *times += 1);
    }

    /// Whether no connection is left.
    pub fn is_idle(&self) -> bool {
        // Each connection has a receiver, and the listener has one.
        self.line.receiver_count() <= 1
    }
}

async fn connect(
    client: TcpStream,
    database: SocketAddr,
    line: watch::Receiver<Line>,
    mut forsaken: watch::Receiver<u32>,
) {
    let mut cut = line.clone();
    // What became of older connections does not matter.
    forsaken.mark_unchanged();
    let forward_both = async {
        let Ok(server) = TcpStream::connect(database).await else { return };
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            () = forward(from_client, to_server, line.clone(), forsaken.clone(), false) => {}
            () = forward(from_server, to_client, line, forsaken, true) => {}
        }
    };
    tokio::select! {
        // Fails when the test is over.
        _ = cut.wait_for(|line| *line == Line::Cut) => {}
        () = forward_both => {}
    }
}

async fn forward(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut line: watch::Receiver<Line>,
    mut forsaken: watch::Receiver<u32>,
    answers: bool,
) {
    let mut buffer = vec![0; 16_384];
    loop {
        let read = tokio::select! {
            // The sockets stay as they are.
            Ok(()) = forsaken.changed() => pending().await,
            read = from.read(&mut buffer) => read,
        };
        let Ok(count @ 1..) = read else { return };
        if line.wait_for(|line| *line != Line::Silent).await.is_err() {
            return;
        }
        let now = *line.borrow();
        match now {
            Line::AnswersLost if answers => continue,
            Line::Slow(delay) if answers => sleep(delay).await,
            _ => {}
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
