//! Published signatures: AWS's "Signature Version 4 test suite", and the examples of the S3 API reference.

use super::*;

const SUITE: Keys<'_> =
    Keys { id: "AKIDEXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token: None };
const S3: Keys<'_> =
    Keys { id: "AKIAIOSFODNN7EXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", token: None };
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const OTHER: Keys<'_> = Keys { id: "AKIAOTHER", secret: "other/secret", token: Some("a+token==") };

fn request(target: &str, headers: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::new(());
    *request.uri_mut() = target.parse().unwrap();
    for (name, value) in headers {
        request.headers_mut().append(*name, HeaderValue::from_str(value).unwrap());
    }
    request
}

fn set(request: &mut Request<()>, name: &'static str, text: &str) {
    assert!(put(request.headers_mut(), name, text).is_some());
}

fn suite(target: &str, signature: &str) -> Request<()> {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature={signature}"
    );
    let headers = [
        ("host", "example.amazonaws.com"),
        ("x-amz-date", "20150830T123600Z"),
        ("authorization", authorization.as_str()),
    ];
    request(target, &headers)
}

fn object() -> Request<()> {
    request(
        "/test.txt",
        &[
            ("host", "examplebucket.s3.amazonaws.com"),
            ("range", "bytes=0-9"),
            ("x-amz-date", "20130524T000000Z"),
            ("x-amz-content-sha256", EMPTY),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
        ],
    )
}

const PRESIGNED: &str = "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";

#[test]
fn published_signatures_hold_and_are_made_again() {
    for (target, signature) in [
        ("/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("/?Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        ("/%E1%88%B4", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
        ("/%E1%88%B4", "697b34846207a3f72246f99d74ae1ee4fe54f44bb06730c58a0d339eb079596d"),
    ] {
        let mut own = suite(target, signature);
        assert_eq!(sign(&mut own, SUITE, SUITE, None, Some(EMPTY)).as_deref(), Ok(signature), "{target}");
        let mut other = suite(target, signature);
        let made = sign(&mut other, SUITE, OTHER, None, Some(EMPTY)).unwrap();
        assert_ne!(made, signature);
        // What was made holds for whoever has those keys, and its token is signed along.
        assert_eq!(sign(&mut other, OTHER, OTHER, None, Some(EMPTY)), Ok(made));
        let written = other.headers()[header::AUTHORIZATION].to_str().unwrap();
        assert!(written.contains("SignedHeaders=host;x-amz-date;x-amz-security-token,"), "{written}");
        assert_eq!(other.headers()[TOKEN], "a+token==");
        // And back, without one.
        assert_eq!(sign(&mut other, OTHER, SUITE, None, Some(EMPTY)).as_deref(), Ok(signature));
        assert!(!other.headers().contains_key(TOKEN));
    }
    let signature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
    assert_eq!(sign(&mut object(), S3, S3, None, None).as_deref(), Ok(signature));
}

#[test]
fn a_signature_in_the_query_is_made_anew_there() {
    let mut own = request(PRESIGNED, &[("host", "examplebucket.s3.amazonaws.com")]);
    assert!(signed(&own) && !needs_body(&own));
    let signature = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    assert_eq!(sign(&mut own, S3, S3, None, None).as_deref(), Ok(signature));
    assert_eq!(own.uri().to_string(), PRESIGNED);
    let made = sign(&mut own, S3, OTHER, None, None).unwrap();
    let text = own.uri().to_string();
    assert!(
        text.contains("Credential=AKIAOTHER%2F2013") && text.contains("Security-Token=a%2Btoken%3D%3D"),
        "{text}"
    );
    assert!(text.contains(&format!("X-Amz-Signature={made}")) && !text.contains("AKIAIOS"), "{text}");
    assert_eq!(sign(&mut own, OTHER, OTHER, None, None), Ok(made));
}

#[test]
fn what_was_not_signed_so_is_not_signed() {
    let scope = |region: &str, service: &str| AwsScope { region: region.into(), service: service.into() };
    let (own, other) = (scope("us-east-1", "s3"), scope("us-east-1", "iam"));
    assert!(sign(&mut object(), S3, OTHER, Some(&own), None).is_ok());
    assert!(sign(&mut object(), S3, OTHER, Some(&other), None).unwrap_err().contains("policy signs for"));
    assert!(sign(&mut object(), SUITE, OTHER, None, None).unwrap_err().contains("other keys"));
    let change = |number: usize, request: &mut Request<()>| match number {
        0 => *request.method_mut() = hyper::Method::DELETE,
        1 => *request.uri_mut() = "/test.txt?acl".parse().unwrap(),
        2 => set(request, "range", "bytes=0-99"),
        3 => set(request, DATE, "20130525T000000Z"),
        4 => drop(request.headers_mut().remove(DATE)),
        _ => set(request, PAYLOAD, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
    };
    let reasons = ["does not hold", "does not hold", "does not hold", "another day", "no time", "one by one"];
    for (number, why) in reasons.into_iter().enumerate() {
        let mut request = object();
        change(number, &mut request);
        let before = request.headers().clone();
        assert!(sign(&mut request, S3, OTHER, None, None).unwrap_err().contains(why), "{why}");
        assert_eq!(*request.headers(), before);
    }
    for (from, to, why) in [
        ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", "signed by"),
        ("host;", "", "leaves out"),
        ("/aws4_request", "", "is not for"),
        ("Signature=", "Signed=", "not whole"),
    ] {
        let mut request = object();
        let text = request.headers()[header::AUTHORIZATION].to_str().unwrap().replace(from, to);
        set(&mut request, "authorization", &text);
        assert!(sign(&mut request, S3, OTHER, None, None).unwrap_err().contains(why), "{why}");
    }
}
