//! Syslog over TLS: RFC 5424 messages, counted as RFC 5425 (section 4.3) has it. The connection is
//! kept.
//!
//! ```text
//! <109>1 2026-11-02T08:15:30.250000Z host audit-logs 4711 report.downloaded
//!     [audit@32473 org="org_1" seq="7" id="audit_event_1"] BOM{"id":...}     (in one line)
//! ```
//!
//! **Syslog acknowledges nothing.** A batch counts as delivered when TLS has taken all of it and no
//! alert and no end of the connection came back for as long as the handshake had taken, which is at
//! least one round trip. What a receiver reads and then does not keep is lost without a word, and so
//! is what is on its way when the receiver's machine is cut off. A connection that the receiver
//! closed meanwhile is seen before anything is written into it.
//!
//! Receivers should take messages of 8,192 bytes (RFC 5425, section 4.3.1), but rsyslog takes 8,096
//! unless it is told otherwise (`maxMessageSize`), and cuts off what is longer. So a longer message
//! is never sent: the event is a dead letter.

use std::{fs, io, str, sync::Arc, time::Duration};

use async_trait::async_trait;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Mutex,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    domain::{
        destination::{self, SyslogFormat},
        log_stream::{LogStream, PayloadForm},
        timestamp::Timestamp,
    },
    forward::{
        Answer, BatchLimits, Egress, EncodedEvent, Failure, OutgoingEvent, Sink, egress,
        payload::{self, cef, text},
    },
    tls,
};

const DEFAULT_PORT: u16 = 6514;
/// Facility 13, "log audit", and severity 5, "notice": 13 * 8 + 5 (RFC 5424, section 6.2.1).
const PRIORITY: &str = "<109>1 ";
/// The enterprise number that RFC 5612 keeps for examples: the project has none of its own, and
/// IANA's names (those without `@`) have no place for these values.
const ELEMENT: &str = "audit@32473";
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// Most octets of SYSLOG-MSG: what rsyslog takes without being told.
const MESSAGE_BYTES: usize = 8_096;
/// MSG-LEN and the space behind it.
const COUNT_BYTES: usize = 5;
const BATCH_EVENTS: usize = 1_000;
const BATCH_BYTES: usize = 1024 * 1024;
/// Longest MSGID (RFC 5424, section 6).
const MESSAGE_ID_CHARS: usize = 32;
const HOST_NAME_CHARS: usize = 255;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is listened to before it is written to: enough for the runtime to look what
/// came in.
const GLANCE: Duration = Duration::from_millis(1);
/// Shortest and longest time in which a receiver may object to what it was sent.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

/// A syslog server.
pub struct SyslogSink {
    host: String,
    port: u16,
    server_name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    egress: Egress,
    form: Form,
    /// ` HOSTNAME APP-NAME PROCID `.
    origin: String,
    connection: Mutex<Option<Connection>>,
}

enum Form {
    Json(PayloadForm),
    Cef,
}

struct Connection {
    stream: TlsStream<TcpStream>,
    /// How long the handshake took.
    handshake: Duration,
}

