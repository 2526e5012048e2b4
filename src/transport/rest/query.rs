//! Queries of lists.

use std::convert::Infallible;

use axum::{extract::FromRequestParts, http::request::Parts};
use utoipa::IntoParams;

use super::time::parse_time;
use crate::domain::{
    event_draft::TimeDraft,
    page::{Order, PageDraft},
    violation::{Reason, Violations},
};

/// What every list takes, for its description; [`Query::page`] reads it.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only its description is used")]
pub struct PageParameters {
    /// How many items: 1 to 100; 10 unless given.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `asc`, `desc` (default) or `normal` (as `desc`).
    order: Option<String>,
    /// A cursor from `list_metadata.before`; not together with `after`.
    before: Option<String>,
    /// A cursor from `list_metadata.after`.
    after: Option<String>,
}

/// The parameters of a query. Unknown ones are ignored, empty ones are absent.
pub struct Query(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let pairs = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let pairs = pairs.filter(|(_, value)| !value.is_empty());
        Ok(Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect()))
    }
}

impl Query {
    /// The last value under that name; empty for none.
    pub fn text(&self, name: &str) -> String {
        let found = self.0.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }

    /// The values of a list: `name=a&name=b`, `name[]=a` or `name[0]=a`.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let named =
            |key: &str| key == name || key.starts_with(name) && is_index(&key[name.len()..]);
        self.0.iter().filter(|(key, _)| named(key)).map(|(_, value)| value.clone()).collect()
    }

    /// A time.
    pub fn time(&self, name: &str) -> TimeDraft {
        parse_time(&self.text(name))
    }

    /// A number from 0 up; notes what is none.
    pub fn number(&self, name: &str, violations: &mut Violations) -> Option<u64> {
        let text = self.text(name);
        let number = text.parse().ok();
        if number.is_none() && !text.is_empty() {
            let description = format!("{name} must be an integer from 0 up");
            violations.add(name, Reason::InvalidType, description);
        }
        number
    }

    /// The page that is wanted: `limit`, `order`, `before`, `after`.
    pub fn page(&self) -> PageDraft {
        // Nothing that was sent stands for the default: 0 is out of range, like what is no number.
        let limit = match &*self.text("limit") {
            "" => 0,
            text => text.parse().ok().filter(|limit| *limit != 0).unwrap_or(-1),
        };
        let order = match &*self.text("order") {
            "" | "desc" | "normal" => Some(Order::Descending),
            "asc" => Some(Order::Ascending),
            _ => None,
        };
        PageDraft { limit, order, before: self.text("before"), after: self.text("after") }
    }
}

fn is_index(text: &str) -> bool {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    inner.is_some_and(|index| index.bytes().all(|byte| byte.is_ascii_digit()))
}
