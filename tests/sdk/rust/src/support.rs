//! What the story needs beside the SDK: its data, how a check is told, and the CSV.

use std::{
    collections::BTreeMap,
    env,
    fmt::Debug,
    fs,
    sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Map, Value, json};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

const COLUMNS: [&str; 15] = [
    "id",
    "organization_id",
    "action",
    "version",
    "occurred_at",
    "received_at",
    "actor_id",
    "actor_type",
    "actor_name",
    "actor_metadata",
    "targets",
    "context_location",
    "context_user_agent",
    "metadata",
    "sequence",
];

pub type Row = BTreeMap<String, String>;

/// `story.json`.
pub static STORY: LazyLock<Value> = LazyLock::new(|| {
    let text = fs::read_to_string(setting("AUDIT_LOGS_SUITE") + "/story.json").unwrap();
    serde_json::from_str(&text).unwrap()
});

static STARTED: LazyLock<OffsetDateTime> = LazyLock::new(OffsetDateTime::now_utc);
static FAILED: AtomicBool = AtomicBool::new(false);

pub fn setting(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

pub fn any_failed() -> bool {
    FAILED.load(Ordering::Relaxed)
}

/// Tells whether `actual` is what was expected, as a line of TAP.
pub fn check<A: PartialEq<E> + Debug, E: Debug>(name: &str, actual: A, expected: E) {
    LazyLock::force(&STARTED);
    if actual == expected {
        println!("ok - {name}");
    } else {
        FAILED.store(true, Ordering::Relaxed);
        println!("not ok - {name}: got {actual:?}, expected {expected:?}");
    }
}

/// The error that the API must have answered with.
pub fn refused<T: Debug>(
    name: &str,
    status: u16,
    answer: Result<T, workos::Error>,
) -> Option<workos::ApiError> {
    let error = match answer {
        Err(workos::Error::Api(error)) => *error,
        other => {
            check(name, format!("{other:?}"), format!("API error {status}"));
            return None;
        }
    };
    check(name, error.status, status);
    check(&format!("{name}: request id"), error.request_id.as_deref().is_some_and(is_uuid), true);
    Some(error)
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<_> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

/// The events that must be refused, as far as the SDK can express them.
pub fn refusals() -> impl Iterator<Item = (&'static Value, Value)> {
    let able = |refusal: &&Value| matches!(refusal["needs"].as_str(), None | Some("time as text"));
    STORY["refusals"].as_array().unwrap().iter().filter(able).map(|refusal| {
        let mut event = STORY["events"][0].clone();
        for (name, value) in refusal["change"].as_object().unwrap() {
            event[name] = value.clone();
        }
        (refusal, event)
    })
}

/// Whether an entry of `errors` points at what is wrong with the refused event.
pub fn names_what_is_wrong(refusal: &Value, body: &[u8]) -> bool {
    let body: Value = serde_json::from_slice(body).unwrap();
    let fits = |entry: &Value| match refusal["instance_path"].as_str() {
        Some(path) => entry["instancePath"] == path,
        None => {
            let field = entry["field"].as_str().unwrap_or_default();
            let code = &refusal["code"];
            field.starts_with(refusal["field"].as_str().unwrap())
                && (code.is_null() || entry["code"] == *code)
        }
    };
    body["errors"].as_array().is_some_and(|errors| errors.iter().any(fits))
}

/// The rows of a CSV that is fetched by its link alone.
pub async fn download(url: &str) -> Vec<Row> {
    let response = reqwest::get(url).await.unwrap().error_for_status().unwrap();
    let body = response.bytes().await.unwrap();
    let mut reader = csv::Reader::from_reader(&*body);
    check("the columns", reader.headers().unwrap(), COLUMNS.as_slice());
    reader.deserialize().map(Result::unwrap).collect()
}

/// Compares every cell with what was sent.
pub fn check_rows(name: &str, rows: &[Row], organization: &str, indices: &[usize]) {
    check(&format!("{name}: rows"), rows.len(), indices.len());
    for (row, &index) in rows.iter().zip(indices) {
        let expected = expected(&STORY["events"][index], organization);
        check(&format!("{name}: event {index}"), told_apart(row), expected);
    }
}

fn expected(event: &Value, organization: &str) -> Value {
    let (actor, context) = (&event["actor"], &event["context"]);
    numbers_alike(&json!({
        "id": true,
        "organization_id": organization,
        "action": event["action"],
        "version": event["version"].as_u64().unwrap_or(1).to_string(),
        "occurred_at": instant(event["occurred_at"].as_str().unwrap()).unix_timestamp_nanos() as f64,
        "received_at": true,
        "actor_id": actor["id"],
        "actor_type": actor["type"],
        "actor_name": guarded(actor["name"].as_str().unwrap_or_default()),
        "actor_metadata": actor["metadata"],
        "targets": event["targets"],
        "context_location": guarded(context["location"].as_str().unwrap()),
        "context_user_agent": context["user_agent"].as_str().unwrap_or_default(),
        "metadata": event["metadata"],
        "sequence": true,
    }))
}

/// The cells with JSON parsed, and what only the server knows held against its form.
fn told_apart(row: &Row) -> Value {
    let cells = row.iter().map(|(name, cell)| {
        let value = match &**name {
            "id" => json!(cell.strip_prefix("audit_event_").is_some_and(|ulid| ulid.len() == 26)),
            "sequence" => json!(cell.parse::<u64>().is_ok()),
            "occurred_at" => json!(instant(cell).unix_timestamp_nanos() as f64),
            "received_at" => json!(is_recent(instant(cell))),
            "actor_metadata" | "targets" | "metadata" if cell.is_empty() => Value::Null,
            "actor_metadata" | "targets" | "metadata" => serde_json::from_str(cell).unwrap(),
            _ => json!(cell),
        };
        (name.clone(), value)
    });
    numbers_alike(&Value::Object(cells.collect()))
}

/// 12 and 12.0 are one number in JSON, but not to `serde_json`.
fn numbers_alike(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(numbers_alike).collect(),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), numbers_alike(value)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

fn is_recent(received: OffsetDateTime) -> bool {
    let slack = Duration::seconds(5);
    *STARTED - slack <= received && received <= OffsetDateTime::now_utc() + slack
}

/// The server puts `'` before what a spreadsheet would take for a formula.
fn guarded(text: &str) -> String {
    let quote = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("{quote}{text}")
}

fn instant(text: &str) -> OffsetDateTime {
    OffsetDateTime::parse(text, &Rfc3339).unwrap()
}
