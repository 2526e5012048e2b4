//! Paging over REST: one envelope for every list, null where it ends.

use serde_json::{Value, json};

use super::calls::{Rest, event, event_for, schema};
use crate::support::{Engine, TestServer, on_every_engine};

on_every_engine!(lists_are_paged_both_ways, events_are_filtered, what_is_no_page_is_refused,);

/// A server with 5 actions, 5 versions, 5 organizations, and 5 events of one of them.
async fn with_five(server: &TestServer) -> Rest {
    let rest = Rest::new(server);
    for number in 0..5 {
        let named = json!({"targets": [{"type": format!("t{number}")}]});
        rest.post("/audit_logs/actions/versioned/schemas", named).await;
        if number > 0 {
            rest.post(&format!("/audit_logs/actions/a{number}/schemas"), schema()).await;
            rest.post("/organizations", json!({"name": format!("o{number}")})).await;
        }
        let mut event = event("a1");
        event["occurred_at"] = json!(format!("2026-11-0{}T00:00:00Z", number + 1));
        event["actor"]["id"] = json!(format!("usr_{number}"));
        if number > 1 {
            rest.post("/audit_logs/events", event_for("acme", &event)).await;
        }
    }
    for number in [7, 8] {
        let mut event = event("a1");
        event["occurred_at"] = json!(format!("2026-11-0{number}T00:00:00Z"));
        rest.post("/audit_logs/events", event_for("acme", &event)).await;
    }
    rest
}

/// What tells the items of a list apart.
fn names(page: &Value) -> Vec<String> {
    let items = page["data"].as_array().unwrap();
    let name = |item: &Value| {
        let key = ["id", "name", "version"].into_iter().find(|key| item.get(key).is_some());
        item[key.unwrap()].to_string()
    };
    items.iter().map(name).collect()
}

async fn lists_are_paged_both_ways(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = with_five(&server).await;
    for list in [
        "/audit_logs/actions?",
        "/audit_logs/actions/versioned/schemas?",
        "/organizations?",
        "/v1/events?organization_id=acme&",
    ] {
        for order in ["asc", "desc"] {
            let whole = rest.get(&format!("{list}order={order}&limit=100")).await.body;
            let all = names(&whole);
            assert_eq!(all.len(), 5, "{list}");
            assert_eq!(whole["list_metadata"], json!({"before": null, "after": null}));
            let mut cursor = String::new();
            let mut pages = Vec::new();
            loop {
                let page = rest.get(&format!("{list}order={order}&limit=2{cursor}")).await.body;
                let after = page["list_metadata"]["after"].clone();
                assert_eq!(page["list_metadata"]["before"].is_null(), pages.is_empty(), "{list}");
                pages.push(page);
                match after.as_str() {
                    Some(after) => cursor = format!("&after={after}"),
                    None => break,
                }
            }
            let walked: Vec<_> = pages.iter().flat_map(names).collect();
            assert_eq!((pages.len(), walked), (3, all), "{list}");
            let before = pages[2]["list_metadata"]["before"].as_str().unwrap();
            let back = rest.get(&format!("{list}order={order}&limit=2&before={before}")).await;
            assert_eq!(names(&back.body), names(&pages[1]), "{list}");
        }
        let normal = rest.get(&format!("{list}order=normal")).await.body;
        assert_eq!(names(&normal), names(&rest.get(list).await.body), "{list}");
    }
}

async fn events_are_filtered(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = with_five(&server).await;
    for (query, expected) in [
        ("actor_ids=usr_2&actor_ids=usr_3", 2),
        ("actor_ids[]=usr_2&actor_ids[1]=usr_4", 2),
        ("actions=a1&target_types=report", 5),
        ("actions=a2", 0),
        ("actor_names=Mira%20Voss", 5),
        ("range_start=2026-11-04&range_end=2026-11-07", 3),
        ("sequence_start=1&sequence_end=2", 2),
        ("unknown=1&actions=", 5),
    ] {
        let page = rest.get(&format!("/v1/events?organization_id=acme&{query}")).await;
        assert_eq!(page.body["data"].as_array().unwrap().len(), expected, "{query}");
    }
}

async fn what_is_no_page_is_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let rest = with_five(&server).await;
    for list in [
        "/audit_logs/actions?",
        "/audit_logs/actions/a1/schemas?",
        "/organizations?",
        "/v1/events?organization_id=acme&",
    ] {
        for (query, field, code) in [
            ("limit=9999", "limit", "out_of_range"),
            ("limit=0", "limit", "out_of_range"),
            ("limit=-1", "limit", "out_of_range"),
            ("limit=ten", "limit", "out_of_range"),
            ("order=sideways", "order", "unknown"),
            ("before=a&after=b", "before", "conflict"),
        ] {
            let answer = rest.get(&format!("{list}{query}")).await;
            assert_eq!(answer.refusal(), (422, "unprocessable_entity"), "{list}{query}");
            assert_eq!(answer.errors(), [(field, code)], "{list}{query}");
        }
        for cursor in ["after=nothing", "before=als_01HXYZ123456789ABCDEFGHIJ", "after=%00"] {
            let answer = rest.get(&format!("{list}{cursor}")).await;
            assert_eq!(answer.refusal(), (404, "entity_not_found"), "{list}{cursor}");
        }
        // Nothing that was sent is nothing.
        assert_eq!(rest.get(&format!("{list}limit=&after=&order=")).await.status, 200);
    }
    let answer = rest.get("/v1/events?organization_id=acme&sequence_start=-1").await;
    assert_eq!(answer.errors(), [("sequence_start", "invalid_type")]);
    let answer = rest.get("/v1/events").await;
    assert_eq!(answer.errors(), [("organization_id", "required")]);
}
