//! Keys of AWS: the task signs with made-up ones, the gateway signs anew; shown with boto3 against a server that checks signatures.

use ringfence_promises::{Outcome, World};

const NETWORK: &str = "allow = [{ host = \"allowed.example\", port = 8443, tls = true }, { host = \"denied.example\", methods = [\"GET\"] }]";

/// The official client and the server, from PyPI; kept beside what was built.
fn place() -> String {
    ringfence_promises::python("sdk-aws", "moto", &["boto3", "moto[s3]", "flask", "flask-cors"])
}

/// In a world with that server. `$KEYS` of the host names the real keys.
fn run(world: &World, credentials: &str, ask: &str) -> Outcome {
    let place = place();
    let policy = world.policy(&format!("{NETWORK}\n{credentials}"));
    let text = std::fs::read_to_string(&policy).unwrap();
    let text = text.replace("read = [", &format!("exec = [\"{place}\"]\nread = ["));
    std::fs::write(&policy, text).unwrap();
    world.place.write("ask.py", ask);
    world.host(&format!(
        "export SSL_CERT_FILE=$BASE/ca.pem; PYTHONPATH={place} python3 {} 203.0.113.10 8443 > $BASE/moto.log 2>&1 & server=$!; \
         for i in $(seq 300); do grep -q Running $BASE/moto.log && break; sleep 0.1; done; test -f $BASE/keys || cat $BASE/moto.log >&2; . $BASE/keys; \
         \"$RF\" run --quiet --policy {policy} --workspace . -- env PYTHONPATH={place} PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 ask.py; \
         status=$?; kill $server; exit $status",
        concat!(env!("CARGO_MANIFEST_DIR"), "/world/aws.py"),
    ))
}

/// No part of the real keys is in what the task printed or what was written down; the id of them either.
fn nowhere(world: &World, outcome: &Outcome) {
    assert!(world.base.join("keys").is_file(), "{outcome:?}");
    let session: serde_json::Value = serde_json::from_str(&world.log("session")).unwrap();
    let keys = world.log("keys");
    let mut secrets: Vec<String> = keys
        .split([' ', '\n'])
        .filter_map(|word| Some(word.split_once('=')?.1.trim_matches('\'').to_owned()))
        .collect();
    secrets.extend(
        ["AccessKeyId", "SecretAccessKey", "SessionToken"]
            .map(|key| session[key].as_str().unwrap().to_owned()),
    );
    assert_eq!(secrets.len(), 5, "{secrets:?}");
    let events = serde_json::to_string(&world.events()).unwrap();
    for secret in secrets {
        assert!(secret.len() > 10, "{secret}");
        for text in [&outcome.out, &outcome.err, &events] {
            assert!(!text.contains(&secret), "{secret}: {text}");
        }
    }
}

const ASK: &str = r#"
import io, os, sys, urllib.request, urllib.error
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
place = "https://allowed.example:8443"
print("made up", os.environ["AWS_ACCESS_KEY_ID"][:3], len(os.environ["AWS_SECRET_ACCESS_KEY"]), os.environ.get("AWS_SESSION_TOKEN", "none")[:0])
def client(kind, **more):
    own = Config(signature_version="s3v4" if kind == "s3" else None, retries={"max_attempts": 1}, s3={"addressing_style": "path"}, **more.pop("config", {}))
    return boto3.client(kind, endpoint_url=place, region_name="us-east-1", config=own, **more)
def tried(name, call):
    try:
        print(name, call())
    except ResponseParserError as error:
        print(name, "failed 403" if '"status":403' in str(error) else "failed", error)
    except (ClientError, urllib.error.HTTPError) as error:
        text = error.read().decode() if hasattr(error, "read") else ""
        status = error.code if hasattr(error, "code") else error.response["ResponseMetadata"]["HTTPStatusCode"]
        print(name, "failed", status, text, error)
def get(address, **headers):
    return urllib.request.urlopen(urllib.request.Request(address, headers=headers)).read().decode()
"#;

