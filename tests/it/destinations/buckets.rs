//! Buckets on a real S3 server (moto), which checks signatures and policies.

use std::{
    io::Read,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use audit_logs::{
    domain::destination::{self, BucketLayout, Destination},
    forward::{
        Egress, FailureKind, Sink,
        aws::{AssumedRole, Signer, element, sign},
        http::HttpSender,
    },
};
use object_store::{StaticCredentialProvider, aws::AwsCredential};
use reqwest::{Method, Request};
use serde_json::Value;

use super::{NOW, batch, id, open, secrets, stream_to};
use crate::{
    object_store::bucket::{is_installed, moto},
    support::{postgres::free_port, until},
};

const BUCKET: &str = "audit.logs-1";
/// What every request of the setup is, before the server checks signatures.
const SETUP_REQUESTS: usize = 9;
/// All that the service needs.
const WRITES: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Action":["s3:PutObject","sts:AssumeRole"],"Resource":"*"}]}"#;
/// Who may assume the role.
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Action":"sts:AssumeRole",
     "Principal":{"AWS":"arn:aws:iam::123456789012:user/writer"},
     "Condition":{"StringEquals":{"sts:ExternalId":"external-1"}}}]}"#;
/// What the tests look with.
const READS: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket"],"Resource":"*"}]}"#;

