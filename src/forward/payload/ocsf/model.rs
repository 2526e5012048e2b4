//! The members of OCSF events, by the names of schema.ocsf.io.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// An event of either class. Members that the schema requires are no options, or are set for the class
/// that requires them.
#[derive(Serialize)]
pub struct OcsfEvent<'a> {
    pub activity_id: u8,
    pub activity_name: &'a str,
    pub actor: Actor<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<Api<'a>>,
    pub category_uid: u8,
    pub class_uid: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity: Option<Thing<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_request: Option<HttpRequest<'a>>,
    pub metadata: Metadata<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Thing<'a>>,
    pub severity_id: u8,
    pub src_endpoint: Endpoint<'a>,
    pub time: i64,
    pub type_uid: u32,
    pub unmapped: Unmapped<'a>,
}

/// Who did it.
#[derive(Serialize)]
pub struct Actor<'a> {
    pub user: User<'a>,
}

/// The actor, as a user.
#[derive(Serialize)]
pub struct User<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a RawValue>,
    pub r#type: &'a RawValue,
    pub type_id: u8,
    pub uid: &'a RawValue,
}

/// What was called.
#[derive(Serialize)]
pub struct Api<'a> {
    pub operation: &'a RawValue,
}

/// With what it was called.
#[derive(Serialize)]
pub struct HttpRequest<'a> {
    pub user_agent: &'a RawValue,
}

/// About the event itself.
#[derive(Serialize)]
pub struct Metadata<'a> {
    pub event_code: &'a RawValue,
    pub log_name: &'static str,
    pub logged_time: i64,
    pub original_time: String,
    pub product: Product,
    pub sequence: u64,
    pub tenant_uid: &'a RawValue,
    pub uid: &'a RawValue,
    pub version: &'static str,
}

/// What logged the event.
#[derive(Serialize)]
pub struct Product {
    pub name: &'static str,
    pub vendor_name: &'static str,
    pub version: &'static str,
}

/// The endpoint's address; its name where the location is no address.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint<'a> {
    Ip(&'a RawValue),
    Name(&'a RawValue),
}

/// A target, as a managed entity or a resource.
#[derive(Serialize)]
pub struct Thing<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a RawValue>,
    pub r#type: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub type_id: Option<u8>,
    pub uid: &'a RawValue,
}

/// What the schema has no place for.
#[derive(Serialize)]
pub struct Unmapped<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor_metadata: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target<'a>>,
    pub version: &'a RawValue,
}

/// A target in the canonical form.
#[derive(Serialize, Deserialize)]
pub struct Target<'a> {
    #[serde(borrow)]
    pub id: &'a RawValue,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<&'a RawValue>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a RawValue>,
    #[serde(borrow)]
    pub r#type: &'a RawValue,
}
