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
        "containers",
        "leaks",
        "limits",
        "runtime",
        "step",
        "approvals",
        "expect",
    ] {
        assert!(properties.contains_key(key), "{key}");
    }
    assert_eq!(properties.len(), 17);
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

/// Each word of a key that takes one of a few is in the schema, and no other.
#[test]
fn words_are_those_that_are_read() {
    let schema = schema();
    for (table, key, rest) in [
        ("workspace", "mode", ""),
        ("runtime", "terminal", ""),
        ("approvals", "on_refusal", ""),
        ("network", "inspect", ""),
        ("leaks", "action", "scan = [\"egress\"]\n"),
    ] {
        let definitions = schema["$defs"].as_object().unwrap();
        let found = definitions.iter().find(|(name, _)| name.to_lowercase() == format!("{table}table"));
        let words = found.unwrap().1["properties"][key]["enum"].as_array();
        let words = words.unwrap_or_else(|| panic!("{table}.{key} has no enum"));
        let load = |word: &str| {
            let text = format!("version = 1\n[{table}]\n{rest}{key} = \"{word}\"\n");
            super::support::one(&text).map_err(|wrong| wrong.to_string())
        };
        for word in words {
            let wrong = load(word.as_str().unwrap()).err().unwrap_or_default();
            assert!(!wrong.contains("cannot be"), "{table}.{key}: {wrong}");
        }
        assert!(load("never").unwrap_err().contains("cannot be `never`"), "{table}.{key}");
    }
}
