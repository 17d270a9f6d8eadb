//! What a container, or a program started in one, may be: the keys that are listed, with the values that are listed; any other key, and any
//! other spelling of one (engines take them in any case), is refused. What was judged is written anew, so that nothing stands twice.

use serde_json::{Map, Value};

use super::{Body, EngineRules, Verb};

/// What a value may be.
#[derive(Clone, Copy)]
enum Fits {
    /// Anything of a plain kind: it is about the inside of the container.
    Any,
    /// Nothing: as clients write what was not said (`null`, `false`, 0, `""`, `[]`, `{}`).
    Nothing,
    /// `null`, or it is absent: an empty list means that nothing is hidden.
    Null,
    /// One of these texts, or nothing.
    Words(&'static [&'static str]),
    /// Judged by itself.
    Own(fn(&EngineRules, &mut Value) -> Result<(), String>),
}

/// Keys, what they may be, and what would go out by them otherwise.
type Keys = &'static [(&'static str, Fits, &'static str)];

const HOST: &str = "leads to the host";

const CONTAINER: Keys = &[
    ("Hostname", Fits::Any, ""),
    ("Domainname", Fits::Any, ""),
    ("User", Fits::Any, ""),
    ("AttachStdin", Fits::Any, ""),
    ("AttachStdout", Fits::Any, ""),
    ("AttachStderr", Fits::Any, ""),
    ("ExposedPorts", Fits::Any, ""),
    ("Tty", Fits::Any, ""),
    ("OpenStdin", Fits::Any, ""),
    ("StdinOnce", Fits::Any, ""),
    ("Env", Fits::Any, ""),
    ("Cmd", Fits::Any, ""),
    ("Entrypoint", Fits::Any, ""),
    ("Healthcheck", Fits::Any, ""),
    ("ArgsEscaped", Fits::Any, ""),
    ("Image", Fits::Own(image), ""),
    ("Volumes", Fits::Nothing, "outlives the container"),
    ("WorkingDir", Fits::Any, ""),
    ("NetworkDisabled", Fits::Any, ""),
    ("MacAddress", Fits::Any, ""),
    ("OnBuild", Fits::Nothing, "is no part of a container"),
    ("Labels", Fits::Any, ""),
    ("StopSignal", Fits::Any, ""),
    ("StopTimeout", Fits::Any, ""),
    ("Shell", Fits::Any, ""),
    ("HostConfig", Fits::Own(host), ""),
    ("NetworkingConfig", Fits::Own(networking), ""),
];