#[test]
fn a_client_that_signs_with_made_up_keys_is_signed_anew() {
    let world = World::new();
    let credentials = "[credentials.store]\nsource = { env = \"AWS_SECRET_ACCESS_KEY\" }\nhosts = [\"allowed.example:8443\"]\n\
                       inject = \"sigv4:us-east-1/s3\"\nexpose = { env = \"AWS_SECRET_ACCESS_KEY\", file = \"~/.aws/credentials\" }";
    let ask = format!(
        "{ASK}{}",
        r##"
s3 = client("s3")
s3.create_bucket(Bucket="things")
big = os.urandom(9 << 20)
s3.put_object(Bucket="things", Key="a b/+~\u1234%.txt", Body=b"first")
s3.upload_fileobj(io.BytesIO(big), "things", "big")
print("same", s3.get_object(Bucket="things", Key="big")["Body"].read() == big)
print("odd", s3.get_object(Bucket="things", Key="a b/+~\u1234%.txt")["Body"].read())
print("listed", [one["Key"] for one in s3.list_objects_v2(Bucket="things", Prefix="a b/+")["Contents"]])
for checksum in ("when_supported", "when_required"):
    own = client("s3", config=dict(request_checksum_calculation=checksum))
    tried("whole " + checksum, lambda: own.put_object(Bucket="things", Key="w", Body=b"w")["ResponseMetadata"]["HTTPStatusCode"])
signed = s3.generate_presigned_url("get_object", Params=dict(Bucket="things", Key="w"))
tried("presigned", lambda: get(signed))
for name, value in [k for k in os.environ.items() if k[0].startswith("AWS_") and "KEY" in k[0]]:
    del os.environ[name]
tried("file", lambda: client("s3").head_object(Bucket="things", Key="w")["ContentLength"])
tried("other service", lambda: client("sts").get_caller_identity()["Arn"])
tried("other keys", lambda: client("s3", aws_access_key_id="AKIAATTACKER", aws_secret_access_key="x").list_buckets())
tried("changed", lambda: get(signed.replace("/w?", "/big?")))
tried("elsewhere", lambda: get(signed.replace("allowed.example:8443", "denied.example")))
import configparser
own = configparser.ConfigParser()
own.read(os.path.expanduser("~/.aws/credentials"))
tried("secret key", lambda: get(place + "/x", **{"x-amz-meta-x": own["default"]["aws_secret_access_key"]}))
from botocore.auth import S3SigV4Auth
class Parts(S3SigV4Auth):
    def payload(self, request):
        return "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
from botocore.awsrequest import AWSRequest
asked = AWSRequest("PUT", place + "/things/parts", data=b"x")
Parts(boto3.Session().get_credentials(), "s3", "us-east-1").add_auth(asked)
tried("parts", lambda: urllib.request.urlopen(urllib.request.Request(asked.url, b"x", dict(asked.headers), method="PUT")).read())
"##
    );
    let outcome = run(&world, credentials, &ask);
    nowhere(&world, &outcome);
    for line in [
        "same True",
        "odd b'first'",
        "listed ['a b/+~\u{1234}%.txt']",
        "whole when_supported 200",
        "whole when_required 200",
        "presigned w\n",
        "file 1\n",
        "other service failed 403",
        "other keys failed 403",
        "changed failed 403",
        "elsewhere failed 403",
        "secret key failed 403",
        "parts failed 403",
    ] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?} {}", world.log("moto.log"));
    }
    let rules: Vec<String> = world
        .events()
        .iter()
        .filter(|event| event["kind"] == "credential.deny")
        .map(|event| event["detail"]["rule"].as_str().unwrap().to_owned())
        .collect();
    for rule in [
        "signed for `us-east-1/sts`",
        "something else than the placeholder",
        "does not hold",
        "add the host",
        "one by one",
        "x-amz-meta-x",
    ] {
        assert!(rules.iter().any(|own| own.contains(rule)), "{rule}: {rules:#?}");
    }
    assert!(!world.log("moto.log").contains("/parts"), "{}", world.log("moto.log"));
}

