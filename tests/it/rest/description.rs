//! That `/openapi.json` describes what is served, and that what is served is as it describes.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::calls::{Answer, Rest, openapi};
use crate::support::{Engine, TestServer, on_every_engine};

on_every_engine!(
    the_description_is_served_without_a_key,
    every_described_operation_is_served,
    no_other_method_is_served_on_a_described_path,
    rest_twins_of_rpcs_are_described_or_known_to_be_missing,
);

/// The operations of the description: path, method.
fn operations() -> Vec<(&'static str, String)> {
    let paths = openapi()["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().keys();
        methods.map(move |method| (path.as_str(), method.to_uppercase()))
    });
    operations.collect()
}

/// Whether a concrete path is one of the described form.
fn is_of(template: &str, path: &str) -> bool {
    let path = path.split('?').next().unwrap();
    let (template, path): (Vec<_>, Vec<_>) =
        (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(&path).all(|(template, part)| {
            template == part
                || of_variable(template)
                    .is_some_and(|end| part.len() > end.len() && part.ends_with(end))
        })
}

/// What follows the variable in a part such as `{id}` or `{id}:pause`.
fn of_variable(template: &str) -> Option<&str> {
    template.strip_prefix('{')?.split_once('}').map(|(_, end)| end)
}

/// What any operation may answer, as the description of the default response lists it.
const COMMON: [u16; 8] = [400, 401, 403, 408, 413, 429, 503, 504];

/// Holds an answer against the description of its operation, strictly.
pub fn check(method: &Method, path: &str, answer: &Answer) {
    let paths = openapi()["paths"].as_object().unwrap();
    // A literal path wins over one with a variable, and `{id}:pause` over `{id}`.
    let described = paths.iter().filter(|(template, _)| is_of(template, path));
    let described = described.min_by_key(|(template, _)| {
        (template.matches('{').count(), std::cmp::Reverse(template.len()))
    });
    let operation = described.and_then(|(_, methods)| methods.get(method.as_str().to_lowercase()));
    let responses = operation.map(|operation| &operation["responses"]);
    let status = answer.status.to_string();
    let common = || COMMON.contains(&answer.status).then_some("default");
    let described = |all: &'static Value| all.get(&status).or_else(|| all.get(common()?));
    let response = responses.and_then(described);
    assert_eq!(
        response.is_some(),
        operation.is_some(),
        "{method} {path}: {status} is not described"
    );
    let error = json!({"$ref": "#/components/schemas/ErrorBody"});
    let schema = match response {
        Some(response) => &response["content"]["application/json"]["schema"],
        // What is no operation is told in the same form.
        None => &error,
    };
    assert!(answer.status >= 400 || operation.is_some(), "{method} {path} is not described");
    let root = json!({"allOf": [schema], "components": strict(&openapi()["components"])});
    let validator = jsonschema::validator_for(&root).unwrap();
    let wrong: Vec<_> = validator.iter_errors(&answer.body).map(|e| e.to_string()).collect();
    assert!(wrong.is_empty(), "{method} {path} {}: {wrong:?} in {}", answer.status, answer.body);
}

/// The same schemas, where an object has no members but those that are described, and a time has the
/// one form that every SDK reads.
fn strict(schemas: &Value) -> Value {
    match schemas {
        Value::Object(members) => {
            let mut strict: Map<_, _> =
                members.iter().map(|(key, value)| (key.clone(), self::strict(value))).collect();
            if members.get("type") == Some(&json!("object")) && members.contains_key("properties") {
                strict.insert("additionalProperties".to_owned(), false.into());
            }
            if members.get("format") == Some(&json!("date-time")) {
                let form = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$";
                strict.insert("pattern".to_owned(), form.into());
            }
            Value::Object(strict)
        }
        Value::Array(items) => Value::Array(items.iter().map(strict).collect()),
        other => other.clone(),
    }
}

async fn the_description_is_served_without_a_key(engine: Engine) {
    let server = TestServer::start(engine).await;
    let answer = reqwest::get(format!("{}/openapi.json", server.url)).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json; charset=utf-8");
    let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(&body, openapi());
    assert_eq!(body["openapi"], "3.1.0");
    assert_eq!(body["components"]["securitySchemes"]["api_key"]["scheme"], "bearer");
    // Every member has a description: clients are generated from this.
    for (name, schema) in body["components"]["schemas"].as_object().unwrap() {
        for (member, about) in schema["properties"].as_object().into_iter().flatten() {
            let described = about.get("description").is_some() || about.get("$ref").is_some();
            assert!(described || about.get("oneOf").is_some(), "{name}.{member}");
        }
    }
}

fn concrete(template: &str) -> String {
    let parts = template.split('/').map(|part| {
        match part.strip_prefix('{').and_then(|p| p.split_once('}')) {
            Some((_, action)) => format!("nothing{action}"),
            None => part.to_owned(),
        }
    });
    parts.collect::<Vec<_>>().join("/")
}

async fn every_described_operation_is_served(engine: Engine) {
    let server = TestServer::start(engine).await;
    let anonymous = Rest::with_key(&server, None);
    assert_eq!(operations().len(), 30);
    for (template, method) in operations() {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        // The key is asked for before anything else.
        let answer = anonymous.call(method.clone(), &concrete(template), None, &[]).await;
        assert_eq!(answer.refusal(), (401, "unauthorized"), "{method} {template}");
        assert_eq!(answer.body["message"], "Unauthorized");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
}

async fn no_other_method_is_served_on_a_described_path(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = Rest::new(&server);
    let described = operations();
    let templates = openapi()["paths"].as_object().unwrap().keys();
    // With another method a name with a colon is that of a log stream that nobody has.
    for template in templates.filter(|template| !template.contains("}:")) {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            if described.contains(&(template, method.to_owned())) {
                continue;
            }
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = rest.call(method.clone(), &concrete(template), None, &[]).await;
            assert_eq!(answer.refusal(), (405, "method_not_allowed"), "{method} {template}");
            assert!(answer.headers.contains_key("allow"));
        }
    }
}

/// RPCs whose HTTP twin is not served: their annotation says where it would be.
const WITHOUT_TWIN: [&str; 3] = ["/v1/api_keys", "/v1/exports", "/v1/organizations/"];

async fn rest_twins_of_rpcs_are_described_or_known_to_be_missing(_: Engine) {
    let pool = prost_reflect::DescriptorPool::decode(audit_logs::proto::DESCRIPTORS).unwrap();
    let http = pool.get_extension_by_name("google.api.http").unwrap();
    let described = operations();
    let mut twins = 0;
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let options = method.options();
        if !options.has_extension(&http) {
            continue;
        }
        let rule = options.get_extension(&http).as_message().unwrap().clone();
        for verb in ["get", "put", "post", "delete"] {
            let path = rule.get_field_by_name(verb).unwrap().as_str().unwrap().to_owned();
            if path.is_empty() || WITHOUT_TWIN.iter().any(|prefix| path.starts_with(prefix)) {
                continue;
            }
            let served = described.iter().any(|(template, described)| {
                *described == verb.to_uppercase() && concrete(template) == concrete(&path)
            });
            assert!(served, "{} has no twin: {verb} {path}", method.full_name());
            twins += 1;
        }
    }
    assert_eq!(twins, described.len());
}
