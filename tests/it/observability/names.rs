//! That the dashboard, the alerts and the documentation name what there is, and leave nothing out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use audit_logs::proto::v1::{
    CreateExportRequest, ExportState, GetExportRequest, LogStreamsCreateRequest,
};
use serde_json::Value;

use crate::{
    log_streams::support::{TOKEN, https_receiver, prepare, record, settings, to_https},
    receivers::Fault,
    support::{Engine, TestServer, at, until},
};

/// The page of metrics.
pub async fn page(server: &TestServer) -> String {
    let url = format!("{}/metrics", server.metrics_url.as_ref().unwrap());
    reqwest::get(url).await.unwrap().text().await.unwrap()
}

/// The sum of the series of a name that have these labels; fails if there is none.
pub fn number(page: &str, name: &str, labels: &[(&str, &str)]) -> u64 {
    try_number(page, name, labels).unwrap_or_else(|| panic!("no {name} {labels:?} in {page}"))
}

/// The same; none if there is no such series.
pub fn try_number(page: &str, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
    let is_meant = |series: &&str| {
        let (own, rest) = series.split_once('{').unwrap_or((series, ""));
        own.split(' ').next() == Some(name)
            && labels.iter().all(|(key, value)| rest.contains(&format!("{key}=\"{value}\"")))
    };
    let found: Vec<_> =
        page.lines().filter(|line| !line.starts_with('#')).filter(is_meant).collect();
    let value = |line: &&str| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap();
    (!found.is_empty()).then(|| found.iter().map(value).sum())
}

/// The families of a page with their kinds.
fn families(page: &str) -> BTreeMap<String, String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            (name.to_owned(), kind.to_owned())
        })
        .collect()
}

/// The page of a server on which everything has happened.
async fn full_page() -> String {
    let server = TestServer::start_with(Engine::Sqlite, |all| {
        settings(all);
        all.metrics.listen = Some(([127, 0, 0, 1], 0).into());
    })
    .await;
    prepare(&server).await;
    let receiver = https_receiver().await;
    receiver.misbehave(Fault::Status(500, None), 1);
    let stream = LogStreamsCreateRequest {
        organization_id: "acme".to_owned(),
        destination: Some(to_https(&receiver, TOKEN)),
        ..Default::default()
    };
    server.log_streams().await.create(stream).await.unwrap();
    let mut client = server.client().await;
    record(&mut client, "acme", 3).await;
    let export = CreateExportRequest {
        organization_id: "acme".to_owned(),
        range_start: Some(at("2020-01-01T00:00:00Z")),
        range_end: Some(at("2030-01-01T00:00:00Z")),
        ..Default::default()
    };
    let created = client.create_export(export).await.unwrap().into_inner().export.unwrap();
    let watch = GetExportRequest { export_id: created.id, watch: Some(true) };
    let mut views = client.get_export(watch).await.unwrap().into_inner();
    let mut state = ExportState::Unspecified;
    while let Some(view) = views.message().await.unwrap() {
        state = view.export.unwrap().state();
    }
    assert_eq!(state, ExportState::Ready);
    // A call that is refused, and a request over HTTP.
    reqwest::get(format!("{}/audit_logs/actions", server.url)).await.unwrap();
    until("the stream delivered", async || (receiver.count() >= 3).then_some(())).await;
    until("the sweep is counted", async || {
        let page = page(&server).await;
        let done =
            ["audit_logs_retention_sweep_duration", "audit_logs_log_stream_delivered_events"];
        done.iter().all(|name| page.contains(name)).then_some(())
    })
    .await;
    page(&server).await
}

fn document(name: &str) -> String {
    let path = format!("{}/docs/operations/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).unwrap()
}

/// All texts under a key, wherever it is.
fn texts(value: &Value, key: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == key => found.push(text.clone()),
                    _ => texts(member, key, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, key, found)),
        _ => {}
    }
}

