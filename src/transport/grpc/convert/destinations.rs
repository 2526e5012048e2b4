//! Destinations of log streams. Secrets go one way only.

use prost::UnknownEnumValue;

use crate::{
    domain::{
        destination::{
            AzureSentinel, BucketLayout, Datadog, Destination, GenericHttps, GoogleCloudStorage,
            HttpsFormat, Kafka, Otlp, S3, Secrets, Snowflake, Splunk, SplunkEncoding, Syslog,
            SyslogFormat, header_secret,
        },
        violation::{Reason, Violation},
    },
    proto::v1::{self, log_stream_destination::Kind},
    service::{error::Error, log_streams::DestinationDraft},
};

/// A destination as sent; `None` if none was. One with certificates alone is refused: they belong to a
/// kind.
pub fn draft(sent: Option<v1::LogStreamDestination>) -> Result<Option<DestinationDraft>, Error> {
    let v1::LogStreamDestination { kind, ca_certificates_pem } = sent.unwrap_or_default();
    let Some(kind) = kind else {
        if ca_certificates_pem.is_empty() {
            return Ok(None);
        }
        let why = "destination.kind is required with destination.ca_certificates_pem";
        return Err(vec![Violation::new("destination.kind", Reason::Required, why)].into());
    };
    let mut secrets = Secrets::default();
    let destination = match kind {
        Kind::Datadog(sent) => datadog(sent, &mut secrets),
        Kind::Splunk(sent) => splunk(sent, &mut secrets)?,
        Kind::AzureSentinel(sent) => azure_sentinel(sent, &mut secrets),
        Kind::S3(sent) => s3(sent, &mut secrets)?,
        Kind::GoogleCloudStorage(sent) => google_cloud_storage(sent, &mut secrets)?,
        Kind::Snowflake(sent) => snowflake(sent, &mut secrets),
        Kind::GenericHttps(sent) => generic_https(sent, &mut secrets)?,
        Kind::Syslog(sent) => syslog(sent)?,
        Kind::Otlp(sent) => otlp(sent, &mut secrets),
        Kind::Kafka(sent) => kafka(sent, &mut secrets),
    };
    Ok(Some(DestinationDraft { destination, secrets, ca_certificates_pem }))
}

fn datadog(sent: v1::DatadogDestination, secrets: &mut Secrets) -> Destination {
    let v1::DatadogDestination { api_key, region, source, endpoint } = sent;
    secrets.set("api_key", api_key);
    Destination::Datadog(Datadog { region, source, endpoint })
}

fn splunk(sent: v1::SplunkDestination, secrets: &mut Secrets) -> Result<Destination, Error> {
    use v1::SplunkEncoding as Sent;
    let encoding = match known(Sent::try_from(sent.encoding), "splunk.encoding")? {
        Sent::Unspecified | Sent::Concatenated => SplunkEncoding::Concatenated,
        Sent::Array => SplunkEncoding::Array,
    };
    let v1::SplunkDestination { hec_token, url, source, sourcetype, index, .. } = sent;
    let indexer_acknowledgement = sent.indexer_acknowledgement;
    secrets.set("hec_token", hec_token);
    Ok(Destination::Splunk(Splunk {
        url,
        source,
        sourcetype,
        index,
        encoding,
        indexer_acknowledgement,
    }))
}

fn azure_sentinel(sent: v1::AzureSentinelDestination, secrets: &mut Secrets) -> Destination {
    secrets.set("client_secret", sent.client_secret);
    Destination::AzureSentinel(AzureSentinel {
        tenant_id: sent.tenant_id,
        client_id: sent.client_id,
        data_collection_endpoint: sent.data_collection_endpoint,
        data_collection_rule_id: sent.data_collection_rule_id,
        stream_name: sent.stream_name,
        authority_url: sent.authority_url,
        token_scope: sent.token_scope,
    })
}

fn s3(sent: v1::S3Destination, secrets: &mut Secrets) -> Result<Destination, Error> {
    let layout = bucket_layout(sent.layout, "s3.layout")?;
    secrets.set("secret_access_key", sent.secret_access_key);
    Ok(Destination::S3(S3 {
        bucket: sent.bucket,
        region: sent.region,
        path: sent.path,
        account_id: sent.account_id,
        role_name: sent.role_name,
        // Made by the service.
        external_id: String::new(),
        access_key_id: sent.access_key_id,
        layout,
        endpoint: sent.endpoint,
    }))
}

