//! The JSON Schema comes from the definition that reads the documents.

use ringfence_policy::{presets, schema};

#[test]
fn it_has_every_table_and_forbids_the_rest() {
    let schema = schema();
    let properties = schema["properties"].as_object().unwrap();
    for key in [
        "version",
        "extends",
        "identity",
        "lists",
        "workspace",
        "files",
        "environment",
        "commands",
        "network",
        "credentials",
        "leaks",
        "limits",
        "runtime",
        "step",
        "approvals",
        "expect",
    ] {
        assert!(properties.contains_key(key), "{key}");
    }
    assert_eq!(properties.len(), 16);
    assert_eq!(schema["additionalProperties"], serde_json::json!(false));
    assert_eq!(schema["required"], serde_json::json!(["version"]));
    let files = &schema["$defs"]["FilesTable"];
    assert!(files["properties"]["read"]["description"].is_string(), "{files}");
    assert_eq!(files["additionalProperties"], serde_json::json!(false));
}

#[test]
fn the_presets_use_only_its_keys() {
    let schema = schema();
    for (name, text) in presets() {
        let value: toml::Table = toml::from_str(text).unwrap();
        for (table, content) in &value {
            assert!(schema["properties"].get(table).is_some(), "{name}: {table}");
            let Some(content) = content.as_table() else { continue };
            let definition = schema["$defs"]
                .as_object()
                .unwrap()
                .iter()
                .find(|(key, _)| key.to_lowercase() == format!("{table}table"))
                .unwrap_or_else(|| panic!("{table}"));
            for key in content.keys() {
                assert!(definition.1["properties"].get(key).is_some(), "{name}: {table}.{key}");
            }
        }
    }
}
