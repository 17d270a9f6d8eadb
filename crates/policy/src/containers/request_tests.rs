//! Requests to an engine, and what is made of them.

use super::super::Image;
use super::*;

fn rules(allow: &[Verb]) -> EngineRules {
    let image = |text: &str| Image::pattern(text).unwrap();
    EngineRules {
        engine: "/engine".into(),
        allow: allow.to_vec(),
        images: vec![image("alpine:3.*")],
        tags: vec![image("localhost/acme/*")],
    }
}

const ALL: &[Verb] =
    &[Verb::Read, Verb::Inspect, Verb::Pull, Verb::Build, Verb::Run, Verb::Attach, Verb::Exec, Verb::Network];

fn ask(allow: &[Verb], method: &str, target: &str) -> Result<EngineRequest, String> {
    judge(&rules(allow), &Asked { method, target }, |name| name == "mine")
}

#[test]
fn what_is_named_is_let_through() {
    for (verb, method, target) in [
        (Verb::Read, "GET", "/v1.43/containers/json?all=1"),
        (Verb::Read, "GET", "/images/docker.io/library/alpine:3.1/json"),
        (Verb::Inspect, "GET", "/containers/theirs/json"),
        (Verb::Pull, "POST", "/images/create?fromImage=alpine&tag=3.20"),
        (Verb::Build, "POST", "/build?t=localhost%2Facme%2Fapp&dockerfile=a/Dockerfile&networkmode=none"),
        (Verb::Run, "POST", "/containers/create?name=x"),
        (Verb::Run, "POST", "/containers/mine/start"),
        (Verb::Run, "DELETE", "/v1.24/containers/mine?force=1"),
        (Verb::Run, "GET", "/containers/mine/logs?stdout=1"),
        (Verb::Attach, "POST", "/containers/mine/attach?stream=1"),
        (Verb::Exec, "POST", "/exec/abc/start"),
    ] {
        assert!(
            ask(&[verb], method, target).is_ok(),
            "{method} {target}: {:?}",
            ask(&[verb], method, target)
        );
        let others: Vec<Verb> =
            ALL.iter().copied().filter(|other| *other != verb && *other != Verb::Inspect).collect();
        assert!(ask(&others, method, target).is_err(), "{method} {target}");
    }
    let asked = ask(&[Verb::Pull], "POST", "/v1.43/images/create?fromImage=alpine&tag=3.20").unwrap();
    assert_eq!(asked.query, [("fromImage".to_owned(), "docker.io/library/alpine:3.20".to_owned())]);
    let asked = ask(&[Verb::Run], "POST", "/v1.43/containers/mine/wait?condition=next-exit").unwrap();
    assert_eq!(asked.version, "/v1.43");
    assert_eq!(asked.path, ("/containers/".to_owned(), "/wait".to_owned()));
    assert_eq!(asked.subject, Subject::Container("mine".to_owned()));
    assert!(ask(&[], "HEAD", "/_ping").is_ok() && ask(&[], "GET", "/v1.43/version").is_ok());
}

#[test]
fn everything_else_is_refused_whatever_is_named() {
    for (method, target) in [
        ("POST", "/containers/theirs/start"),
        ("POST", "/containers/theirs/exec"),
        ("POST", "/containers/theirs/attach"),
        ("DELETE", "/containers/theirs"),
        ("POST", "/containers/prune"),
        ("PUT", "/containers/mine/archive?path=/"),
        ("GET", "/containers/theirs/archive?path=/"),
        ("GET", "/containers/mine/export"),
        ("POST", "/containers/mine/update"),
        ("POST", "/containers/mine/rename?name=x"),
        ("POST", "/commit?container=mine"),
        ("POST", "/images/load"),
        ("POST", "/images/create?fromSrc=http://x/"),
        ("POST", "/images/create?fromImage=alpine&fromSrc=-"),
        ("POST", "/images/create?fromImage=evil.example/x"),
        ("POST", "/images/create?fromImage=alpine&tag=edge"),
        ("POST", "/images/create?fromImage=alpine:3.1&fromImage=evil"),
        ("POST", "/images/alpine/push"),
        ("DELETE", "/images/alpine"),
        ("POST", "/images/alpine/tag?repo=x"),
        ("POST", "/volumes/create"),
        ("POST", "/networks/create"),
        ("POST", "/build?remote=http://x/"),
        ("POST", "/build?networkmode=host"),
        ("POST", "/build?networkmode=container:theirs"),
        ("POST", "/build?volume=/:/host"),
        ("POST", "/build?outputs=type%3Dlocal%2Cdest%3D/"),
        ("POST", "/build?t=alpine:3.20"),
        ("POST", "/build?t=localhost/acme/app&t=alpine"),
        ("POST", "/build?dockerfile=../../etc/passwd"),
        ("POST", "/build?dockerfile=/etc/passwd"),
        ("POST", "/build?dockerfile=%5B%22../x%22%5D"),
        ("POST", "/build?version=2"),
        ("POST", "/session"),
        ("POST", "/grpc"),
        ("POST", "/plugins/pull"),
        ("GET", "/secrets"),
        ("GET", "/events"),
        ("POST", "/auth"),
        ("GET", "/v4.0.0/libpod/info"),
        ("GET", "/libpod/containers/json"),
        ("POST", "/v1.18/containers/mine/start"),
        ("GET", "/v1.43/v1.43/info"),
        ("GET", "//info"),
        ("GET", "/./info"),
        ("GET", "/containers/../info"),
        ("GET", "/containers/%2e%2e/info"),
        ("GET", "/containers/json/"),
        ("GET", "/containers%2fjson"),
        ("GET", "/containers/json?x=1"),
        ("GET", "/containers/json?all=1&all=0"),
        ("GET", "/containers/json;x"),
        ("GET", "http://other/info"),
        ("GET", "*"),
        ("get", "/info"),
        ("OPTIONS", "/info"),
        ("CONNECT", "/info"),
    ] {
        assert!(ask(ALL, method, target).is_err(), "{method} {target}: {:?}", ask(ALL, method, target));
    }
}
