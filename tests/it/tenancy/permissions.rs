//! The table of permissions, held against the contract, the routes and the documentation.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use audit_logs::domain::{
    api_key::Scope,
    permissions::{OPEN_ROUTES, Operation},
};

use super::{raw, scopes::scope_of};
use crate::rest::calls::openapi;

/// Every route of the table.
pub fn routes() -> BTreeMap<&'static str, Operation> {
    let all = Operation::ALL.iter();
    let routes = all.flat_map(|operation| {
        operation.permission().routes.iter().map(|route| (*route, *operation))
    });
    let mut by_route = BTreeMap::new();
    for (route, operation) in routes {
        assert!(by_route.insert(route, operation).is_none(), "{route} has two rows");
    }
    by_route
}

#[test]
fn every_rpc_has_a_row_with_the_scope_of_the_contract() {
    let rows: BTreeMap<_, _> = Operation::ALL
        .iter()
        .filter_map(|operation| operation.permission().rpc.map(|rpc| (rpc.to_owned(), operation)))
        .collect();
    let methods: BTreeMap<_, _> =
        raw::methods().iter().map(|method| (raw::name(method), scope_of(method))).collect();
    assert!(rows.keys().eq(methods.keys()), "{rows:?}");
    for (rpc, operation) in rows {
        assert_eq!(operation.permission().scope.as_str(), methods[&rpc], "{rpc}");
    }
    // A row that nothing leads to is none.
    for operation in Operation::ALL {
        let row = operation.permission();
        assert!(row.rpc.is_some() || !row.routes.is_empty(), "{operation:?}");
    }
}

#[test]
fn every_described_route_has_a_row() {
    let rows = routes();
    for (path, methods) in openapi()["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let route = format!("{} {path}", method.to_uppercase());
            assert!(rows.contains_key(&*route), "{route}");
        }
    }
}

/// Routes that are not described, such as those of tlog clients, are found where they are made.
#[test]
fn every_route_of_the_sources_has_a_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/transport");
    let mut made = BTreeSet::new();
    let mut directories = vec![root];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            // That listener is for operators, and knows no callers.
            if path.ends_with("admin.rs") {
                continue;
            }
            for rest in fs::read_to_string(path).unwrap().split(".route(").skip(1) {
                let rest = rest.trim_start();
                if let Some(literal) = rest.strip_prefix('"') {
                    made.insert(literal.split('"').next().unwrap().replace("{*path}", "{path}"));
                } else {
                    let download = "&format!(\"{DOWNLOAD_PATH}/{{id}}\")";
                    assert!(rest.starts_with(download), "{}", &rest[..40]);
                }
            }
        }
    }
    assert!(made.len() > 20, "{made:?}");
    let rows = routes();
    let listed = rows.keys().chain(&OPEN_ROUTES).map(|route| route.split_once(' ').unwrap().1);
    // What follows a colon is no part of the path to the router.
    let listed: BTreeSet<_> = listed.map(|path| path.replace("{id}:", "{id}\0")).collect();
    let listed: BTreeSet<_> = listed.iter().map(|path| path.split('\0').next().unwrap()).collect();
    let missing: Vec<_> = made.iter().filter(|path| !listed.contains(path.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let gone: Vec<_> = listed
        .iter()
        .filter(|path| !made.contains(**path) && !path.starts_with("/v1/exports/download"))
        .collect();
    assert!(gone.is_empty(), "{gone:?}");
}

/// docs/operations.md names, for each scope, RPCs or `all of` a service.
#[test]
fn the_documentation_tells_the_scopes_as_they_are() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let docs = fs::read_to_string(docs).unwrap();
    for scope in Scope::ALL {
        let start = format!("| `{scope}` | ");
        let row = docs.lines().find_map(|line| line.strip_prefix(&start));
        let row = row.unwrap_or_else(|| panic!("{scope} is not in docs/operations.md"));
        let said = row.split(['|', ';']).next().unwrap();
        let said: BTreeSet<_> = said
            .split(", ")
            .map(str::trim)
            .filter(|name| !name.starts_with('`'))
            .flat_map(|name| match name.strip_prefix("all of ") {
                Some(service) => of_service(service),
                None => vec![format!("AuditLogs/{name}")],
            })
            .collect();
        let true_ones = Operation::ALL.iter().map(|operation| operation.permission());
        let true_ones = true_ones.filter(|row| row.scope == scope).filter_map(|row| row.rpc);
        let true_ones: BTreeSet<_> = true_ones.map(str::to_owned).collect();
        assert_eq!(said, true_ones, "{scope}");
    }
}

fn of_service(service: &str) -> Vec<String> {
    let all = raw::methods().iter().map(raw::name).collect::<Vec<_>>();
    all.into_iter().filter(|name| name.split('/').next() == Some(service)).collect()
}
