//! Splunk's HTTP Event Collector, by help.splunk.com: "Format events for HTTP Event Collector", "About
//! HTTP Event Collector Indexer Acknowledgment", and the table of its answers.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{Protocol, Received, Reply};

/// What Splunk Cloud takes in a request.
const LARGEST: usize = 1_000_000;

/// The collector, with one token.
pub struct Splunk {
    token: String,
    index: Option<String>,
    polls_until_indexed: Option<usize>,
    /// Acknowledgements with the channel, and how many polls are left until it is indexed.
    acknowledgements: HashMap<u64, (String, usize)>,
    next: u64,
}

impl Splunk {
    /// With that token.
    pub fn new(token: &str) -> Self {
        let (index, polls_until_indexed) = (None, None);
        let (acknowledgements, next) = (HashMap::new(), 0);
        Self { token: token.to_owned(), index, polls_until_indexed, acknowledgements, next }
    }

    /// The token may write to this index only.
    pub fn with_index(mut self, index: &str) -> Self {
        self.index = Some(index.to_owned());
        self
    }

    /// The token has indexer acknowledgement; events are indexed after so many polls.
    pub fn with_acknowledgement(mut self, polls: usize) -> Self {
        self.polls_until_indexed = Some(polls);
        self
    }

    /// Changes the token.
    pub fn set_token(&mut self, token: &str) {
        token.clone_into(&mut self.token);
    }

    fn authorize(&self, request: &Received) -> Option<Reply> {
        match request.header("authorization").split_once(' ') {
            None if request.header("authorization").is_empty() => {
                Some(said(401, 2, "Token is required"))
            }
            Some(("Splunk", token)) if token == self.token => None,
            Some(("Splunk", _)) => Some(said(403, 4, "Invalid token")),
            _ => Some(said(401, 3, "Invalid authorization")),
        }
    }

    /// The channel, where the token has acknowledgement.
    fn channel(&self, request: &Received) -> Result<String, Reply> {
        let in_query = request.query.strip_prefix("channel=");
        let channel = in_query.unwrap_or_else(|| request.header("x-splunk-request-channel"));
        if self.polls_until_indexed.is_none() {
            return Ok(String::new());
        }
        if channel.is_empty() {
            return Err(said(400, 10, "Data channel is missing"));
        }
        if uuid::Uuid::parse_str(channel).is_err() {
            return Err(said(400, 11, "Invalid data channel"));
        }
        Ok(channel.to_owned())
    }

    fn events(&mut self, request: &Received) -> Result<Reply, Reply> {
        let channel = self.channel(request)?;
        let body = request.decoded().ok_or_else(|| said(400, 6, "Invalid data format"))?;
        if body.len() > LARGEST {
            return Err(said(413, 27, "Request entity too large"));
        }
        let (entries, is_array) = parsed(&body)?;
        if entries.is_empty() {
            return Err(said(400, 5, "No data"));
        }
        let mut events = Vec::new();
        for (number, mut entry) in entries.into_iter().enumerate() {
            if let Some((code, text)) = self.wrong(&entry, is_array) {
                return Err(said_of(code, text, number));
            }
            events.push(entry["event"].take());
        }
        let mut reply = said(200, 0, "Success");
        if let Some(polls) = self.polls_until_indexed {
            let id = self.next;
            self.next += 1;
            self.acknowledgements.insert(id, (channel, polls));
            reply.body = json!({"text": "Success", "code": 0, "ackId": id}).to_string();
        }
        reply.events = events;
        Ok(reply)
    }

    fn wrong(&self, entry: &Value, is_array: bool) -> Option<(u32, &'static str)> {
        if !entry.is_object() {
            return Some((6, "Invalid data format"));
        }
        if entry["event"].is_null() {
            return Some((12, "Event field is required"));
        }
        if entry["event"] == "" {
            return Some((13, "Event field cannot be blank"));
        }
        // Seconds where objects follow each other; WorkOS sends milliseconds in arrays.
        let seconds = entry["time"].as_f64().unwrap_or(-1.0) / if is_array { 1e3 } else { 1.0 };
        if !(0.0..5e9).contains(&seconds) {
            return Some((6, "Invalid data format"));
        }
        let allowed = entry["index"].is_null() || entry["index"].as_str() == self.index.as_deref();
        (!allowed).then_some((7, "Incorrect index"))
    }

    fn acknowledged(&mut self, request: &Received) -> Result<Reply, Reply> {
        if self.polls_until_indexed.is_none() {
            return Err(said(400, 14, "ACK is disabled"));
        }
        let channel = self.channel(request)?;
        let body: Value = serde_json::from_slice(&request.body)
            .map_err(|_| said(400, 6, "Invalid data format"))?;
        let mut acks = serde_json::Map::new();
        for id in body["acks"].as_array().into_iter().flatten() {
            let id = id.as_u64().unwrap();
            let indexed = match self.acknowledgements.get_mut(&id) {
                Some((its, left)) if *its == channel => {
                    *left = left.saturating_sub(1);
                    *left == 0
                }
                _ => false,
            };
            // It is told once.
            if indexed {
                self.acknowledgements.remove(&id);
            }
            acks.insert(id.to_string(), indexed.into());
        }
        Ok(Reply::new(200, json!({"acks": acks}).to_string()))
    }
}

/// The entries of a body, and whether they are an array.
fn parsed(body: &[u8]) -> Result<(Vec<Value>, bool), Reply> {
    let mut entries = Vec::new();
    for entry in serde_json::Deserializer::from_slice(body).into_iter::<Value>() {
        let number = entries.len();
        entries.push(entry.map_err(|_| said_of(6, "Invalid data format", number))?);
    }
    match entries.as_mut_slice() {
        [Value::Array(inner)] => Ok((std::mem::take(inner), true)),
        _ => Ok((entries, false)),
    }
}

fn said(status: u16, code: u32, text: &str) -> Reply {
    Reply::new(status, json!({"text": text, "code": code}).to_string())
}

fn said_of(code: u32, text: &str, number: usize) -> Reply {
    let body = json!({"text": text, "code": code, "invalid-event-number": number});
    Reply::new(400, body.to_string())
}

impl Protocol for Splunk {
    fn receive(&mut self, request: &Received) -> Reply {
        if let Some(reply) = self.authorize(request) {
            return reply;
        }
        let reply = match (&*request.method, &*request.path) {
            ("POST", "/services/collector/event" | "/services/collector") => self.events(request),
            ("POST", "/services/collector/ack") => self.acknowledged(request),
            _ => Err(said(404, 404, "The requested URL was not found on this server.")),
        };
        reply.unwrap_or_else(|refusal| refusal)
    }

    fn delivers(&self, request: &Received) -> bool {
        request.path != "/services/collector/ack"
    }
}