impl SyslogSink {
    /// For a stream. An error is why the configuration cannot be used.
    pub fn new(
        stream: &LogStream,
        config: &destination::Syslog,
        egress: &Egress,
    ) -> Result<Self, String> {
        let host = egress::bare(&config.host);
        let server_name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host:?} is not the name of a host"))?;
        let app_name =
            if config.app_name.is_empty() { "audit-logs" } else { config.app_name.as_str() };
        let process = std::process::id();
        Ok(Self {
            host: host.to_owned(),
            port: if config.port == 0 { DEFAULT_PORT } else { config.port },
            server_name,
            tls: Arc::new(tls::client_config(&stream.ca_certificates_pem)?),
            egress: egress.clone(),
            form: match config.format {
                SyslogFormat::Json => Form::Json(stream.payload),
                SyslogFormat::Cef => Form::Cef,
            },
            origin: format!(" {} {app_name} {process} ", host_name()),
            connection: Mutex::new(None),
        })
    }

    fn message(&self, event: &OutgoingEvent<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        out.extend_from_slice(PRIORITY.as_bytes());
        out.extend_from_slice(event.occurred_at.to_string().as_bytes());
        out.extend_from_slice(self.origin.as_bytes());
        let action = event.event.action.plain().filter(|action| is_message_id(action));
        out.extend_from_slice(action.unwrap_or(b"-"));
        let organization = text(event.event.organization_id)?;
        let id = text(event.event.id)?;
        out.extend_from_slice(format!(" [{ELEMENT} org=\"").as_bytes());
        parameter(&organization, out);
        out.extend_from_slice(format!("\" seq=\"{}\" id=\"", event.sequence).as_bytes());
        parameter(&id, out);
        out.extend_from_slice(b"\"] ");
        out.extend_from_slice(BYTE_ORDER_MARK);
        match self.form {
            Form::Json(form) => payload::write_event(form, event, out),
            Form::Cef => cef::write_event(event, out),
        }
    }

    async fn deliver(&self, batch: &[EncodedEvent]) -> io::Result<()> {
        // Whatever goes wrong from here on, also if this is dropped half-way: the connection is not
        // there any more, and the next batch makes a new one.
        let mut slot = self.connection.lock().await;
        let kept = match slot.take() {
            Some(mut kept) => kept.is_quiet(GLANCE).await.is_ok().then_some(kept),
            None => None,
        };
        let mut connection = match kept {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        let bytes = batch.iter().map(|event| event.bytes.as_slice()).collect::<Vec<_>>().concat();
        connection.stream.write_all(&bytes).await?;
        connection.stream.flush().await?;
        let patience = connection.handshake.clamp(PATIENCE.0, PATIENCE.1);
        connection.is_quiet(patience).await?;
        *slot = Some(connection);
        Ok(())
    }

    async fn connect(&self) -> io::Result<Connection> {
        let socket = self.egress.connect(&self.host, self.port, CONNECT_TIMEOUT).await?;
        let start = Instant::now();
        let connector = TlsConnector::from(self.tls.clone());
        let stream = timeout(CONNECT_TIMEOUT, connector.connect(self.server_name.clone(), socket));
        Ok(Connection { stream: stream.await??, handshake: start.elapsed() })
    }
}

impl Connection {
    /// Listens for a while. A receiver has nothing to say; that it ended the connection, or why it
    /// did, is an error.
    async fn is_quiet(&mut self, wait: Duration) -> io::Result<()> {
        let listen = async {
            let mut ignored = [0; 256];
            while self.stream.read(&mut ignored).await? > 0 {}
            Err(io::Error::new(io::ErrorKind::ConnectionAborted, "it closed the connection"))
        };
        timeout(wait, listen).await.unwrap_or(Ok(()))
    }
}

#[async_trait]
impl Sink for SyslogSink {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events: BATCH_EVENTS,
            bytes: BATCH_BYTES,
            event_bytes: COUNT_BYTES + MESSAGE_BYTES,
            overhead: 0,
            // A batch costs no more than its bytes; meanwhile the next one gathers.
            linger: Duration::ZERO,
        }
    }

    fn encode(
        &self,
        event: &OutgoingEvent<'_>,
        _now: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let mut message = Vec::with_capacity(1_024);
        self.message(event, &mut message)?;
        if message.len() > MESSAGE_BYTES {
            return Err(format!(
                "the message has {} bytes; syslog receivers cut off what is beyond {MESSAGE_BYTES}",
                message.len()
            ));
        }
        out.extend_from_slice(format!("{} ", message.len()).as_bytes());
        out.extend_from_slice(&message);
        Ok(())
    }

    async fn send(&self, batch: &[EncodedEvent], _now: Timestamp) -> Result<Answer, Failure> {
        let sent = timeout(self.egress.request_timeout(), self.deliver(batch)).await;
        match sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(()) => Ok(Answer::new("sent; syslog acknowledges nothing", None)),
            Err(error) => {
                let message = format!("{}:{}: {error}", self.host, self.port);
                if error.kind() == io::ErrorKind::PermissionDenied {
                    return Err(Failure::invalid(message));
                }
                Err(Failure::temporary(message))
            }
        }
    }
}

