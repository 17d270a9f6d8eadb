//! Descriptions of containers: what goes through, and every way to the host that does not.

use super::super::Image;
use super::*;

fn ask(network: bool, text: &str) -> Result<Value, String> {
    let mut allow = vec![Verb::Run];
    allow.extend(network.then_some(Verb::Network));
    let images = vec![Image::pattern("alpine").unwrap()];
    let rules = EngineRules { engine: "/engine".into(), allow, images, tags: Vec::new() };
    create(&rules, Body::Create, text.as_bytes()).map(|(text, _)| serde_json::from_slice(&text).unwrap())
}

#[test]
fn a_plain_container_goes_through() {
    // As docker's own client writes it.
    let text = r#"{"Hostname":"","User":"","AttachStdout":true,"Tty":false,"Env":null,"Cmd":["true"],"Image":"alpine","Volumes":{},"OnBuild":null,"Labels":{},
        "HostConfig":{"Binds":null,"ContainerIDFile":"","LogConfig":{"Type":"","Config":{}},"NetworkMode":"none","PortBindings":{},"RestartPolicy":{"Name":"no","MaximumRetryCount":0},
        "AutoRemove":true,"CapAdd":null,"IpcMode":"","Privileged":false,"SecurityOpt":null,"ConsoleSize":[0,0],"Devices":[],"MemorySwappiness":-1,"MaskedPaths":null,"ReadonlyPaths":null,
        "Mounts":[{"Type":"tmpfs","Target":"/t"}]},"NetworkingConfig":{"EndpointsConfig":{"none":{"IPAMConfig":null,"Links":null}}}}"#;
    let made = ask(false, text).unwrap();
    assert_eq!(made["Image"], "docker.io/library/alpine:latest");
    assert_eq!(made["HostConfig"]["NetworkMode"], "none");
    assert!(ask(false, r#"{"Image":"alpine"}"#).is_err_and(|why| why.contains("--network none")));
    assert_eq!(
        ask(true, r#"{"Image":"alpine","HostConfig":null}"#).unwrap()["HostConfig"]["NetworkMode"],
        "bridge"
    );
}

#[test]
fn no_way_to_the_host_goes_through() {
    for part in [
        r#""Binds":["/:/host"]"#,
        r#""binds":["/:/host"]"#,
        r#""BINDS":[]"#,
        r#""Mounts":[{"Type":"bind","Source":"/","Target":"/host"}]"#,
        r#""Mounts":[{"Type":"volume","Target":"/host","VolumeOptions":{"DriverConfig":{"Options":{"type":"none","o":"bind","device":"/"}}}}]"#,
        r#""Mounts":[{"Type":"tmpfs","type":"bind","Source":"","source":"/","Target":"/host"}]"#,
        r#""Privileged":true"#,
        r#""privileged":true"#,
        r#""Privileged":false,"Privileged":true"#,
        r#""Privileged":"true""#,
        r#""CapAdd":["SYS_ADMIN"]"#,
        r#""PidMode":"host""#,
        r#""PidMode":"container:theirs""#,
        r#""IpcMode":"host""#,
        r#""UTSMode":"host""#,
        r#""UsernsMode":"host""#,
        r#""CgroupnsMode":"host""#,
        r#""CgroupParent":"/""#,
        r#""NetworkMode":"host""#,
        r#""NetworkMode":"container:theirs""#,
        r#""NetworkMode":"none","networkmode":"host""#,
        r#""NetworkMode":"my-net""#,
        r#""NetworkMode":["host"]"#,
        r#""Devices":[{"PathOnHost":"/dev/sda"}]"#,
        r#""DeviceRequests":[{"Count":-1}]"#,
        r#""DeviceCgroupRules":["a *:* rwm"]"#,
        r#""SecurityOpt":["seccomp=unconfined"]"#,
        r#""SecurityOpt":["apparmor=unconfined"]"#,
        r#""SecurityOpt":["systempaths=unconfined"]"#,
        r#""MaskedPaths":[]"#,
        r#""ReadonlyPaths":[]"#,
        r#""VolumesFrom":["theirs"]"#,
        r#""Links":["theirs:x"]"#,
        r#""Sysctls":{"kernel.core_pattern":"|/x"}"#,
        r#""Runtime":"other""#,
        r#""PortBindings":{"80/tcp":[{"HostPort":"80"}]}"#,
        r#""PublishAllPorts":true"#,
        r#""RestartPolicy":{"Name":"always"}"#,
        r#""LogConfig":{"Type":"syslog","Config":{"syslog-address":"tcp://x"}}"#,
        r#""LogConfig":{"Type":"json-file","Config":{"env":"x"}}"#,
        r#""OomKillDisable":true"#,
        r#""GroupAdd":["0"]"#,
        r#""ExtraHosts":["x:host-gateway"]"#,
        r#""Annotations":{"run.oci.keep_original_groups":"1"}"#,
        r#""Unknown":null"#,
    ] {
        let text = format!(r#"{{"Image":"alpine","HostConfig":{{{part}}}}}"#);
        assert!(ask(true, &text).is_err(), "{part}: {:?}", ask(true, &text));
    }
    for text in [
        r#"{"Image":"evil.example/x"}"#,
        r#"{"Image":"sha256:0123456789012345678901234567890123456789012345678901234567890123"}"#,
        r#"{"Image":"alpine","image":"evil"}"#,
        r#"{"Cmd":["x"]}"#,
        r#"{"Image":"alpine","Volumes":{"/x":{}}}"#,
        r#"{"Image":"alpine","hostConfig":{"Privileged":true}}"#,
        r#"{"Image":"alpine","HostConfig":{},"Binds":["/:/x"]}"#,
        r#"{"Image":"alpine","NetworkingConfig":{"EndpointsConfig":{"host":{}}}}"#,
        r#"{"Image":"alpine","NetworkingConfig":{"EndpointsConfig":{"none":{"Links":["theirs"]}}}}"#,
        r#"[]"#,
        r#"{"Image":"alpine"} {"HostConfig":{"Privileged":true}}"#,
        "",
    ] {
        assert!(ask(true, text).is_err(), "{text}");
    }
    let rules =
        EngineRules { engine: "/e".into(), allow: vec![Verb::Exec], images: Vec::new(), tags: Vec::new() };
    let exec = |text: &str| create(&rules, Body::Exec, text.as_bytes());
    assert!(
        exec(r#"{"Cmd":["x"],"Privileged":false}"#).is_ok()
            && exec(r#"{"Cmd":["x"],"Privileged":true}"#).is_err()
    );
    assert!(exec(r#"{"Cmd":["x"],"privileged":true}"#).is_err());
}

#[test]
fn of_what_stands_twice_the_judged_one_is_sent() {
    let made = ask(
        false,
        r#"{"Image":"alpine","HostConfig":{"NetworkMode":"host"},"HostConfig":{"NetworkMode":"none"}}"#,
    );
    assert_eq!(made.unwrap()["HostConfig"]["NetworkMode"], "none");
}
