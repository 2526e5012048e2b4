//! The list of organizations, narrowed by domain and by text.

use audit_logs::proto::v1::{
    ListMetadata, OrganizationDomainState, OrganizationsCreateRequest, OrganizationsListRequest,
    SortOrder,
};

use super::{
    delete,
    details::{domain, texts},
};
use crate::support::{Engine, TestServer, on_every_engine, server::Organizations};

on_every_engine!(
    organizations_are_found_by_domain,
    organizations_are_found_by_text,
    a_narrowed_list_has_pages,
    others_are_not_found,
    a_page_of_large_organizations_ends_early,
);

/// Id, name, external id, and domains.
const ALL: [(&str, &str, &str, &[&str]); 5] = [
    ("acme", "Acme Inc.", "100%", &["example.com", "acme.example"]),
    ("beta", "Beta_Test Ltd", "A/1", &["an-example.com", "example.com.au"]),
    ("gamma", "O'Gamma \"100%\"", "acme", &["acme.example"]),
    ("delta", "Ärzte ACME", "", &[]),
    ("gone", "Acme", "", &["example.com"]),
];

async fn with_all(engine: Engine) -> (TestServer, Organizations) {
    let server = TestServer::start(engine).await;
    let mut client = server.organizations().await;
    for (id, name, external_id, domains) in ALL {
        let domains = domains.iter().map(|name| domain(name, OrganizationDomainState::Verified));
        let request = OrganizationsCreateRequest {
            name: name.into(),
            organization_id: id.into(),
            external_id: external_id.into(),
            domains: domains.collect(),
            ..Default::default()
        };
        client.create(request).await.unwrap();
    }
    delete(&mut client, "gone").await;
    (server, client)
}

fn wanted(domains: &[&str], search: &str) -> OrganizationsListRequest {
    OrganizationsListRequest {
        order: SortOrder::Asc.into(),
        domains: domains.iter().map(|&domain| domain.to_owned()).collect(),
        search: search.into(),
        ..Default::default()
    }
}

async fn found(client: &mut Organizations, domains: &[&str], search: &str) -> Vec<String> {
    let page = client.list(wanted(domains, search)).await.unwrap().into_inner();
    assert_eq!(page.list_metadata.unwrap_or_default(), ListMetadata::default());
    page.organizations.into_iter().map(|organization| organization.id).collect()
}

async fn organizations_are_found_by_domain(engine: Engine) {
    let (_server, mut client) = with_all(engine).await;
    let rows: [(&[&str], &[&str]); _] = [
        (&["example.com"], &["acme"]),
        (&["EXAMPLE.com"], &["acme"]),
        (&["acme.example"], &["acme", "gamma"]),
        (&["example.com.au", "acme.example", "acme.example"], &["acme", "beta", "gamma"]),
        (&["example"], &[]),
        (&["%.example"], &[]),
        // Neither the ends of two entries, nor what else stands in them.
        (&["example.com\",\"state\":\"verified"], &[]),
        (&["\\"], &[]),
        (&["verified"], &[]),
    ];
    for (domains, expected) in rows {
        assert_eq!(found(&mut client, domains, "").await, expected, "{domains:?}");
    }
}

async fn organizations_are_found_by_text(engine: Engine) {
    let (_server, mut client) = with_all(engine).await;
    let rows: [(&str, &[&str]); _] = [
        ("", &["acme", "beta", "gamma", "delta"]),
        // In a name in either case, as an id, as an external id.
        ("acme", &["acme", "gamma", "delta"]),
        ("ME INC", &["acme"]),
        // Ids count whole, and as they are.
        ("gamma", &["gamma"]),
        ("bet", &["beta"]),
        ("A/1", &["beta"]),
        ("a/1", &[]),
        ("A/", &[]),
        ("delta", &["delta"]),
        ("delt", &[]),
        // Nothing is a wildcard, and nothing ends the text.
        ("100%", &["acme", "gamma"]),
        ("%", &["gamma"]),
        ("_", &["beta"]),
        ("a_me", &[]),
        ("o'gamma \"", &["gamma"]),
        ("\\", &[]),
        // Letters beyond ASCII match as they are.
        ("Ärzte", &["delta"]),
        ("ärzte", &[]),
    ];
    for (search, expected) in rows {
        assert_eq!(found(&mut client, &[], search).await, expected, "{search}");
    }
    assert_eq!(found(&mut client, &["acme.example"], "inc").await, ["acme"]);
    assert_eq!(found(&mut client, &["example.com"], "gamma").await, [""; 0]);
}

async fn a_narrowed_list_has_pages(engine: Engine) {
    let (_server, mut client) = with_all(engine).await;
    let mut request = OrganizationsListRequest { limit: 1, ..wanted(&[], "acme") };
    for id in ["acme", "gamma", "delta"] {
        let page = client.list(request.clone()).await.unwrap().into_inner();
        assert_eq!(page.organizations[0].id, id);
        request.after = page.list_metadata.unwrap_or_default().after;
    }
    assert!(request.after.is_empty());
    // A cursor is a place in the list, whatever it is narrowed by.
    request.after =
        client.list(request.clone()).await.unwrap().into_inner().list_metadata.unwrap().after;
    request.search = "beta".into();
    let page = client.list(request).await.unwrap().into_inner();
    assert_eq!(page.organizations[0].id, "beta");
}

async fn others_are_not_found(engine: Engine) {
    let (server, _client) = with_all(engine).await;
    let mut elsewhere = server.organizations_as(&server.key_in("other").await).await;
    assert_eq!(found(&mut elsewhere, &["acme.example"], "").await, [""; 0]);
    assert_eq!(found(&mut elsewhere, &[], "acme").await, [""; 0]);
    let key = server.key_with(&["organizations"], &["gamma"]).await;
    let mut limited = server.organizations_as(&key).await;
    assert_eq!(found(&mut limited, &["acme.example"], "").await, ["gamma"]);
    assert_eq!(found(&mut limited, &[], "acme").await, ["gamma"]);
}

async fn a_page_of_large_organizations_ends_early(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.organizations().await;
    let text = "\u{1f980}".repeat(600);
    let keys: Vec<_> = (0..50).map(|number| format!("{number:040}")).collect();
    let entries: Vec<_> = keys.iter().map(|key| (key.as_str(), text.as_str())).collect();
    for number in 0..8 {
        let request = OrganizationsCreateRequest {
            name: "One".into(),
            organization_id: format!("org_{number}"),
            metadata: texts(&entries),
            ..Default::default()
        };
        client.create(request).await.unwrap();
    }
    let mut request = OrganizationsListRequest { limit: 100, ..wanted(&[], "") };
    let (mut ids, mut pages) = (Vec::new(), 0);
    loop {
        let page = client.list(request.clone()).await.unwrap().into_inner();
        assert!(prost::Message::encoded_len(&page) < 1_024 * 1_024);
        ids.extend(page.organizations.into_iter().map(|organization| organization.id));
        pages += 1;
        request.after = page.list_metadata.unwrap_or_default().after;
        if request.after.is_empty() {
            break;
        }
    }
    assert_eq!(ids, (0..8).map(|number| format!("org_{number}")).collect::<Vec<_>>());
    assert!(pages > 1);
}
