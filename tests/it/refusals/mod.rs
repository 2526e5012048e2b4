//! Every field of every request, wrong in every way: a table per request. Each row names the code,
//! the reason and the field; after each table nothing was stored.

mod actions;
mod api_keys;
mod batches;
mod events;
mod exports;
mod filters;
mod lists;
mod metadata;
mod organization_details;
mod organizations;
mod wire;

pub use self::actions::object;

use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

use crate::support::{Refusal, TestServer};

/// A row of a table: what is wrong, how to make a right request wrong in that way, and what is
/// then expected.
type Row<R> = (&'static str, fn(&mut R), Expected);

/// How a request is refused.
struct Expected {
    code: Code,
    /// `ErrorInfo.reason`.
    reason: &'static str,
    /// The field of the one violation, or of the name under which nothing was found.
    field: String,
    /// The reason of the violation.
    violation: Option<&'static str>,
}

/// A field breaks the general limits.
fn invalid(field: impl Into<String>, violation: &'static str) -> Expected {
    let reason = "INVALID_REQUEST";
    let (code, field, violation) = (Code::InvalidArgument, field.into(), Some(violation));
    Expected { code, reason, field, violation }
}

/// An event does not fit its action.
fn unfit(field: &str, violation: &'static str) -> Expected {
    Expected { reason: "INVALID_AUDIT_LOG_EVENT", ..invalid(field, violation) }
}

/// What the field names does not exist.
fn unknown(field: &str, reason: &'static str) -> Expected {
    Expected { code: Code::NotFound, reason, field: field.to_owned(), violation: None }
}

impl Expected {
    /// How the status differs from what is expected.
    fn difference(&self, status: &Status) -> Option<String> {
        let mut refusal = Refusal::of(status);
        // The same field may be told to be wrong in two ways.
        refusal.fields.dedup();
        let field = |violation: &str| (self.field.clone(), violation.to_owned());
        let fields: Vec<_> = self.violation.map(field).into_iter().collect();
        let expected = Refusal { code: self.code, reason: self.reason.to_owned(), fields };
        if refusal != expected {
            return Some(format!("{refusal:?} instead of {expected:?}"));
        }
        if self.code != Code::NotFound {
            return None;
        }
        let details = status.get_error_details();
        let named = details.error_info().and_then(|info| info.metadata.get("field"));
        if named != Some(&self.field) {
            return Some(format!("the field is {named:?} instead of {:?}", self.field));
        }
        let resource = details.resource_info();
        let complete = resource.is_some_and(|r| {
            !(r.resource_type.is_empty() || r.resource_name.is_empty() || r.description.is_empty())
        });
        (!complete).then(|| format!("ResourceInfo is {resource:?}"))
    }
}

/// The request with one change.
fn changed<R: Clone>(request: &R, change: impl FnOnce(&mut R)) -> R {
    let mut request = request.clone();
    change(&mut request);
    request
}

/// Sends each row; fails with all that went otherwise. Afterwards nothing is stored, and the right
/// request is accepted: each row was refused for its change alone.
async fn refuses<R: Clone, A>(
    server: &TestServer,
    right: R,
    rows: impl IntoIterator<Item = Row<R>>,
    call: impl AsyncFn(R) -> Result<Response<A>, Status>,
) {
    let before = stored(server).await;
    let mut wrong = Vec::new();
    for (what, change, expected) in rows {
        match call(changed(&right, change)).await {
            Ok(_) => wrong.push(format!("{what}: accepted")),
            Err(status) => {
                let difference = expected.difference(&status);
                wrong.extend(difference.map(|difference| format!("{what}: {difference}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(stored(server).await, before);
    call(right).await.unwrap();
}

/// How many rows each table has that a request can add to, without those of system logs.
pub async fn stored(server: &TestServer) -> Vec<i64> {
    const TABLES: [&str; 9] = [
        "environments",
        "api_keys",
        "organizations",
        "log_heads",
        "actions",
        "action_schemas",
        "events",
        "idempotency_keys",
        "exports",
    ];
    let counts: Vec<_> = TABLES
        .iter()
        .enumerate()
        .map(|(place, table)| {
            let tenants = TestServer::of_tenants(table);
            format!("SELECT {place} AS place, COUNT(*) AS size FROM {table} WHERE {tenants}")
        })
        .collect();
    let union = counts.join(" UNION ALL ");
    let sql = format!("SELECT size FROM ({union}) AS counts ORDER BY place");
    server.query_integers(&sql).await
}

/// A text of that many characters.
fn long(chars: usize) -> String {
    "x".repeat(chars)
}

/// A text of that many characters, each of four bytes.
fn wide(chars: usize) -> String {
    "\u{1f980}".repeat(chars)
}

/// The rows for `organization_id`.
macro_rules! organization_id_rows {
    ($request:ty) => {{
        let wrong = || invalid("organization_id", "INVALID_CHARACTERS");
        let rows: [$crate::refusals::Row<$request>; _] = [
            ("no id", |r| r.organization_id.clear(), invalid("organization_id", "REQUIRED")),
            ("129 characters", |r| r.organization_id = long(129), wrong()),
            ("an inner space", |r| r.organization_id = "a b".into(), wrong()),
            ("a line break at the end", |r| r.organization_id = "a\n".into(), wrong()),
            ("a slash", |r| r.organization_id = "a/b".into(), wrong()),
            ("a NUL", |r| r.organization_id = "a\0".into(), wrong()),
            ("_ at the start", |r| r.organization_id = "_a".into(), wrong()),
            ("not ASCII", |r| r.organization_id = "\u{e4}".into(), wrong()),
        ];
        rows
    }};
}

/// The rows for an id that the service made. Unknown ids are told by `$reason`.
macro_rules! made_id_rows {
    ($request:ty, $field:ident, $reason:literal) => {{
        let name = stringify!($field);
        let rows: [$crate::refusals::Row<$request>; _] = [
            ("no id", |r| r.$field.clear(), invalid(name, "REQUIRED")),
            ("an unknown id", |r| r.$field = "nobody".into(), unknown(name, $reason)),
            ("SQL", |r| r.$field = "' OR 1=1 --".into(), unknown(name, $reason)),
            ("a wildcard", |r| r.$field = "%".into(), unknown(name, $reason)),
            ("a NUL", |r| r.$field = "\0".into(), invalid(name, "INVALID_CHARACTERS")),
            ("256 characters", |r| r.$field = long(256), invalid(name, "TOO_LONG")),
        ];
        rows
    }};
}

/// The rows for a text of at most `$most` characters.
macro_rules! text_rows {
    ($request:ty, $path:literal, |$r:ident| $place:expr, $most:literal) => {{
        let wrong = || invalid($path, "INVALID_CHARACTERS");
        let rows: [$crate::refusals::Row<$request>; _] = [
            (
                concat!($path, " too long"),
                |$r| $place = long($most + 1),
                invalid($path, "TOO_LONG"),
            ),
            (
                concat!($path, " too long in wide characters"),
                |$r| $place = wide($most + 1),
                invalid($path, "TOO_LONG"),
            ),
            (concat!($path, " with NUL"), |$r| $place = "a\0b".into(), wrong()),
            (concat!($path, " with a line break"), |$r| $place = "a\nb".into(), wrong()),
            (concat!($path, " with DEL"), |$r| $place = "a\u{7f}b".into(), wrong()),
            (concat!($path, " with a C1 control"), |$r| $place = "a\u{9b}b".into(), wrong()),
        ];
        rows
    }};
}

/// The rows for a text that must be there too.
macro_rules! required_text_rows {
    ($request:ty, $path:literal, |$r:ident| $place:expr, $most:literal) => {{
        let empty: $crate::refusals::Row<$request> =
            (concat!($path, " empty"), |$r| $place.clear(), invalid($path, "REQUIRED"));
        text_rows!($request, $path, |$r| $place, $most).into_iter().chain([empty])
    }};
}
use {made_id_rows, organization_id_rows, required_text_rows, text_rows};
