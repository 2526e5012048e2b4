//! External ids, metadata and domains of organizations.

use audit_logs::proto::v1::{
    OrganizationDomain, OrganizationDomains, OrganizationsCreateRequest,
    OrganizationsGetByExternalIdRequest, OrganizationsListRequest, OrganizationsUpdateRequest,
};

use super::{
    Row, invalid, long, organization_id_rows, refuses, required_text_rows, text_rows, unknown, wide,
};
use crate::support::{Engine, Refusal, TestServer, on_every_engine, server::Organizations};

on_every_engine!(
    create_names_each_wrong_detail,
    update_names_each_wrong_field,
    an_update_that_would_leave_too_many_keys_changes_nothing,
    get_by_external_id_names_a_wrong_one,
    list_names_each_wrong_filter,
    what_is_just_right_is_taken,
);

async fn with_acme(engine: Engine) -> (TestServer, Organizations) {
    let server = TestServer::start(engine).await;
    let client = server.organizations().await;
    let request = OrganizationsCreateRequest { external_id: "one".into(), ..named("acme") };
    client.clone().create(request).await.unwrap();
    (server, client)
}

fn named(id: &str) -> OrganizationsCreateRequest {
    let (name, organization_id) = ("Acme".into(), id.into());
    OrganizationsCreateRequest { name, organization_id, ..Default::default() }
}

fn domain(name: impl Into<String>) -> OrganizationDomain {
    OrganizationDomain { domain: name.into(), ..OrganizationDomain::default() }
}

fn changes() -> OrganizationsUpdateRequest {
    OrganizationsUpdateRequest { organization_id: "acme".into(), ..Default::default() }
}

/// A name of that many characters in labels of 63 and less.
fn long_domain(chars: usize) -> String {
    let mut name = format!("{}.", long(63)).repeat(4);
    name.truncate(chars - 2);
    name + ".x"
}

/// The rows for metadata.
macro_rules! metadata_rows {
    ($request:ty) => {{
        let rows: [Row<$request>; _] = [
            (
                "51 keys",
                |r| r.metadata = (0..51).map(|n| (n.to_string(), "x".into())).collect(),
                invalid("metadata", "TOO_MANY"),
            ),
            (
                "101 keys to remove",
                |r| r.metadata = (0..101).map(|n| (n.to_string(), String::new())).collect(),
                invalid("metadata", "TOO_MANY"),
            ),
            (
                "a key of 41 characters",
                |r| _ = r.metadata.insert(wide(41), "x".into()),
                invalid(format!("metadata.{}", wide(40)), "TOO_LONG"),
            ),
            (
                "an empty key",
                |r| _ = r.metadata.insert(String::new(), "x".into()),
                invalid("metadata.", "INVALID_CHARACTERS"),
            ),
            (
                "a key with a NUL",
                |r| _ = r.metadata.insert("a\0".into(), "x".into()),
                invalid("metadata.a\0", "INVALID_CHARACTERS"),
            ),
            (
                "a value of 601 characters",
                |r| _ = r.metadata.insert("key".into(), wide(601)),
                invalid("metadata.key", "TOO_LONG"),
            ),
        ];
        rows
    }};
}

/// The rows for a list of domains.
macro_rules! domain_rows {
    ($request:ty, |$r:ident| $list:expr) => {{
        let wrong = || invalid("domains[1].domain", "INVALID_CHARACTERS");
        let mut rows: Vec<Row<$request>> = vec![
            (
                "51 domains",
                |$r| $list = (0..51).map(|n| domain(format!("{n}.example"))).collect(),
                invalid("domains", "TOO_MANY"),
            ),
            (
                "no name",
                |$r| $list = vec![domain("a.b"), domain("")],
                invalid("domains[1].domain", "REQUIRED"),
            ),
            (
                "254 characters",
                |$r| $list = vec![domain("a.b"), domain(long_domain(254))],
                invalid("domains[1].domain", "TOO_LONG"),
            ),
            (
                "the same name in another case",
                |$r| $list = vec![domain("a.b"), domain("A.B")],
                invalid("domains[1].domain", "DUPLICATE"),
            ),
            (
                "an unknown state",
                |$r| $list = vec![OrganizationDomain { state: 3, ..domain("a.b") }],
                invalid("domains[0].state", "UNKNOWN"),
            ),
        ];
        let names: [Row<$request>; _] = [
            ("one label", |$r| $list = vec![domain("a.b"), domain("localhost")], wrong()),
            ("a dot at the end", |$r| $list = vec![domain("a.b"), domain("a.c.")], wrong()),
            ("two dots", |$r| $list = vec![domain("a.b"), domain("a..c")], wrong()),
            ("a long label", |$r| $list = vec![domain("a.b"), domain(long(64) + ".c")], wrong()),
            ("a hyphen first", |$r| $list = vec![domain("a.b"), domain("-a.c")], wrong()),
            ("an underscore", |$r| $list = vec![domain("a.b"), domain("a_.c")], wrong()),
            ("a space", |$r| $list = vec![domain("a.b"), domain(" a.c")], wrong()),
            ("a wildcard", |$r| $list = vec![domain("a.b"), domain("*.a.c")], wrong()),
            ("a URL", |$r| $list = vec![domain("a.b"), domain("https://a.c")], wrong()),
            ("an address", |$r| $list = vec![domain("a.b"), domain("10.0.0.1")], wrong()),
            ("another script", |$r| $list = vec![domain("a.b"), domain("b\u{fc}cher.c")], wrong()),
            ("a NUL", |$r| $list = vec![domain("a.b"), domain("a\0.c")], wrong()),
        ];
        rows.extend(names);
        rows
    }};
}