fn google_cloud_storage(
    sent: v1::GoogleCloudStorageDestination,
    secrets: &mut Secrets,
) -> Result<Destination, Error> {
    let layout = bucket_layout(sent.layout, "google_cloud_storage.layout")?;
    secrets.set("secret_access_key", sent.secret_access_key);
    Ok(Destination::GoogleCloudStorage(GoogleCloudStorage {
        bucket: sent.bucket,
        access_key_id: sent.access_key_id,
        path: sent.path,
        layout,
        endpoint: sent.endpoint,
    }))
}

fn snowflake(sent: v1::SnowflakeDestination, secrets: &mut Secrets) -> Destination {
    secrets.set("private_key_pem", sent.private_key_pem);
    secrets.set("private_key_passphrase", sent.private_key_passphrase);
    Destination::Snowflake(Snowflake {
        account_url: sent.account_url,
        username: sent.username,
        warehouse: sent.warehouse,
        database: sent.database,
        schema: sent.schema,
        table: sent.table,
        role: sent.role,
    })
}

fn generic_https(
    sent: v1::GenericHttpsDestination,
    secrets: &mut Secrets,
) -> Result<Destination, Error> {
    use v1::HttpsFormat as Sent;
    let format = match known(Sent::try_from(sent.format), "generic_https.format")? {
        Sent::Unspecified | Sent::Json => HttpsFormat::Json,
        Sent::Ndjson => HttpsFormat::Ndjson,
    };
    secrets.set("signing_secret", sent.signing_secret);
    Ok(Destination::GenericHttps(GenericHttps {
        url: sent.url,
        headers: headers(sent.headers, secrets),
        format,
        source: sent.source,
        gzip: sent.gzip,
    }))
}

fn syslog(sent: v1::SyslogDestination) -> Result<Destination, Error> {
    use v1::SyslogFormat as Sent;
    let format = match known(Sent::try_from(sent.format), "syslog.format")? {
        Sent::Unspecified | Sent::Json => SyslogFormat::Json,
        Sent::Cef => SyslogFormat::Cef,
    };
    let port = u16::try_from(sent.port).map_err(|_| {
        let description = "destination.syslog.port must be at most 65535";
        refused("syslog.port", Reason::OutOfRange, description)
    })?;
    let v1::SyslogDestination { host, app_name, .. } = sent;
    Ok(Destination::Syslog(Syslog { host, port, format, app_name }))
}

fn otlp(sent: v1::OtlpDestination, secrets: &mut Secrets) -> Destination {
    let headers = headers(sent.headers, secrets);
    Destination::Otlp(Otlp { endpoint: sent.endpoint, headers })
}

fn kafka(sent: v1::KafkaDestination, secrets: &mut Secrets) -> Destination {
    let v1::KafkaDestination { bootstrap_servers, topic, tls, username, password } = sent;
    secrets.set("password", password);
    Destination::Kafka(Kafka { bootstrap_servers, topic, tls, username })
}

/// The names; the values are secrets.
fn headers(sent: Vec<v1::HttpHeader>, secrets: &mut Secrets) -> Vec<String> {
    let name = |header: v1::HttpHeader| {
        secrets.set(header_secret(&header.name), header.value);
        header.name
    };
    sent.into_iter().map(name).collect()
}

fn bucket_layout(sent: i32, field: &str) -> Result<BucketLayout, Error> {
    use v1::BucketLayout as Sent;
    Ok(match known(Sent::try_from(sent), field)? {
        Sent::Unspecified | Sent::FilePerEvent => BucketLayout::FilePerEvent,
        Sent::NdjsonGzip => BucketLayout::NdjsonGzip,
    })
}

fn known<T>(value: Result<T, UnknownEnumValue>, field: &str) -> Result<T, Error> {
    let description = format!("destination.{field} must be a value that the service knows");
    value.map_err(|_| refused(field, Reason::Unknown, &description))
}

fn refused(field: &str, reason: Reason, description: &str) -> Error {
    vec![Violation::new(format!("destination.{field}"), reason, description)].into()
}