const HOST_CONFIG: Keys = &[
    ("Binds", Fits::Nothing, "mounts what the host has"),
    ("ContainerIDFile", Fits::Nothing, HOST),
    ("LogConfig", Fits::Own(logs), ""),
    ("NetworkMode", Fits::Own(network), ""),
    ("PortBindings", Fits::Nothing, "listens on the host"),
    ("RestartPolicy", Fits::Own(restart), ""),
    ("AutoRemove", Fits::Any, ""),
    ("VolumeDriver", Fits::Nothing, "mounts what the host has"),
    ("VolumesFrom", Fits::Nothing, "mounts what other containers have"),
    ("Mounts", Fits::Own(mounts), ""),
    ("ConsoleSize", Fits::Any, ""),
    ("Annotations", Fits::Nothing, "is read by what the host runs containers with"),
    ("CapAdd", Fits::Nothing, "gives rights over the host"),
    ("CapDrop", Fits::Any, ""),
    ("CgroupnsMode", Fits::Words(&["private"]), "shares the host's control groups"),
    ("Dns", Fits::Any, ""),
    ("DnsOptions", Fits::Any, ""),
    ("DnsSearch", Fits::Any, ""),
    ("ExtraHosts", Fits::Nothing, HOST),
    ("GroupAdd", Fits::Nothing, "gives groups"),
    ("IpcMode", Fits::Words(&["private", "none"]), "shares memory with the host or others"),
    ("Cgroup", Fits::Nothing, HOST),
    ("Links", Fits::Nothing, "leads to other containers"),
    ("OomScoreAdj", Fits::Nothing, "has others killed first"),
    ("OomKillDisable", Fits::Nothing, "has others killed first"),
    ("PidMode", Fits::Nothing, "shows the processes of the host or of others"),
    ("Privileged", Fits::Nothing, "equals root on the host"),
    ("PublishAllPorts", Fits::Nothing, "listens on the host"),
    ("ReadonlyRootfs", Fits::Any, ""),
    ("SecurityOpt", Fits::Own(security), ""),
    ("StorageOpt", Fits::Nothing, HOST),
    ("Tmpfs", Fits::Any, ""),
    ("UTSMode", Fits::Nothing, "shares the host's name"),
    ("UsernsMode", Fits::Nothing, "shares the host's users"),
    ("ShmSize", Fits::Any, ""),
    ("Sysctls", Fits::Nothing, "sets what the host's kernel does"),
    ("Runtime", Fits::Nothing, "chooses what the host runs containers with"),
    ("Isolation", Fits::Nothing, HOST),
    ("CpuShares", Fits::Any, ""),
    ("Memory", Fits::Any, ""),
    ("NanoCpus", Fits::Any, ""),
    ("CgroupParent", Fits::Nothing, "leaves the engine's control group"),
    ("BlkioWeight", Fits::Any, ""),
    ("BlkioWeightDevice", Fits::Nothing, "names devices of the host"),
    ("BlkioDeviceReadBps", Fits::Nothing, "names devices of the host"),
    ("BlkioDeviceWriteBps", Fits::Nothing, "names devices of the host"),
    ("BlkioDeviceReadIOps", Fits::Nothing, "names devices of the host"),
    ("BlkioDeviceWriteIOps", Fits::Nothing, "names devices of the host"),
    ("CpuPeriod", Fits::Any, ""),
    ("CpuQuota", Fits::Any, ""),
    ("CpuRealtimePeriod", Fits::Nothing, "takes the processor from others"),
    ("CpuRealtimeRuntime", Fits::Nothing, "takes the processor from others"),
    ("CpusetCpus", Fits::Any, ""),
    ("CpusetMems", Fits::Any, ""),
    ("Devices", Fits::Nothing, "gives devices of the host"),
    ("DeviceCgroupRules", Fits::Nothing, "gives devices of the host"),
    ("DeviceRequests", Fits::Nothing, "gives devices of the host"),
    ("KernelMemory", Fits::Nothing, "is obsolete"),
    ("KernelMemoryTCP", Fits::Nothing, "is obsolete"),
    ("MemoryReservation", Fits::Any, ""),
    ("MemorySwap", Fits::Any, ""),
    ("MemorySwappiness", Fits::Any, ""),
    ("PidsLimit", Fits::Any, ""),
    ("Ulimits", Fits::Any, ""),
    ("CpuCount", Fits::Any, ""),
    ("CpuPercent", Fits::Any, ""),
    ("IOMaximumIOps", Fits::Any, ""),
    ("IOMaximumBandwidth", Fits::Any, ""),
    ("MaskedPaths", Fits::Null, "shows what the engine hides of the kernel"),
    ("ReadonlyPaths", Fits::Null, "lets write what the engine protects of the kernel"),
    ("Init", Fits::Any, ""),
];

const EXEC: Keys = &[
    ("AttachStdin", Fits::Any, ""),
    ("AttachStdout", Fits::Any, ""),
    ("AttachStderr", Fits::Any, ""),
    ("ConsoleSize", Fits::Any, ""),
    ("DetachKeys", Fits::Any, ""),
    ("Tty", Fits::Any, ""),
    ("Env", Fits::Any, ""),
    ("Cmd", Fits::Any, ""),
    ("Privileged", Fits::Nothing, "equals root on the host"),
    ("User", Fits::Any, ""),
    ("WorkingDir", Fits::Any, ""),
    // Of older clients.
    ("Detach", Fits::Any, ""),
    ("Container", Fits::Any, ""),
];

