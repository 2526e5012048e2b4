//! The layers of the crate, held against the sources: one crate cannot stop an upward `use`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A layer: the modules it may use, and the libraries that no other layer may.
struct Layer {
    name: &'static str,
    may_use: &'static [&'static str],
}

/// Data flows one way: transport, service, store. Whoever adds a module adds a row.
const LAYERS: &[Layer] = &[
    Layer { name: "domain", may_use: &[] },
    Layer { name: "merkle", may_use: &[] },
    Layer { name: "tls", may_use: &[] },
    Layer { name: "directory", may_use: &[] },
    Layer { name: "proto", may_use: &[] },
    Layer { name: "config", may_use: &["domain", "merkle"] },
    Layer { name: "signing_key", may_use: &["config", "directory", "merkle"] },
    Layer { name: "telemetry", may_use: &["config"] },
    Layer { name: "store", may_use: &["directory", "domain", "merkle"] },
    Layer { name: "export", may_use: &["directory", "domain"] },
    Layer { name: "forward", may_use: &["domain", "tls"] },
    Layer {
        name: "service",
        may_use: &["domain", "merkle", "store", "export", "forward", "telemetry"],
    },
    // A worker is told of new jobs by the service, and writes what the store holds.
    Layer {
        name: "worker",
        may_use: &["domain", "merkle", "store", "export", "forward", "service", "telemetry"],
    },
    Layer {
        name: "transport",
        may_use: &["domain", "proto", "service", "export", "telemetry", "tls"],
    },
    Layer { name: "verify", may_use: &["domain", "export", "merkle", "store"] },
    Layer { name: "client", may_use: &["proto", "tls"] },
    Layer { name: "demo", may_use: &["client", "proto", "domain"] },
    // Beside the service, never through it: the peers are measured straight on the database.
    Layer { name: "bench", may_use: &["client", "domain", "merkle", "proto", "tls"] },
    Layer {
        name: "app",
        may_use: &[
            "config",
            "domain",
            "export",
            "forward",
            "service",
            "signing_key",
            "store",
            "telemetry",
            "tls",
            "transport",
            "worker",
        ],
    },
    Layer {
        name: "cli",
        may_use: &[
            "app",
            "bench",
            "client",
            "config",
            "demo",
            "domain",
            "export",
            "merkle",
            "proto",
            "service",
            "signing_key",
            "store",
            "telemetry",
            "verify",
        ],
    },
];

/// Libraries that stop at a layer.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("sea_orm", &["store"]),
    ("sqlx", &["store", "bench"]),
    ("rusqlite", &["bench", "store"]),
    ("migrations", &["store"]),
    ("tonic", &["transport", "proto", "client", "app", "demo", "bench"]),
    ("axum", &["transport"]),
    ("prost_types", &["transport", "demo", "bench", "cli"]),
    ("clap", &["cli", "config"]),
    ("figment", &["config"]),
    ("indicatif", &["bench", "cli", "demo"]),
    ("jsonschema", &["domain"]),
    ("object_store", &["export", "forward", "service", "transport", "worker"]),
    ("csv", &["export", "demo"]),
    // Others have the facts of a span from the interface alone, and know nothing of who exports it.
    ("opentelemetry", &["telemetry", "transport", "service", "worker"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("opentelemetry_otlp", &["telemetry"]),
    ("opentelemetry_prometheus", &["telemetry"]),
    ("opentelemetry_proto", &["forward", "bench"]),
    ("prometheus", &["telemetry"]),
    ("tracing_subscriber", &["telemetry"]),
];

/// Libraries that would make the pure layers impure.
const IMPURE: &[&str] =
    &["tokio", "futures", "reqwest", "tracing", "std::fs", "std::env", "std::net"];

const FILE_LINES: usize = 400;

fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(&root).unwrap().to_owned();
                let first = relative.components().next().unwrap();
                let layer = Path::new(first.as_os_str()).file_stem().unwrap();
                let text = fs::read_to_string(&path).unwrap();
                files.push((layer.to_str().unwrap().to_owned(), relative, text));
            }
        }
    }
    files
}