/// Appends PARAM-VALUE: a quote, a backslash and a closing bracket are escaped (RFC 5424, section
/// 6.3.3).
fn parameter(value: &str, out: &mut Vec<u8>) {
    for byte in value.bytes() {
        if matches!(byte, b'"' | b'\\' | b']') {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

fn is_message_id(text: &[u8]) -> bool {
    (1..=MESSAGE_ID_CHARS).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic)
}

/// HOSTNAME; `-`, its NILVALUE, if the system does not tell.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let is_valid = (1..=HOST_NAME_CHARS).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic());
    if is_valid { name.to_owned() } else { "-".to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::forward::payload::fixture::{canonical, example, outgoing};

    fn syslog(format: SyslogFormat) -> SyslogSink {
        let config = destination::Syslog { format, ..Default::default() };
        SyslogSink {
            host: "logs.example.com".to_owned(),
            port: DEFAULT_PORT,
            server_name: ServerName::try_from("logs.example.com").unwrap(),
            tls: Arc::new(tls::client_config("").unwrap()),
            egress: Egress::public(),
            form: match config.format {
                SyslogFormat::Json => Form::Json(PayloadForm::WorkOs),
                SyslogFormat::Cef => Form::Cef,
            },
            origin: " host audit-logs 4711 ".to_owned(),
            connection: Mutex::new(None),
        }
    }

    fn encoded(format: SyslogFormat, event: serde_json::Value) -> Result<String, String> {
        let mut out = b"before".to_vec();
        let now = Timestamp::from_micros(0);
        syslog(format).encode(&outgoing(&canonical(event)), now, &mut out)?;
        Ok(String::from_utf8(out).unwrap().split_off("before".len()))
    }

    #[test]
    fn a_message_is_counted() {
        for format in [SyslogFormat::Json, SyslogFormat::Cef] {
            let mut event = example();
            event["actor"]["name"] = json!("Zoë");
            let frame = encoded(format, event).unwrap();
            let (count, message) = frame.split_once(' ').unwrap();
            assert_eq!(count.parse(), Ok(message.len()));
        }
    }

    #[test]
    fn a_message_says_what_it_is_before_the_event() {
        let frame = encoded(SyslogFormat::Json, example()).unwrap();
        let (_, message) = frame.split_once(' ').unwrap();
        let (head, json) = message.split_once('\u{feff}').unwrap();
        assert_eq!(
            head,
            "<109>1 2026-11-02T08:15:30.250000Z host audit-logs 4711 report.downloaded [audit@32473 \
             org=\"org_01JQ4X7Z6E5M2K9T8V3B1N0CDA\" seq=\"7\" id=\"01JSB3C4D5E6F7G8H9J0K1M2N3\"] "
        );
        assert!(json.starts_with("{\"id\":\"01JSB3C4D5E6F7G8H9J0K1M2N3\",\"action\""), "{json}");
        let cef = encoded(SyslogFormat::Cef, example()).unwrap();
        assert!(cef.contains("\"] \u{feff}CEF:0|audit-logs|"), "{cef}");
    }

    #[test]
    fn an_action_that_is_no_message_id_is_left_out() {
        for action in ["a b", "zoë", "a\tb", &"a".repeat(33)] {
            let mut event = example();
            event["action"] = json!(action);
            let frame = encoded(SyslogFormat::Json, event).unwrap();
            assert!(frame.contains(" 4711 - [audit@32473 "), "{frame}");
        }
    }

    #[test]
    fn parameters_are_escaped() {
        let mut out = Vec::new();
        parameter(r#"a"b\c]d="#, &mut out);
        assert_eq!(out, br#"a\"b\\c\]d="#);
    }

    #[test]
    fn what_a_receiver_would_cut_is_refused() {
        let with = |length: usize| {
            let mut event = example();
            event["actor"]["name"] = json!("n".repeat(length));
            encoded(SyslogFormat::Json, event)
        };
        let shortest = with(1).unwrap().split_once(' ').unwrap().1.len();
        let longest = MESSAGE_BYTES - shortest + 1;
        assert_eq!(with(longest).unwrap().len(), MESSAGE_BYTES + COUNT_BYTES);
        let error = with(longest + 1).unwrap_err();
        assert!(error.starts_with("the message has 8097 bytes"), "{error}");
    }
}