async fn create_names_each_wrong_detail(engine: Engine) {
    let (server, client) = with_acme(engine).await;
    let external_id = text_rows!(OrganizationsCreateRequest, "external_id", |r| r.external_id, 64);
    let rows = external_id
        .into_iter()
        .chain(metadata_rows!(OrganizationsCreateRequest))
        .chain(domain_rows!(OrganizationsCreateRequest, |r| r.domains));
    let call = async |request| client.clone().create(request).await;
    refuses(&server, named("umbrella"), rows, call).await;
}

async fn update_names_each_wrong_field(engine: Engine) {
    let (server, client) = with_acme(engine).await;
    let no_organization: [Row<OrganizationsUpdateRequest>; _] = [(
        "an unknown organization",
        |r| r.organization_id = "nobody".into(),
        unknown("organization_id", "ORGANIZATION_NOT_FOUND"),
    )];
    let no_name: [Row<OrganizationsUpdateRequest>; _] =
        [("an empty name", |r| r.name = Some(String::new()), invalid("name", "REQUIRED"))];
    let name =
        text_rows!(OrganizationsUpdateRequest, "name", |r| *r.name.get_or_insert_default(), 255);
    let external_id = text_rows!(
        OrganizationsUpdateRequest,
        "external_id",
        |r| *r.external_id.get_or_insert_default(),
        64
    );
    let domains =
        domain_rows!(OrganizationsUpdateRequest, |r| r.domains.get_or_insert_default().domains);
    let rows = organization_id_rows!(OrganizationsUpdateRequest)
        .into_iter()
        .chain(no_organization)
        .chain(no_name)
        .chain(name)
        .chain(external_id)
        .chain(metadata_rows!(OrganizationsUpdateRequest))
        .chain(domains);
    let call = async |request| client.clone().update(request).await;
    refuses(&server, changes(), rows, call).await;
}

async fn an_update_that_would_leave_too_many_keys_changes_nothing(engine: Engine) {
    let (_server, mut client) = with_acme(engine).await;
    let metadata = (0..50).map(|n| (n.to_string(), "x".to_owned())).collect();
    let full = OrganizationsUpdateRequest { metadata, ..changes() };
    client.update(full).await.unwrap();
    let one_more = [("new".to_owned(), "x".to_owned())];
    let mut request = OrganizationsUpdateRequest {
        name: Some("Other".into()),
        metadata: one_more.into(),
        ..changes()
    };
    let refused = Refusal::of(&client.update(request.clone()).await.unwrap_err());
    assert_eq!(refused.fields, [("metadata".to_owned(), "TOO_MANY".to_owned())]);
    let get = audit_logs::proto::v1::OrganizationsGetRequest { organization_id: "acme".into() };
    let told = client.get(get).await.unwrap().into_inner().organization.unwrap();
    assert_eq!((&*told.name, told.metadata.len()), ("Acme", 50));
    // One for another fits.
    request.metadata.insert("0".into(), String::new());
    let told = client.update(request).await.unwrap().into_inner().organization.unwrap();
    assert_eq!((&*told.name, told.metadata.len()), ("Other", 50));
}

async fn get_by_external_id_names_a_wrong_one(engine: Engine) {
    let (server, client) = with_acme(engine).await;
    let unknown = || unknown("external_id", "ORGANIZATION_NOT_FOUND");
    let not_there: [Row<OrganizationsGetByExternalIdRequest>; _] = [
        ("an unknown one", |r| r.external_id = "nobody".into(), unknown()),
        ("SQL", |r| r.external_id = "' OR 1=1 --".into(), unknown()),
        ("a wildcard", |r| r.external_id = "%".into(), unknown()),
    ];
    let text = required_text_rows!(
        OrganizationsGetByExternalIdRequest,
        "external_id",
        |r| r.external_id,
        64
    );
    let right = OrganizationsGetByExternalIdRequest { external_id: "one".into() };
    let call = async |request| client.clone().get_by_external_id(request).await;
    refuses(&server, right, text.chain(not_there), call).await;
}

async fn list_names_each_wrong_filter(engine: Engine) {
    let (server, client) = with_acme(engine).await;
    let right = OrganizationsListRequest { domains: vec!["a.b".into(); 2], ..Default::default() };
    let search = text_rows!(OrganizationsListRequest, "search", |r| r.search, 255);
    let domain = required_text_rows!(OrganizationsListRequest, "domains[1]", |r| r.domains[1], 253);
    let many: [Row<OrganizationsListRequest>; _] =
        [("101 domains", |r| r.domains = vec!["a.b".into(); 101], invalid("domains", "TOO_MANY"))];
    let rows = search.into_iter().chain(domain).chain(many);
    refuses(&server, right, rows, async |r| client.clone().list(r).await).await;
}

async fn what_is_just_right_is_taken(engine: Engine) {
    let (_server, mut client) = with_acme(engine).await;
    let keys = (0..49).map(|n| (n.to_string(), "x".to_owned()));
    let metadata = keys.chain([(wide(40), wide(600))]).collect();
    let mut domains: Vec<_> = (0..49).map(|n| domain(format!("{n}.example"))).collect();
    domains.push(domain(long_domain(253)));
    let request = OrganizationsCreateRequest {
        external_id: wide(64),
        metadata,
        domains: domains.clone(),
        ..named("umbrella")
    };
    let told = client.create(request).await.unwrap().into_inner().organization.unwrap();
    assert_eq!((told.metadata.len(), told.domains.len()), (50, 50));
    let domains = Some(OrganizationDomains { domains });
    let request = OrganizationsUpdateRequest { domains, ..changes() };
    client.update(request).await.unwrap();
    let get = OrganizationsGetByExternalIdRequest { external_id: wide(64) };
    client.get_by_external_id(get).await.unwrap();
}