/// The metrics that an expression names: words that are no functions, labels, or texts.
fn metrics_of(expression: &str) -> BTreeSet<String> {
    const PREFIXES: [&str; 6] = ["audit_logs_", "rpc_", "http_", "db_", "process_", "target_"];
    let mut names = BTreeSet::new();
    // What is in braces and after `by` are labels.
    let (mut word, mut in_labels) = (String::new(), false);
    let mut previous = String::new();
    for character in expression.chars().chain([' ']) {
        if character.is_ascii_alphanumeric() || character == '_' {
            word.push(character);
            continue;
        }
        if !word.is_empty() {
            if !in_labels && PREFIXES.iter().any(|prefix| word.starts_with(prefix)) {
                names.insert(word.clone());
            }
            previous = std::mem::take(&mut word);
        }
        match character {
            '{' => in_labels = true,
            '(' if matches!(&*previous, "by" | "without" | "on" | "group_left") => in_labels = true,
            '}' | ')' => in_labels = false,
            _ => {}
        }
        if !character.is_whitespace() {
            previous.clear();
        }
    }
    names
}

/// The family of a series.
fn family<'a>(name: &'a str, families: &BTreeMap<String, String>) -> Option<&'a str> {
    let parts = ["_bucket", "_count", "_sum"];
    let histogram = parts.iter().find_map(|part| name.strip_suffix(part));
    let histogram =
        histogram.filter(|name| families.get(*name).is_some_and(|kind| kind == "histogram"));
    histogram.or_else(|| families.contains_key(name).then_some(name))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dashboard_alerts_and_documentation_name_what_there_is() {
    let families = families(&full_page().await);
    let dashboard: Value = serde_json::from_str(&document("dashboard.json")).unwrap();
    let alerts: Value = serde_norway::from_str(&document("alerts.yaml")).unwrap();
    let mut expressions = Vec::new();
    texts(&dashboard, "expr", &mut expressions);
    let in_dashboard = expressions.len();
    texts(&alerts, "expr", &mut expressions);
    assert!(in_dashboard > 20 && expressions.len() > in_dashboard + 10);
    for expression in &expressions {
        let names = metrics_of(expression);
        let is_up = expression.contains("up{") || expression.contains("absent(");
        assert!(!names.is_empty() || is_up, "{expression} names no metric");
        for name in names {
            assert!(family(&name, &families).is_some(), "{name} of {expression} is not there");
        }
    }
    // The table has a row for each family, and no others.
    let table = document("metrics.md");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows: BTreeSet<_> = rows.map(|row| row.split('`').next().unwrap().to_owned()).collect();
    let served: BTreeSet<_> = families.into_keys().collect();
    assert_eq!(rows, served);
}

#[test]
fn alerts_lead_to_sections_that_are_there() {
    let alerts: Value = serde_norway::from_str(&document("alerts.yaml")).unwrap();
    for group in alerts["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            let name = rule["alert"].as_str().unwrap();
            assert!(
                matches!(rule["labels"]["severity"].as_str(), Some("page" | "ticket")),
                "{name}"
            );
            assert!(rule["annotations"]["summary"].is_string(), "{name}");
            let runbook = rule["annotations"]["runbook"].as_str().unwrap();
            let (page, section) = runbook.split_once('#').unwrap();
            let path = format!("{}/{page}", env!("CARGO_MANIFEST_DIR"));
            let text = fs::read_to_string(path).unwrap();
            let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
            let anchors = headings.map(|heading| {
                let words = heading.trim_matches('#').trim().to_lowercase();
                let kept = words.chars().filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-');
                kept.collect::<String>().replace(' ', "-")
            });
            assert!(anchors.into_iter().any(|anchor| anchor == section), "{name}: {runbook}");
        }
    }
}

#[test]
fn the_reader_of_expressions_reads_them() {
    let expression = "sum by (rpc_method) (rate(rpc_a_count{http_x=\"rpc_b\"}[5m])) / \
                      on (db_pool) group_left() process_c > 1";
    let expected: BTreeSet<_> = ["rpc_a_count", "process_c"].map(str::to_owned).into();
    assert_eq!(metrics_of(expression), expected);
}