/// The code of a file, without comments and without its tests.
fn code(text: &str) -> String {
    let lines = text.lines().take_while(|line| *line != "#[cfg(test)]");
    let code = lines.map(|line| line.split("//").next().unwrap_or_default());
    code.collect::<Vec<_>>().join("\n")
}

/// The modules of ours that a file names: `crate::x` and each first part of `crate::{x::.., y}`.
fn used_modules(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            used.insert(first_word(rest));
            continue;
        };
        let mut depth = 1;
        let mut item = String::new();
        for character in group.chars() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 || (depth == 1 && character == ',') {
                used.insert(first_word(item.trim()));
                item.clear();
            } else {
                item.push(character);
            }
            if depth == 0 {
                break;
            }
        }
    }
    used.remove("");
    used
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn every_module_keeps_to_its_layer() {
    let mut wrong = Vec::new();
    for (layer, path, text) in sources() {
        if matches!(&*layer, "lib" | "main") {
            continue;
        }
        let row = LAYERS.iter().find(|row| row.name == layer);
        let Some(row) = row else { panic!("the layer {layer} has no row in LAYERS") };
        let code = code(&text);
        for used in used_modules(&code) {
            if used != layer && !row.may_use.contains(&&*used) {
                wrong.push(format!("{}: {layer} may not use {used}", path.display()));
            }
        }
        for (library, layers) in LIBRARIES {
            let imports = code.lines().any(|line| line.starts_with(&format!("use {library}::")));
            // A path in the middle of the code; `csv` is also a module of ours.
            let names = *library != "csv" && code.contains(&format!(" {library}::"));
            if (imports || names) && !layers.contains(&&*layer) {
                wrong.push(format!("{}: {library} stops at {layers:?}", path.display()));
            }
        }
        for library in IMPURE {
            if matches!(&*layer, "domain" | "merkle") && code.contains(&format!("{library}::")) {
                wrong.push(format!("{}: {layer} is pure, {library} is not", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_no_rows_that_nothing_needs() {
    let files = sources();
    for row in LAYERS {
        let own: Vec<_> = files.iter().filter(|(layer, ..)| layer == row.name).collect();
        assert!(!own.is_empty(), "there is no layer {}", row.name);
        let used: BTreeSet<_> =
            own.iter().flat_map(|(.., text)| used_modules(&code(text))).collect();
        for may in row.may_use {
            assert!(used.contains(*may), "{} does not use {may}: take it out of its row", row.name);
        }
    }
}

#[test]
fn the_engine_is_asked_for_in_one_place() {
    // A comparison with an engine belongs to the dialect, or to the start of a connection.
    let allowed = ["store/dialect.rs", "store/connect.rs", "app.rs", "cli/keys.rs"];
    for (_, path, text) in sources() {
        let asks =
            code(&text).contains("Engine::Sqlite") || code(&text).contains("Engine::Postgres");
        let name = path.to_str().unwrap();
        assert!(!asks || allowed.contains(&name), "{name} asks which engine it is");
    }
}

#[test]
fn tenant_queries_start_from_scoped() {
    // Looked up by a credential or by a worker, whose environment comes from the row itself; and what
    // belongs to no tenant.
    let exceptions = [
        "store/api_keys.rs",
        "store/checkpoints.rs",
        "store/export_leases.rs",
        "store/exports.rs",
        "store/idempotency.rs",
        "store/log_stream_leases.rs",
        "store/signing_keys.rs",
        // Looks at once after all logs that are watched on a replica.
        "store/watch.rs",
    ];
    for (layer, path, text) in sources() {
        let name = path.to_str().unwrap();
        if layer != "store" || name.starts_with("store/entity") || exceptions.contains(&name) {
            continue;
        }
        let bare = code(&text).lines().any(|line| line.contains("Entity::find()"));
        assert!(!bare, "{name} has a query that does not start from scoped()");
    }
}

#[test]
fn files_tell_one_story() {
    for (_, path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= FILE_LINES, "{} has {lines} lines", path.display());
    }
}

#[test]
fn the_reader_of_imports_reads_them() {
    let code = "use crate::{\n    a::{b, c},\n    d,\n};\nfn f() { crate::e::g() }";
    let expected: BTreeSet<_> = ["a", "d", "e"].map(str::to_owned).into();
    assert_eq!(used_modules(code), expected);
}