/// A destination for the wire, without secrets.
pub fn destination(known: Destination, ca_certificates_pem: String) -> v1::LogStreamDestination {
    let kind = match known {
        Destination::Datadog(Datadog { region, source, endpoint }) => {
            Kind::Datadog(v1::DatadogDestination { region, source, endpoint, ..Default::default() })
        }
        Destination::Splunk(known) => Kind::Splunk(told_splunk(known)),
        Destination::AzureSentinel(known) => Kind::AzureSentinel(told_azure_sentinel(known)),
        Destination::S3(known) => Kind::S3(told_s3(known)),
        Destination::GoogleCloudStorage(known) => {
            Kind::GoogleCloudStorage(told_google_cloud_storage(known))
        }
        Destination::Snowflake(known) => Kind::Snowflake(told_snowflake(known)),
        Destination::GenericHttps(known) => Kind::GenericHttps(told_generic_https(known)),
        Destination::Syslog(known) => Kind::Syslog(told_syslog(known)),
        Destination::Otlp(Otlp { endpoint, headers }) => {
            Kind::Otlp(v1::OtlpDestination { endpoint, headers: told_headers(headers) })
        }
        Destination::Kafka(Kafka { bootstrap_servers, topic, tls, username }) => {
            let password = String::new();
            let told = v1::KafkaDestination { bootstrap_servers, topic, tls, username, password };
            Kind::Kafka(told)
        }
    };
    v1::LogStreamDestination { kind: Some(kind), ca_certificates_pem }
}

const fn told_layout(layout: BucketLayout) -> i32 {
    let told = match layout {
        BucketLayout::FilePerEvent => v1::BucketLayout::FilePerEvent,
        BucketLayout::NdjsonGzip => v1::BucketLayout::NdjsonGzip,
    };
    told as i32
}

fn told_headers(names: Vec<String>) -> Vec<v1::HttpHeader> {
    names.into_iter().map(|name| v1::HttpHeader { name, value: String::new() }).collect()
}

fn told_azure_sentinel(known: AzureSentinel) -> v1::AzureSentinelDestination {
    v1::AzureSentinelDestination {
        tenant_id: known.tenant_id,
        client_id: known.client_id,
        client_secret: String::new(),
        data_collection_endpoint: known.data_collection_endpoint,
        data_collection_rule_id: known.data_collection_rule_id,
        stream_name: known.stream_name,
        authority_url: known.authority_url,
        token_scope: known.token_scope,
    }
}

fn told_s3(known: S3) -> v1::S3Destination {
    v1::S3Destination {
        bucket: known.bucket,
        region: known.region,
        path: known.path,
        account_id: known.account_id,
        role_name: known.role_name,
        external_id: known.external_id,
        access_key_id: known.access_key_id,
        secret_access_key: String::new(),
        layout: told_layout(known.layout),
        endpoint: known.endpoint,
    }
}

fn told_google_cloud_storage(known: GoogleCloudStorage) -> v1::GoogleCloudStorageDestination {
    v1::GoogleCloudStorageDestination {
        bucket: known.bucket,
        access_key_id: known.access_key_id,
        secret_access_key: String::new(),
        path: known.path,
        layout: told_layout(known.layout),
        endpoint: known.endpoint,
    }
}

fn told_generic_https(known: GenericHttps) -> v1::GenericHttpsDestination {
    v1::GenericHttpsDestination {
        url: known.url,
        headers: told_headers(known.headers),
        format: match known.format {
            HttpsFormat::Json => v1::HttpsFormat::Json.into(),
            HttpsFormat::Ndjson => v1::HttpsFormat::Ndjson.into(),
        },
        source: known.source,
        signing_secret: String::new(),
        gzip: known.gzip,
    }
}

fn told_syslog(known: Syslog) -> v1::SyslogDestination {
    v1::SyslogDestination {
        host: known.host,
        port: known.port.into(),
        format: match known.format {
            SyslogFormat::Json => v1::SyslogFormat::Json.into(),
            SyslogFormat::Cef => v1::SyslogFormat::Cef.into(),
        },
        app_name: known.app_name,
    }
}

fn told_splunk(known: Splunk) -> v1::SplunkDestination {
    v1::SplunkDestination {
        hec_token: String::new(),
        url: known.url,
        source: known.source,
        sourcetype: known.sourcetype,
        index: known.index,
        encoding: match known.encoding {
            SplunkEncoding::Concatenated => v1::SplunkEncoding::Concatenated.into(),
            SplunkEncoding::Array => v1::SplunkEncoding::Array.into(),
        },
        indexer_acknowledgement: known.indexer_acknowledgement,
    }
}

fn told_snowflake(known: Snowflake) -> v1::SnowflakeDestination {
    v1::SnowflakeDestination {
        account_url: known.account_url,
        username: known.username,
        private_key_pem: String::new(),
        private_key_passphrase: String::new(),
        warehouse: known.warehouse,
        database: known.database,
        schema: known.schema,
        table: known.table,
        role: known.role,
    }
}
