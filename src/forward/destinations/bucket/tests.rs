//! URLs, waits and answers of buckets.

use super::*;
use crate::forward::fixture::{secrets, stream};

fn base_of(config: S3) -> Result<String, String> {
    crate::tls::install_provider();
    let config = S3 { bucket: "logs".to_owned(), access_key_id: "AKIA".to_owned(), ..config };
    let secrets = secrets(&[("secret_access_key", "secret")]);
    let sink = BucketSink::s3(&stream(), &config, &secrets, &Egress::public())?;
    Ok(sink.base.to_string())
}

#[test]
fn a_bucket_has_its_url() {
    assert_eq!(base_of(S3::default()).unwrap(), "https://s3.us-east-1.amazonaws.com/logs/");
    let region = "cn-north-1".to_owned();
    let path = "/a b//ü/".to_owned();
    assert_eq!(
        base_of(S3 { region, path, ..S3::default() }).unwrap(),
        "https://s3.cn-north-1.amazonaws.com.cn/logs/a%20b/%C3%BC/"
    );
    let endpoint = "http://minio:9000/".to_owned();
    assert_eq!(base_of(S3 { endpoint, ..S3::default() }).unwrap(), "http://minio:9000/logs/");
    assert!(base_of(S3 { path: "a/../b".to_owned(), ..S3::default() }).is_err());
}

#[test]
fn nothing_of_a_stream_leads_the_services_credentials_elsewhere() {
    let role = || S3 { role_name: "writer".to_owned(), ..S3::default() };
    assert_eq!(base_of(role()).unwrap(), "https://s3.us-east-1.amazonaws.com/logs/");
    let region = "evil.example/".to_owned();
    assert!(base_of(S3 { region: region.clone(), ..role() }).is_err());
    assert!(base_of(S3 { region, ..S3::default() }).is_err());
    let endpoint = "https://evil.example".to_owned();
    let error = base_of(S3 { endpoint, ..role() }).unwrap_err();
    assert!(error.contains("endpoint"), "{error}");
}

#[test]
fn what_may_pass_is_put_again_soon_or_not_at_all() {
    let wait = |seconds: Option<u64>, tries| {
        wait(&FailureKind::Temporary { retry_after: seconds.map(Duration::from_secs) }, tries)
    };
    assert!(wait(None, 1).unwrap() <= FIRST_WAIT);
    assert!(wait(None, 3).unwrap() <= 4 * FIRST_WAIT);
    assert_eq!(wait(Some(2), 1), Some(Duration::from_secs(2)));
    assert_eq!(wait(Some(60), 1), None);
    assert_eq!(super::wait(&FailureKind::Invalid, 1), None);
}

#[test]
fn codes_of_s3_are_told_apart() {
    let kind = |status, code: &str| {
        let body = format!("<Error><Code>{code}</Code><Message>x</Message></Error>");
        judged(HttpAnswer { status, retry_after: None, body }).unwrap_err().kind
    };
    for (status, code) in [
        (403, "AccessDenied"),
        (403, "SignatureDoesNotMatch"),
        (404, "NoSuchBucket"),
        (301, "PermanentRedirect"),
        (400, "AuthorizationHeaderMalformed"),
        (400, "InvalidRequest"),
    ] {
        assert_eq!(kind(status, code), FailureKind::Invalid, "{code}");
    }
    for (status, code) in [
        (503, "SlowDown"),
        (500, "InternalError"),
        (400, "RequestTimeout"),
        (403, "RequestTimeTooSkewed"),
        (409, "OperationAborted"),
        (200, "InternalError"),
    ] {
        assert_eq!(kind(status, code), FailureKind::Temporary { retry_after: None }, "{code}");
    }
    assert_eq!(kind(400, "EntityTooLarge"), FailureKind::TooLarge);
    let taken = HttpAnswer { status: 200, retry_after: None, body: String::new() };
    assert!(judged(taken).is_ok());
}