const START: Keys = &[("Detach", Fits::Any, ""), ("Tty", Fits::Any, ""), ("ConsoleSize", Fits::Any, "")];

/// Judges a body of JSON of that kind, and writes it anew; with what it is about, for a record.
///
/// # Errors
/// Why it is not sent.
pub fn create(rules: &EngineRules, body: Body, text: &[u8]) -> Result<(Vec<u8>, String), String> {
    let keys = match body {
        Body::Create => CONTAINER,
        Body::Exec => EXEC,
        Body::Start => START,
        Body::None | Body::Archive => return Err("it carries no JSON".to_owned()),
    };
    let empty = text.iter().all(u8::is_ascii_whitespace);
    let text = if empty && body == Body::Start { b"{}" } else { text };
    let mut value: Value = serde_json::from_slice(text).map_err(|_| "its body is no JSON")?;
    keyed(rules, keys, "", &mut value)?;
    let mut about = String::new();
    if let (Body::Create, Some(whole)) = (body, value.as_object_mut()) {
        let image = whole.get("Image").and_then(Value::as_str).ok_or("it names no image")?;
        about = format!(" image={image}");
        // Without it the engine would choose, which is a network.
        let host = whole.entry("HostConfig").or_insert_with(|| Value::Object(Map::new()));
        if host.is_null() {
            *host = Value::Object(Map::new());
        }
        let mode = host.as_object_mut().ok_or("`HostConfig` is no table")?;
        let mut own = mode.remove("NetworkMode").unwrap_or(Value::Null);
        network(rules, &mut own)?;
        mode.insert("NetworkMode".to_owned(), own);
    }
    let text = serde_json::to_vec(&value).map_err(|_| "its body cannot be written")?;
    Ok((text, about))
}

fn keyed(rules: &EngineRules, keys: Keys, of: &str, value: &mut Value) -> Result<(), String> {
    let table = value.as_object_mut().ok_or_else(|| format!("`{of}` is no table of JSON"))?;
    for (name, value) in table {
        let Some((_, fits, why)) = keys.iter().find(|(own, ..)| own == name) else {
            let shown: String = name.chars().take(64).collect();
            return Err(format!("`{of}{}` is not let through", shown.escape_debug()));
        };
        let fine = match fits {
            Fits::Any => true,
            Fits::Nothing => nothing(value),
            Fits::Null => value.is_null(),
            Fits::Words(words) => nothing(value) || value.as_str().is_some_and(|text| words.contains(&text)),
            Fits::Own(judge) => {
                judge(rules, value)?;
                true
            }
        };
        if !fine {
            return Err(format!("`{of}{name}` {why}, and no policy lets that through"));
        }
    }
    Ok(())
}

fn nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(table) => table.is_empty(),
    }
}

fn image(rules: &EngineRules, value: &mut Value) -> Result<(), String> {
    let text = value.as_str().ok_or("it names no image")?;
    *value = Value::String(rules.image(text, true)?);
    Ok(())
}

fn host(rules: &EngineRules, value: &mut Value) -> Result<(), String> {
    if value.is_null() {
        return Ok(());
    }
    keyed(rules, HOST_CONFIG, "HostConfig.", value)
}

fn network(rules: &EngineRules, value: &mut Value) -> Result<(), String> {
    let mode = match value {
        Value::Null => "",
        Value::String(text) => text.as_str(),
        _ => return Err("`HostConfig.NetworkMode` is no text".to_owned()),
    };
    match mode {
        "none" => Ok(()),
        "" | "default" | "bridge" => match rules.may(Verb::Network) {
            Ok(()) => {
                // What a client leaves out is not left to the engine.
                *value = Value::String("bridge".to_owned());
                Ok(())
            }
            Err(why) => Err(format!(
                "a container with a network goes past the gateway (`--network none` is one without): {why}"
            )),
        },
        other => Err(format!(
            "`HostConfig.NetworkMode` `{}` shares a network, and no policy lets that through",
            other.escape_debug()
        )),
    }
}

