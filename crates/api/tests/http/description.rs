//! The committed description of the API is the one that the code gives.

use std::collections::BTreeSet;
use std::path::Path;

use sitian_api::openapi::document;
use sitian_api::routes::ROUTES;

#[test]
fn the_committed_description_is_the_one_that_the_code_gives() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let text = serde_json::to_string_pretty(document()).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    let differing = text.lines().zip(committed.lines()).position(|(new, old)| new != old);
    assert!(
        committed == text,
        "openapi.json differs from line {differing:?} on: run UPDATE=1 cargo test -p sitian-api"
    );
}

#[test]
fn every_route_is_described_and_every_described_route_is_there() {
    let paths = document()["paths"].as_object().unwrap();
    let described: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| (method.clone(), path.clone()))
        })
        .collect();
    let routed = ROUTES.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(described, routed);
}

#[test]
fn no_two_operations_have_the_same_id() {
    let paths = document()["paths"].as_object().unwrap();
    let operations = paths.values().flat_map(|methods| methods.as_object().unwrap().values());
    let mut ids: Vec<&str> =
        operations.map(|operation| operation["operationId"].as_str().expect("an operationId")).collect();
    let all = ids.len();
    ids.sort_unstable();
    let doubled: BTreeSet<&str> =
        ids.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert_eq!((doubled, all), (BTreeSet::new(), ROUTES.len()));
}

#[test]
fn every_field_is_explained() {
    let mut unexplained = Vec::new();
    for (name, schema) in document()["components"]["schemas"].as_object().unwrap() {
        for (field, value) in schema["properties"].as_object().into_iter().flatten() {
            let explained = |v: &serde_json::Value| v.get("description").is_some();
            let variants = value["oneOf"].as_array();
            if !explained(value) && !variants.is_some_and(|all| all.iter().any(explained)) {
                unexplained.push(format!("{name}.{field}"));
            }
        }
    }
    assert_eq!(unexplained, Vec::<String>::new());
}
