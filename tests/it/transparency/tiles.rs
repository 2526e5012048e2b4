//! The tlog-tiles paths.

use audit_logs::merkle::{Hash, leaf_hash, node_hash};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

use super::{checkpoint, grow, leaves};
use crate::support::{
    Engine, TestServer, create_event, metadata, on_every_engine, server::ROOT_KEY,
};

on_every_engine!(
    tiles_and_bundles_are_those_of_the_tree,
    what_is_not_there_is_not_found,
    a_key_with_the_scope_is_needed,
    a_bundle_that_cannot_be_made_says_why,
);

async fn ask(server: &TestServer, method: Method, path: &str, key: Option<&str>) -> Response {
    let client = reqwest::Client::builder().build().unwrap();
    let mut request = client.request(method, format!("{}/tlog/{path}", server.url));
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    request.send().await.unwrap()
}

async fn get(server: &TestServer, path: &str) -> Response {
    ask(server, Method::GET, path, Some(ROOT_KEY)).await
}

async fn bytes(server: &TestServer, path: &str) -> Vec<u8> {
    let response = get(server, path).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "application/octet-stream");
    // Events can be erased one day, hashes cannot.
    let for_ever = "private, max-age=31536000, immutable";
    let caching = if path.contains("/entries/") { "no-store" } else { for_ever };
    assert_eq!(header("cache-control"), caching);
    response.bytes().await.unwrap().to_vec()
}

/// The code in the JSON of an answer.
async fn refused(response: Response) -> (StatusCode, String) {
    let status = response.status();
    assert_eq!(response.headers()["content-type"], "application/json; charset=utf-8");
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert!(!body["message"].as_str().unwrap().is_empty());
    (status, body["code"].as_str().unwrap().to_owned())
}

fn root_of(mut hashes: Vec<Hash>) -> Hash {
    while hashes.len() > 1 {
        hashes = hashes.as_chunks::<2>().0.iter().map(|[l, r]| node_hash(l, r)).collect();
    }
    hashes[0]
}

async fn tiles_and_bundles_are_those_of_the_tree(engine: Engine) {
    let server = TestServer::start(engine).await;
    let leaves = leaves(&grow(&server, "acme:eu", 600).await);
    let response = get(&server, "acme:eu/checkpoint").await;
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let text = response.text().await.unwrap();
    assert_eq!(text, checkpoint(&server, "acme:eu").await.checkpoint);

    assert_eq!(bytes(&server, "acme:eu/tile/0/000").await, leaves[..256].concat());
    assert_eq!(bytes(&server, "acme:eu/tile/0/001").await, leaves[256..512].concat());
    assert_eq!(bytes(&server, "acme:eu/tile/0/002.p/88").await, leaves[512..].concat());
    // Those of earlier trees are still there.
    assert_eq!(bytes(&server, "acme:eu/tile/0/002.p/1").await, leaves[512]);
    assert_eq!(bytes(&server, "acme:eu/tile/0/000.p/255").await, leaves[..255].concat());
    let roots = [root_of(leaves[..256].to_vec()), root_of(leaves[256..512].to_vec())];
    assert_eq!(bytes(&server, "acme:eu/tile/1/000.p/2").await, roots.concat());
    assert_eq!(bytes(&server, "acme:eu/tile/1/000.p/1").await, roots[0]);

    for (path, range) in [("000", 0..256), ("001.p/9", 256..265), ("002.p/88", 512..600)] {
        let bundle = bytes(&server, &format!("acme:eu/tile/entries/{path}")).await;
        let mut rest = bundle.as_slice();
        for leaf in &leaves[range] {
            let (length, after) = rest.split_first_chunk::<2>().unwrap();
            let (entry, after) = after.split_at(u16::from_be_bytes(*length).into());
            let (salt, event) = entry.split_first_chunk().unwrap();
            assert_eq!(leaf_hash(salt, event), *leaf);
            rest = after;
        }
        assert!(rest.is_empty());
    }
    let head = ask(&server, Method::HEAD, "acme:eu/tile/0/000", Some(ROOT_KEY)).await;
    assert_eq!(
        (head.status(), &head.headers()["content-length"]),
        (StatusCode::OK, &"8192".parse().unwrap())
    );
    assert!(head.bytes().await.unwrap().is_empty());
}

