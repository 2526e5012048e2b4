//! Limits of calls, through real clients: what is refused, how that is told, and that others go on.

mod calls;
mod contract;
mod rates;
mod sizes;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::TestServer;

/// Sends a request over HTTP/1.1 by hand and reads what comes until the connection is closed or the answer
/// has begun.
async fn raw(server: &TestServer, request: &str) -> (String, TcpStream) {
    let address = server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    let read = stream.read(&mut start).await.unwrap();
    (String::from_utf8_lossy(&start[..read]).into_owned(), stream)
}

fn http_client() -> reqwest::Client {
    reqwest::Client::builder().build().unwrap()
}