/// Today's clients send bodies by `Content-Encoding: aws-chunked`, with a line before each MiB.
#[test]
fn uploads_in_parts_are_looked_through() {
    let world = World::new();
    let credentials = "[credentials.store]\nsource = { env = \"AWS_SECRET_ACCESS_KEY\" }\nhosts = [\"allowed.example:8443\"]\n\
                       inject = \"sigv4:us-east-1/s3\"\nexpose = { env = \"AWS_SECRET_ACCESS_KEY\" }\n[leaks]\nscan = [\"egress\"]";
    let ask = format!(
        "{ASK}{}",
        r##"
import gzip
s3 = client("s3")
sent = []
s3.meta.events.register("before-send.s3.*", lambda request, **_: sent.append(str(request.headers.get("Content-Encoding"))))
s3.create_bucket(Bucket="things")
token = b"gh" + b"p_" + b"aB3dE5fG7hI9jK1lM2nO4pQ6rS8tU0vW1xY2"
put = lambda key, body, **more: s3.put_object(Bucket="things", Key=key, Body=body, **more)["ResponseMetadata"]["HTTPStatusCode"]
big = bytes(range(32, 127)) * 30000
for name, body, more in [
    ("small", b"text", {}), ("large", big, {}), ("packed", gzip.compress(big), dict(ContentEncoding="gzip")),
    ("secret", b"a " + token + b" b", {}), ("late secret", big + token, {}),
    ("divided secret", b"x" * ((1 << 20) - 21) + b" " + token + b" " + big, {}),
    ("packed secret", gzip.compress(big + token), dict(ContentEncoding="gzip")),
]:
    del sent[:]
    tried(name, lambda: put(name, body, **more))
    print("as", name, sent)
packed = gzip.compress(big + token)
cut = b"".join(b"%x\r\n%s\r\n" % (len(packed[at:at + 9]), packed[at:at + 9]) for at in range(0, len(packed), 9)) + b"0\r\n\r\n"
for name, body in [("cut", cut), ("raw", b"no size"), ("open", b"9\r\nno"), ("none", b"4\r\ntext\r\n0\r\n\r\n")]:
    request = urllib.request.Request(place + "/things/" + name, body, {"Content-Encoding": "aws-chunked"}, method="PUT")
    tried("by hand " + name, lambda: urllib.request.urlopen(request).status)
print("there", [one["Key"] for one in s3.list_objects_v2(Bucket="things")["Contents"]])
"##
    );
    let outcome = run(&world, credentials, &ask);
    for line in [
        "small 200",
        "large 200",
        "packed 200",
        "secret failed",
        "late secret failed",
        "divided secret failed",
        "packed secret failed",
        "by hand cut failed 403 {",
        "by hand raw failed 403 {",
        "by hand open failed 403",
        "as divided secret [\"b'aws-chunked'\"]",
        "as packed secret [\"b'gzip,aws-chunked'\"]",
        "there ['large', 'packed', 'small']",
    ] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?} {}", world.log("moto.log"));
    }
    let found: Vec<_> = world.events().into_iter().filter(|event| event["kind"] == "leak").collect();
    let times: i64 = found.iter().filter_map(|event| event["detail"]["times"].as_i64()).sum();
    assert_eq!(times, 7, "{found:#?}");
}

#[test]
fn keys_of_a_session_come_from_a_process_and_bodies_are_signed() {
    let world = World::new();
    let base = world.base.display();
    let credentials = format!(
        "[credentials.session]\nsource = {{ command = [\"cat\", \"{base}/session\"] }}\nhosts = [\"allowed.example:8443\"]\n\
         inject = \"sigv4\"\nexpose = {{ env = \"AWS_SECRET_ACCESS_KEY\" }}"
    );
    let ask = format!(
        "{ASK}{}",
        r##"
print("token", "AWS_SESSION_TOKEN" in os.environ)
tried("who", lambda: client("sts").get_caller_identity()["Arn"])
s3 = client("s3")
tried("made", lambda: s3.create_bucket(Bucket="bucket")["ResponseMetadata"]["HTTPStatusCode"])
tried("put", lambda: s3.put_object(Bucket="bucket", Key="k", Body=b"v")["ResponseMetadata"]["HTTPStatusCode"])
tried("presigned", lambda: get(s3.generate_presigned_url("get_object", Params=dict(Bucket="bucket", Key="k"))))
tried("large", lambda: client("sts").assume_role(RoleArn="arn:aws:iam::123456789012:role/role", RoleSessionName="x" * (17 << 20)))
"##
    );
    let outcome = run(&world, &credentials, &ask);
    nowhere(&world, &outcome);
    for line in [
        "token False",
        "who arn:aws:sts::123456789012:",
        "made 200",
        "put 200",
        "presigned v\n",
        "large failed 403",
    ] {
        assert!(outcome.out.contains(line), "{line}: {outcome:?} {}", world.log("moto.log"));
    }
}

#[test]
fn a_policy_that_could_not_sign_is_refused() {
    let world = World::new();
    for (inject, expose, why) in [
        ("\"sigv4\"", "", "it has nothing to do that with"),
        ("\"sigv4\"", "expose = { env = \"KEY\" }", "does not say which variables"),
        ("\"sigv4\"", "expose = { git = true }", "a form of their own"),
        ("[\"sigv4\", \"bearer\"]", "expose = { env = \"AWS_SECRET_ACCESS_KEY\" }", "in no other way"),
        ("\"sigv4:s3\"", "expose = { env = \"AWS_SECRET_ACCESS_KEY\" }", "no region and service"),
    ] {
        let policy = world.policy(&format!(
            "{NETWORK}\n[credentials.x]\nsource = {{ env = \"AWS_SECRET_ACCESS_KEY\" }}\nhosts = [\"allowed.example:8443\"]\ninject = {inject}\n{expose}"
        ));
        let outcome = world.host(&format!(
            "AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=b \"$RF\" run --quiet --policy {policy} --workspace . -- echo started"
        ));
        assert!(outcome.status == 125 && outcome.err.contains(why), "{why}: {outcome:?}");
    }
}