async fn what_is_not_there_is_not_found(engine: Engine) {
    let server = TestServer::start(engine).await;
    grow(&server, "acme", 257).await;
    for path in [
        "0/001",
        "0/001.p/2",
        "0/002.p/1",
        "1/000",
        "1/000.p/2",
        "2/000.p/1",
        "63/000",
        "0/x018/x446/x744/x073/x709/x551/615",
        "entries/001",
        "entries/001.p/2",
        "entries/002",
        "0/0",
        "0/000.p/0",
        "0/000.p/256",
        "data/000",
        "0/000/",
    ] {
        let answer = refused(get(&server, &format!("acme/tile/{path}")).await).await;
        assert_eq!(answer, (StatusCode::NOT_FOUND, "tile_not_found".to_owned()), "{path}");
    }
    let nobody = (StatusCode::NOT_FOUND, "entity_not_found".to_owned());
    assert_eq!(refused(get(&server, "nobody/checkpoint").await).await, nobody);
    assert_eq!(refused(get(&server, "nobody/tile/0/000").await).await, nobody);
    let malformed = refused(get(&server, "a%20b/checkpoint").await).await;
    assert_eq!(malformed, (StatusCode::UNPROCESSABLE_ENTITY, "unprocessable_entity".to_owned()));
    let other = refused(get(&server, "acme/other").await).await;
    assert_eq!(other, (StatusCode::NOT_FOUND, "not_found".to_owned()));
    let post = ask(&server, Method::POST, "acme/checkpoint", Some(ROOT_KEY)).await;
    assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
}

async fn a_key_with_the_scope_is_needed(engine: Engine) {
    let server = TestServer::start(engine).await;
    grow(&server, "acme", 1).await;
    let reader = server.key_with(&["events:read"], &[]).await;
    let writer = server.key_with(&["events:write"], &[]).await;
    let limited = server.key_with(&["events:read"], &["acme"]).await;
    let elsewhere = server.key_in("other").await;
    grow(&server, "beta", 1).await;
    for path in ["checkpoint", "tile/0/000.p/1", "tile/entries/000.p/1"] {
        for method in [Method::GET, Method::HEAD] {
            let status = async |organization: &str, key: Option<&str>| {
                let path = format!("{organization}/{path}");
                ask(&server, method.clone(), &path, key).await.status()
            };
            assert_eq!(status("acme", Some(&reader)).await, StatusCode::OK);
            assert_eq!(status("acme", Some(&limited)).await, StatusCode::OK);
            assert_eq!(status("beta", Some(&limited)).await, StatusCode::NOT_FOUND);
            assert_eq!(status("acme", Some(&elsewhere)).await, StatusCode::NOT_FOUND);
            assert_eq!(status("acme", Some(&writer)).await, StatusCode::FORBIDDEN);
            assert_eq!(status("acme", Some("sk_unknown")).await, StatusCode::UNAUTHORIZED);
            assert_eq!(status("acme", None).await, StatusCode::UNAUTHORIZED);
        }
        let path = format!("acme/{path}");
        let without = ask(&server, Method::GET, &path, None).await;
        assert_eq!(without.headers()["www-authenticate"], "Bearer");
        let unauthorized = (StatusCode::UNAUTHORIZED, "unauthorized".to_owned());
        assert_eq!(refused(without).await, unauthorized);
        let forbidden = (StatusCode::FORBIDDEN, "scope_missing".to_owned());
        let answer = ask(&server, Method::GET, &path, Some(&writer)).await;
        assert_eq!(refused(answer).await, forbidden);
    }
}

async fn a_bundle_that_cannot_be_made_says_why(engine: Engine) {
    let server = TestServer::start(engine).await;
    grow(&server, "acme", 2).await;
    let mut large = create_event("acme", "doc.read");
    let event = large.event.as_mut().unwrap();
    // Each value has 500 characters of four bytes.
    let text = "\u{1f512}".repeat(500);
    let keys: Vec<String> = (0..50).map(|number| format!("k{number}")).collect();
    let values: Vec<_> = keys.iter().map(|key| (key.as_str(), text.as_str().into())).collect();
    event.actor.as_mut().unwrap().metadata = Some(metadata(&values));
    server.client().await.create_event(large).await.unwrap();
    let not_found = (StatusCode::NOT_FOUND, "tile_not_found".to_owned());
    assert_eq!(bytes(&server, "acme/tile/0/000.p/3").await.len(), 96);
    bytes(&server, "acme/tile/entries/000.p/2").await;
    let response = get(&server, "acme/tile/entries/000.p/3").await;
    let body = response.text().await.unwrap();
    assert!(body.contains("65,535"), "{body}");

    server.execute("DELETE FROM events WHERE sequence = 1").await;
    assert_eq!(refused(get(&server, "acme/tile/entries/000.p/2").await).await, not_found);
    bytes(&server, "acme/tile/entries/000.p/1").await;
}
