//! Standard output that may be a pager nobody scrolls, or a pipe that closes.

use std::io::{self, ErrorKind, Write};

use anyhow::{Context, Result};
use tokio::sync::{mpsc, oneshot};

/// Texts that wait for the thread.
const WAITING: usize = 4;

/// Writes on a thread of its own: when the reader does not read, the command still hears Ctrl-C, and the
/// server is told by the flow control to wait.
pub struct Output {
    texts: mpsc::Sender<String>,
    ended: oneshot::Receiver<io::Result<()>>,
}

impl Output {
    /// To standard output.
    pub fn standard() -> Self {
        let (texts, mut received) = mpsc::channel::<String>(WAITING);
        let (end, ended) = oneshot::channel();
        std::thread::spawn(move || {
            let mut write = || {
                while let Some(text) = received.blocking_recv() {
                    let mut output = io::stdout().lock();
                    output.write_all(text.as_bytes())?;
                    output.flush()?;
                }
                Ok(())
            };
            let result = write();
            // Fails when the command has ended before.
            let _ = end.send(result);
        });
        Self { texts, ended }
    }

    /// Writes a text. False if nobody reads any more.
    pub async fn write(&mut self, text: String) -> bool {
        self.texts.send(text).await.is_ok()
    }

    /// Waits until everything is written. That the reader went away is no error.
    pub async fn finish(self) -> Result<()> {
        drop(self.texts);
        match self.ended.await {
            Ok(Err(error)) if error.kind() != ErrorKind::BrokenPipe => {
                Err(error).context("cannot write to standard output")
            }
            _ => Ok(()),
        }
    }
}