/// The server, with a user who may put objects and assume a role that may too.
struct Moto {
    server: Child,
    url: String,
    key_id: String,
    secret: String,
    reader: Option<Signer>,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Moto {
    async fn start() -> Option<Self> {
        if !is_installed() {
            return None;
        }
        audit_logs::tls::install_provider();
        let port = free_port();
        let server = Command::new(moto())
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .env("INITIAL_NO_AUTH_ACTION_COUNT", SETUP_REQUESTS.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let mut moto =
            Self { server, url, key_id: String::new(), secret: String::new(), reader: None };
        let http = reqwest::Client::builder().build().unwrap();
        until("moto makes a bucket", async || {
            let bucket = format!("{}/{BUCKET}", moto.url);
            http.put(bucket).send().await.ok()?.error_for_status().ok()
        })
        .await;
        let reader = moto.user("reader", READS).await;
        moto.reader = Some(Signer::key(&reader.0, &reader.1).unwrap());
        (moto.key_id, moto.secret) = moto.user("writer", WRITES).await;
        let trust = format!("&AssumeRolePolicyDocument={}", escaped(TRUST));
        moto.iam(&format!("CreateRole&RoleName=writer{trust}")).await;
        let policy = format!("&PolicyName=p&PolicyDocument={}", escaped(WRITES));
        moto.iam(&format!("PutRolePolicy&RoleName=writer{policy}")).await;
        Some(moto)
    }

    /// Makes a user; gives the id and the secret of a key.
    async fn user(&self, name: &str, policy: &str) -> (String, String) {
        self.iam(&format!("CreateUser&UserName={name}")).await;
        let policy = format!("&PolicyName=p&PolicyDocument={}", escaped(policy));
        self.iam(&format!("PutUserPolicy&UserName={name}{policy}")).await;
        let key = self.iam(&format!("CreateAccessKey&UserName={name}")).await;
        let part = |name| element(&key, name).unwrap().to_owned();
        (part("AccessKeyId"), part("SecretAccessKey"))
    }

    async fn iam(&self, action: &str) -> String {
        let scope = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/iam/aws4_request";
        let http = reqwest::Client::builder().build().unwrap();
        let request = http
            .post(&self.url)
            .header("authorization", format!("{scope}, SignedHeaders=host, Signature=x"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("Action={action}&Version=2010-05-08"));
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{action}: {text}");
        text
    }

    fn s3(&self, layout: BucketLayout) -> Destination {
        Destination::S3(destination::S3 {
            bucket: BUCKET.to_owned(),
            path: "audit/some logs".to_owned(),
            access_key_id: self.key_id.clone(),
            layout,
            endpoint: self.url.clone(),
            ..destination::S3::default()
        })
    }

    fn sink(destination: Destination, secret: &str) -> Arc<dyn Sink> {
        open(&stream_to(destination, ""), &secrets(&[("secret_access_key", secret)]))
    }

    /// Names of the objects, and what is in them.
    async fn objects(&self) -> Vec<(String, Vec<u8>)> {
        let http = reqwest::Client::builder().build().unwrap();
        let credential = self.reader.as_ref().unwrap().credential(false).await.unwrap();
        let get = async |path: &str| {
            let url = format!("{}/{BUCKET}{path}", self.url).parse().unwrap();
            let mut request = Request::new(Method::GET, url);
            sign(&mut request, &credential, "s3", "us-east-1", Vec::new().into()).unwrap();
            http.execute(request).await.unwrap().bytes().await.unwrap()
        };
        let listing = get("?list-type=2").await;
        let listing = String::from_utf8(listing.to_vec()).unwrap();
        let mut objects = Vec::new();
        for part in listing.split("<Key>").skip(1) {
            let key = part.split_once("</Key>").unwrap().0.to_owned();
            let path: Vec<_> = key.split('/').map(escaped).collect();
            let path = format!("/{}", path.join("/"));
            objects.push((key, get(&path).await.to_vec()));
        }
        objects
    }
}

fn escaped(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

fn ids_in(objects: &[(String, Vec<u8>)]) -> Vec<String> {
    let id = |body: &[u8]| {
        let event: Value = serde_json::from_slice(body).unwrap();
        event["id"].as_str().unwrap().to_owned()
    };
    objects.iter().map(|(_, body)| id(body)).collect()
}

#[tokio::test]
async fn a_file_per_event() {
    let Some(moto) = Moto::start().await else { return };
    let sink = Moto::sink(moto.s3(BucketLayout::FilePerEvent), &moto.secret);
    let events = batch(&*sink, 0, 40, 10);
    sink.send(&events, NOW).await.unwrap();
    // A redelivery replaces.
    sink.send(&events, NOW).await.unwrap();
    let objects = moto.objects().await;
    assert_eq!(ids_in(&objects).len(), 40, "{objects:?}");
    let mut found = ids_in(&objects);
    found.sort();
    assert_eq!(found, super::ids(0..40));
    let (name, body) = &objects[0];
    assert!(name.starts_with("audit/some logs/2026-11-02/2026-11-02T"), "{name}");
    assert!(
        body.starts_with(b"{\n  \"id\": \"audit_event_"),
        "{:?}",
        String::from_utf8_lossy(body)
    );
}

#[tokio::test]
async fn lines_and_a_manifest() {
    let Some(moto) = Moto::start().await else { return };
    let sink = Moto::sink(moto.s3(BucketLayout::NdjsonGzip), &moto.secret);
    let events = batch(&*sink, 100, 50, 10);
    sink.send(&events, NOW).await.unwrap();
    sink.send(&events, NOW.plus_seconds(60)).await.unwrap();
    let objects = moto.objects().await;
    let [manifest, file] = &*objects else { panic!("{objects:?}") };
    let head = "audit/some logs/org=org_acme/dt=2026-11-02/hh=08/000000000100-000000000149_";
    assert!(file.0.starts_with(head) && file.0.ends_with(".ndjson.gz"), "{}", file.0);
    let mut lines = String::new();
    flate2::read::GzDecoder::new(&*file.1).read_to_string(&mut lines).unwrap();
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((lines.lines().count(), first["id"].as_str()), (50, Some(&*id(100))));
    let manifest: Value = serde_json::from_slice(&manifest.1).unwrap();
    assert_eq!(manifest["events"], 50);
    assert_eq!(manifest["bytes"], file.1.len());
    assert!(file.0.ends_with(manifest["file"].as_str().unwrap()));
}

#[tokio::test]
async fn google_cloud_storage_has_no_day_in_names() {
    let Some(moto) = Moto::start().await else { return };
    let destination = Destination::GoogleCloudStorage(destination::GoogleCloudStorage {
        bucket: BUCKET.to_owned(),
        access_key_id: moto.key_id.clone(),
        endpoint: moto.url.clone(),
        ..destination::GoogleCloudStorage::default()
    });
    let sink = Moto::sink(destination, &moto.secret);
    sink.send(&batch(&*sink, 0, 2, 10), NOW).await.unwrap();
    let objects = moto.objects().await;
    assert!(objects.len() == 2 && objects[0].0.starts_with("2026-11-02T"), "{objects:?}");
}

#[tokio::test]
async fn what_s3_refuses_is_a_matter_of_configuration() {
    let Some(moto) = Moto::start().await else { return };
    let events = |sink: &Arc<dyn Sink>| batch(&**sink, 0, 2, 10);
    let sink = Moto::sink(moto.s3(BucketLayout::FilePerEvent), "another-secret");
    let failure = sink.send(&events(&sink), NOW).await.unwrap_err();
    assert_eq!((failure.kind, failure.http_status), (FailureKind::Invalid, Some(403)));
    assert!(failure.message.contains("SignatureDoesNotMatch"), "{}", failure.message);
    assert!(!failure.message.contains("another-secret"));
    let Destination::S3(mut config) = moto.s3(BucketLayout::NdjsonGzip) else { panic!() };
    config.bucket = "another".to_owned();
    let sink = Moto::sink(Destination::S3(config), &moto.secret);
    let failure = sink.send(&events(&sink), NOW).await.unwrap_err();
    assert_eq!((failure.kind, failure.http_status), (FailureKind::Invalid, Some(404)));
    assert!(moto.objects().await.is_empty());
}

#[tokio::test]
async fn a_role_is_assumed_with_an_external_id() {
    let Some(moto) = Moto::start().await else { return };
    let egress = Egress::parse("*").unwrap().with_request_timeout(Duration::from_secs(5));
    let sender = HttpSender::new(&egress, "").unwrap();
    let role = |secret: &str, external_id: &str| {
        let own = AwsCredential {
            key_id: moto.key_id.clone(),
            secret_key: secret.to_owned(),
            token: None,
        };
        let own = Arc::new(StaticCredentialProvider::new(own));
        let arn = "arn:aws:iam::123456789012:role/writer";
        let url = moto.url.parse().unwrap();
        let role = AssumedRole::new(sender.clone(), url, "us-east-1", arn, external_id, own);
        Signer::Role(Box::new(role))
    };
    let signer = role(&moto.secret, "external-1");
    let first = signer.credential(false).await.unwrap();
    assert!(first.key_id.starts_with("ASIA") && first.token.is_some());
    assert_eq!(signer.credential(false).await.unwrap().key_id, first.key_id, "it is kept");
    assert_ne!(signer.credential(true).await.unwrap().key_id, first.key_id, "it is renewed");
    let url = format!("{}/{BUCKET}/by-role.json", moto.url).parse().unwrap();
    let mut request = Request::new(Method::PUT, url);
    sign(&mut request, &first, "s3", "us-east-1", "{}".into()).unwrap();
    let answer = sender.send(request).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    for wrong in [role("another", "external-1"), role(&moto.secret, "external-2")] {
        let failure = wrong.credential(false).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Invalid);
        assert!(failure.message.starts_with("the role cannot be assumed"), "{}", failure.message);
    }
}