/// Clients name the network of `NetworkMode` here once more.
fn networking(rules: &EngineRules, value: &mut Value) -> Result<(), String> {
    let refused = || "`NetworkingConfig` joins a network, and no policy lets that through".to_owned();
    if nothing(value) {
        return Ok(());
    }
    let table = value.as_object_mut().ok_or_else(refused)?;
    let mut own = table.iter();
    let (Some((name, ends)), None) = (own.next(), own.next()) else { return Err(refused()) };
    let empty = |table: &Map<String, Value>| table.values().all(deep);
    let fine = |(network, end): (&String, &Value)| {
        let named = network == "none"
            || ["default", "bridge"].contains(&network.as_str()) && rules.may(Verb::Network).is_ok();
        named && (end.is_null() || end.as_object().is_some_and(empty))
    };
    let all = ends.is_null() || ends.as_object().is_some_and(|ends| ends.iter().all(fine));
    if name != "EndpointsConfig" || !all {
        return Err(refused());
    }
    // What it says, `NetworkMode` has said.
    *value = Value::Null;
    Ok(())
}

/// Nothing, at any depth.
fn deep(value: &Value) -> bool {
    match value {
        Value::Object(table) => table.values().all(deep),
        other => nothing(other),
    }
}

fn logs(_: &EngineRules, value: &mut Value) -> Result<(), String> {
    let kind = value.get("Type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let config = value.get("Config").is_none_or(nothing);
    if !config || !["", "json-file", "local", "none", "journald"].contains(&kind.as_str()) {
        return Err(
            "`HostConfig.LogConfig` sends output elsewhere, and no policy lets that through".to_owned()
        );
    }
    *value = match kind.as_str() {
        "" => Value::Null,
        _ => serde_json::json!({ "Type": kind, "Config": {} }),
    };
    Ok(())
}

fn restart(_: &EngineRules, value: &mut Value) -> Result<(), String> {
    let name = value.get("Name").and_then(Value::as_str).unwrap_or_default();
    if !["", "no"].contains(&name) {
        return Err(
            "`HostConfig.RestartPolicy` outlives the sandbox, and no policy lets that through".to_owned()
        );
    }
    *value = Value::Null;
    Ok(())
}

fn mounts(_: &EngineRules, value: &mut Value) -> Result<(), String> {
    if value.is_null() {
        return Ok(());
    }
    let refused = || {
        "`HostConfig.Mounts` mounts what the host has, and no policy lets that through: `tmpfs` is fine"
            .to_owned()
    };
    for mount in value.as_array_mut().ok_or_else(refused)? {
        let target = mount.get("Target").and_then(Value::as_str).unwrap_or_default().to_owned();
        let known = ["Type", "Target", "TmpfsOptions", "ReadOnly", "Source", "Consistency"];
        let table = mount.as_object().ok_or_else(refused)?;
        let source = table.get("Source").is_none_or(nothing);
        if table.get("Type").and_then(Value::as_str) != Some("tmpfs")
            || !source
            || table.keys().any(|key| !known.contains(&key.as_str()))
        {
            return Err(refused());
        }
        let options = table.get("TmpfsOptions").and_then(|options| options.get("SizeBytes")?.as_u64());
        *mount = serde_json::json!({ "Type": "tmpfs", "Target": target });
        if let (Some(size), Some(table)) = (options, mount.as_object_mut()) {
            table.insert("TmpfsOptions".to_owned(), serde_json::json!({ "SizeBytes": size }));
        }
    }
    Ok(())
}

fn security(_: &EngineRules, value: &mut Value) -> Result<(), String> {
    let fine = |option: &Value| {
        option.as_str().is_some_and(|text| {
            ["no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"].contains(&text)
        })
    };
    match value.as_array().map_or(value.is_null(), |options| options.iter().all(fine)) {
        true => Ok(()),
        false => {
            Err("`HostConfig.SecurityOpt` takes protection away, and no policy lets that through".to_owned())
        }
    }
}

#[cfg(test)]
#[path = "create_tests.rs"]
mod tests;
