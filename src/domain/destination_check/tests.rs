//! What is refused of a destination.

use super::*;

fn violations(destination: &Destination, secrets: &[(&str, &str)]) -> Vec<(String, Reason)> {
    let mut held = Secrets::default();
    for (name, value) in secrets {
        held.set(*name, *value);
    }
    let mut violations = Violations::default();
    let rules = DestinationRules::default();
    check_destination(destination, "", &held, rules, &mut violations);
    violations.into_found().into_iter().map(|found| (found.field, found.reason)).collect()
}

#[test]
fn a_complete_destination_is_accepted() {
    let splunk = Splunk { url: "https://splunk.example:8088".into(), ..Default::default() };
    assert_eq!(violations(&Destination::Splunk(splunk), &[("hec_token", "t")]), []);
    let s3 = S3 {
        bucket: "logs".into(),
        role_name: "writer".into(),
        account_id: "123456789012".into(),
        ..Default::default()
    };
    assert_eq!(violations(&Destination::S3(s3), &[]), []);
}

#[test]
fn every_missing_member_is_named() {
    let found = violations(&Destination::Datadog(Datadog::default()), &[]);
    let field = |name: &str| (format!("destination.datadog.{name}"), Reason::Required);
    assert_eq!(found, [field("api_key"), field("region")]);
}

#[test]
fn urls_are_https_and_carry_no_credentials() {
    for bad in ["ftp://a.example", "http://a.example", "https://u:p@a.example", "a.example"] {
        let splunk = Splunk { url: bad.into(), ..Default::default() };
        let found = violations(&Destination::Splunk(splunk), &[("hec_token", "t")]);
        assert_eq!(found.len(), 1, "{bad}");
    }
}

#[test]
fn a_region_is_no_part_of_a_url() {
    let found = |region: &str| {
        let (bucket, key) = ("logs".to_owned(), "AKIA".to_owned());
        let s3 = S3 { bucket, region: region.into(), access_key_id: key, ..S3::default() };
        violations(&Destination::S3(s3), &[("secret_access_key", "s")])
    };
    for good in ["", "us-east-1", "eu-central-2", "cn-north-1", "auto", &"a".repeat(32)] {
        assert_eq!(found(good), [], "{good}");
    }
    let field = "destination.s3.region".to_owned();
    for bad in
        ["evil.example/", "a.b", "a@b", "a:1", "a b", "US-EAST-1", "ä", "a?", &"a".repeat(33)]
    {
        assert_eq!(found(bad), [(field.clone(), Reason::InvalidCharacters)], "{bad}");
    }
}

#[test]
fn a_role_is_only_assumed_at_amazon() {
    let s3 = S3 {
        bucket: "logs".into(),
        role_name: "writer".into(),
        account_id: "123456789012".into(),
        endpoint: "https://evil.example".into(),
        ..S3::default()
    };
    let found = violations(&Destination::S3(s3), &[]);
    assert_eq!(found, [("destination.s3.endpoint".to_owned(), Reason::Conflict)]);
}

#[test]
fn headers_need_names_and_values_of_their_own() {
    let https = GenericHttps {
        url: "https://a.example".into(),
        headers: vec!["X-A".into(), "x-a".into(), "Host".into(), "b c".into()],
        ..Default::default()
    };
    let values = [("header:x-a", "1"), ("header:host", "1"), ("header:b c", "1")];
    let found = violations(&Destination::GenericHttps(https), &values);
    let reasons: Vec<_> = found.into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons, [Reason::Duplicate, Reason::Conflict, Reason::InvalidCharacters]);
}

#[test]
fn a_password_needs_tls() {
    let kafka = |tls| {
        Destination::Kafka(Kafka {
            bootstrap_servers: vec!["broker:9092".into()],
            topic: "audit".into(),
            tls,
            username: "acme".into(),
        })
    };
    let secrets = [("password", "p")];
    assert_eq!(violations(&kafka(true), &secrets), []);
    let field = "destination.kafka.tls".to_owned();
    assert_eq!(violations(&kafka(false), &secrets), [(field, Reason::Required)]);
    let mut held = Secrets::default();
    held.set("password", "p");
    let mut found = Violations::default();
    let rules = DestinationRules { allow_http: true };
    check_destination(&kafka(false), "", &held, rules, &mut found);
    assert!(found.into_found().is_empty());
}

#[test]
fn an_encrypted_key_needs_its_passphrase() {
    let text = || "a".to_owned();
    let snowflake = Destination::Snowflake(Snowflake {
        account_url: "https://acme.snowflakecomputing.com".into(),
        username: text(),
        warehouse: text(),
        database: text(),
        schema: text(),
        table: text(),
        role: String::new(),
    });
    let key = ("private_key_pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----");
    let field = "destination.snowflake.private_key_passphrase".to_owned();
    assert_eq!(violations(&snowflake, &[key]), [(field, Reason::Required)]);
    assert_eq!(violations(&snowflake, &[key, ("private_key_passphrase", "p")]), []);
    assert_eq!(violations(&snowflake, &[("private_key_pem", "-----BEGIN PRIVATE KEY-----")]), []);
}
