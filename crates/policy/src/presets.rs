//! The policies that are shipped in the binary.

/// Name and text of each preset, in the order in which they are listed.
pub fn presets() -> &'static [(&'static str, &'static str)] {
    &[
        ("default", include_str!("../../../presets/default.toml")),
        ("coding-agent", include_str!("../../../presets/coding-agent.toml")),
        ("ci-step", include_str!("../../../presets/ci-step.toml")),
        ("analyst", include_str!("../../../presets/analyst.toml")),
        ("support-agent", include_str!("../../../presets/support-agent.toml")),
    ]
}

/// The text of one preset. Its name always means this text, never a file of that name.
pub(crate) fn preset(name: &str) -> Option<&'static str> {
    presets().iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}
