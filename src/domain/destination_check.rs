//! What the configuration of a destination must be. Field paths are those of the contract,
//! `destination.datadog.api_key`.

use url::Url;

use super::{
    destination::{
        AzureSentinel, Datadog, Destination, GenericHttps, GoogleCloudStorage, Kafka, Otlp, S3,
        Secrets, Snowflake, Splunk, Syslog, header_secret,
    },
    limits,
    violation::{Reason, Violations},
};

/// The sites of Datadog by the names that WorkOS gives them.
pub const DATADOG_SITES: [(&str, &str); 7] = [
    ("US1", "datadoghq.com"),
    ("US3", "us3.datadoghq.com"),
    ("US5", "us5.datadoghq.com"),
    ("EU1", "datadoghq.eu"),
    ("US1-FED", "ddog-gov.com"),
    ("AP1", "ap1.datadoghq.com"),
    ("AP2", "ap2.datadoghq.com"),
];

/// What an operator allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DestinationRules {
    /// Whether URLs may begin with `http://`, and passwords be sent to Kafka without TLS.
    pub allow_http: bool,
}

/// Collects what is wrong with one destination.
struct Check<'a> {
    prefix: String,
    secrets: &'a Secrets,
    rules: DestinationRules,
    violations: &'a mut Violations,
}

/// Checks a destination with its secrets, those that it had before among them.
pub fn check_destination(
    destination: &Destination,
    ca_certificates_pem: &str,
    secrets: &Secrets,
    rules: DestinationRules,
    violations: &mut Violations,
) {
    if ca_certificates_pem.len() > limits::CA_CERTIFICATES_BYTES {
        let description = "destination.ca_certificates_pem must have at most 65536 bytes";
        violations.add("destination.ca_certificates_pem", Reason::TooLarge, description);
    }
    let prefix = format!("destination.{}.", destination.field());
    let mut check = Check { prefix, secrets, rules, violations };
    match destination {
        Destination::Datadog(datadog) => check.datadog(datadog),
        Destination::Splunk(splunk) => check.splunk(splunk),
        Destination::AzureSentinel(sentinel) => check.azure_sentinel(sentinel),
        Destination::S3(s3) => check.s3(s3),
        Destination::GoogleCloudStorage(storage) => check.google_cloud_storage(storage),
        Destination::Snowflake(snowflake) => check.snowflake(snowflake),
        Destination::GenericHttps(https) => check.generic_https(https),
        Destination::Syslog(syslog) => check.syslog(syslog),
        Destination::Otlp(otlp) => check.otlp(otlp),
        Destination::Kafka(kafka) => check.kafka(kafka),
    }
}

impl Check<'_> {
    fn datadog(&mut self, datadog: &Datadog) {
        self.secret("api_key");
        self.short("source", &datadog.source);
        self.optional_url("endpoint", &datadog.endpoint);
        if datadog.region.is_empty() && datadog.endpoint.is_empty() {
            self.add("region", Reason::Required, "is required, unless there is an endpoint");
        } else if !datadog.region.is_empty()
            && !DATADOG_SITES.iter().any(|(name, _)| *name == datadog.region)
        {
            let why = "must be US1, US3, US5, EU1, US1-FED, AP1 or AP2";
            self.add("region", Reason::Unknown, why);
        }
    }

    fn splunk(&mut self, splunk: &Splunk) {
        self.secret("hec_token");
        self.url("url", &splunk.url);
        self.short("source", &splunk.source);
        self.short("sourcetype", &splunk.sourcetype);
        self.short("index", &splunk.index);
    }

    fn azure_sentinel(&mut self, sentinel: &AzureSentinel) {
        self.secret("client_secret");
        self.segment("tenant_id", &sentinel.tenant_id);
        self.text("client_id", &sentinel.client_id);
        self.url("data_collection_endpoint", &sentinel.data_collection_endpoint);
        self.segment("data_collection_rule_id", &sentinel.data_collection_rule_id);
        self.segment("stream_name", &sentinel.stream_name);
        self.optional_url("authority_url", &sentinel.authority_url);
        self.short("token_scope", &sentinel.token_scope);
    }

    fn s3(&mut self, s3: &S3) {
        self.bucket(&s3.bucket);
        if !s3.region.is_empty() && !is_region(&s3.region) {
            let why = "must be 1 to 32 lower-case letters, digits and hyphens";
            self.add("region", Reason::InvalidCharacters, why);
        }
        self.short("path", &s3.path);
        self.optional_url("endpoint", &s3.endpoint);
        match (s3.role_name.is_empty(), s3.access_key_id.is_empty()) {
            (true, true) => {
                self.add(
                    "role_name",
                    Reason::Required,
                    "is required, unless there is an access key",
                );
            }
            (false, false) => {
                self.add("role_name", Reason::Conflict, "must not be used with an access key");
            }
            (true, false) => {
                self.short("access_key_id", &s3.access_key_id);
                self.secret("secret_access_key");
            }
            (false, true) => {
                self.short("role_name", &s3.role_name);
                if !s3.endpoint.is_empty() {
                    let why = "must not be used with a role: only Amazon's own services know those";
                    self.add("endpoint", Reason::Conflict, why);
                }
                let account = s3.account_id.as_bytes();
                if account.len() != 12 || !account.iter().all(u8::is_ascii_digit) {
                    self.add("account_id", Reason::InvalidCharacters, "must be twelve digits");
                }
            }
        }
    }

    fn google_cloud_storage(&mut self, storage: &GoogleCloudStorage) {
        self.bucket(&storage.bucket);
        self.text("access_key_id", &storage.access_key_id);
        self.secret("secret_access_key");
        self.short("path", &storage.path);
        self.optional_url("endpoint", &storage.endpoint);
    }

    fn snowflake(&mut self, snowflake: &Snowflake) {
        self.url("account_url", &snowflake.account_url);
        self.text("username", &snowflake.username);
        self.secret("private_key_pem");
        let is_encrypted =
            self.secrets.get("private_key_pem").contains("BEGIN ENCRYPTED PRIVATE KEY");
        if is_encrypted && self.secrets.get("private_key_passphrase").is_empty() {
            let why = "is required with a private key that is encrypted";
            self.add("private_key_passphrase", Reason::Required, why);
        }
        self.text("warehouse", &snowflake.warehouse);
        self.text("database", &snowflake.database);
        self.text("schema", &snowflake.schema);
        self.text("table", &snowflake.table);
        self.short("role", &snowflake.role);
    }

    fn generic_https(&mut self, https: &GenericHttps) {
        self.url("url", &https.url);
        self.headers(&https.headers);
        self.short("source", &https.source);
        let secret = self.secrets.get("signing_secret");
        if !secret.is_empty() && !secret.split(' ').all(is_webhook_secret) {
            let why = "must be whsec_ and the base64 of 24 to 64 bytes, or two of those";
            self.add("signing_secret", Reason::InvalidCharacters, why);
        }
    }

    fn syslog(&mut self, syslog: &Syslog) {
        self.text("host", &syslog.host);
        if syslog.host.contains(['/', ' ', '@']) {
            self.add("host", Reason::InvalidCharacters, "must be a host name or an address");
        }
        // RFC 5424, section 6: APP-NAME is 1 to 48 characters of visible ASCII.
        let app_name = syslog.app_name.as_bytes();
        if app_name.len() > 48 || !app_name.iter().all(u8::is_ascii_graphic) {
            let why = "must be at most 48 characters of visible ASCII";
            self.add("app_name", Reason::InvalidCharacters, why);
        }
    }

    fn otlp(&mut self, otlp: &Otlp) {
        self.url("endpoint", &otlp.endpoint);
        self.headers(&otlp.headers);
    }

    fn kafka(&mut self, kafka: &Kafka) {
        if kafka.bootstrap_servers.is_empty() {
            self.add("bootstrap_servers", Reason::Required, "is required");
        }
        if kafka.bootstrap_servers.len() > limits::BROKERS {
            self.add("bootstrap_servers", Reason::TooMany, "must have at most 20 entries");
        }
        for (index, server) in kafka.bootstrap_servers.iter().enumerate() {
            let port = server.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(1..))) || server.len() > 300 {
                let field = format!("bootstrap_servers[{index}]");
                self.add(&field, Reason::InvalidCharacters, "must be host:port");
            }
        }
        self.text("topic", &kafka.topic);
        if !kafka.username.is_empty() {
            self.short("username", &kafka.username);
            self.secret("password");
            if !kafka.tls && !self.rules.allow_http {
                let why = "is required with a username: SASL/PLAIN sends the password as it is";
                self.add("tls", Reason::Required, why);
            }
        }
    }

    fn headers(&mut self, names: &[String]) {
        if names.len() > limits::DESTINATION_HEADERS {
            self.add("headers", Reason::TooMany, "must have at most 20 entries");
        }
        for (index, name) in names.iter().enumerate() {
            let at = |member: &str| format!("headers[{index}].{member}");
            if !is_token(name) {
                let why = "must be the name of a header";
                self.add(&at("name"), Reason::InvalidCharacters, why);
            } else if IS_OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
                self.add(&at("name"), Reason::Conflict, "is set by the service");
            } else if names[..index].iter().any(|other| other.eq_ignore_ascii_case(name)) {
                self.add(&at("name"), Reason::Duplicate, "must be there once");
            }
            let value = self.secrets.get(&header_secret(name));
            let visible = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
            if value.is_empty() {
                self.add(&at("value"), Reason::Required, "is required");
            } else if !value.bytes().all(visible) || value.len() > limits::SECRET_BYTES {
                self.add(&at("value"), Reason::InvalidCharacters, "must be printable ASCII");
            }
        }
    }

    fn bucket(&mut self, bucket: &str) {
        self.text("bucket", bucket);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if !bucket.bytes().all(allowed) || bucket.len() > 222 {
            self.add("bucket", Reason::InvalidCharacters, "must be the name of a bucket");
        }
    }

    fn secret(&mut self, name: &str) {
        let length = self.secrets.get(name).len();
        if length == 0 {
            self.add(name, Reason::Required, "is required");
        } else if length > limits::SECRET_BYTES {
            self.add(name, Reason::TooLong, "must have at most 16384 bytes");
        }
    }

    /// A text that stands in a path between two slashes.
    fn segment(&mut self, name: &str, text: &str) {
        self.text(name, text);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !text.bytes().all(allowed) {
            let why = "must be letters, digits, hyphens, underscores and dots";
            self.add(name, Reason::InvalidCharacters, why);
        }
    }

    fn text(&mut self, name: &str, text: &str) {
        let field = format!("{}{name}", self.prefix);
        self.violations.required_text(field, text, limits::SHORT_TEXT_CHARS);
    }

    fn short(&mut self, name: &str, text: &str) {
        let field = format!("{}{name}", self.prefix);
        self.violations.optional_text(field, text, limits::SHORT_TEXT_CHARS);
    }

    fn optional_url(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.url(name, text);
        }
    }

    fn url(&mut self, name: &str, text: &str) {
        if text.is_empty() {
            return self.add(name, Reason::Required, "is required");
        }
        if text.len() > limits::DESTINATION_TEXT_CHARS {
            return self.add(name, Reason::TooLong, "must have at most 2048 characters");
        }
        let Ok(url) = Url::parse(text) else {
            return self.add(name, Reason::InvalidCharacters, "must be a URL");
        };
        match url.scheme() {
            "https" => {}
            "http" if self.rules.allow_http => {}
            _ => return self.add(name, Reason::InvalidCharacters, "must begin with https://"),
        }
        if url.host().is_none() || !url.username().is_empty() || url.password().is_some() {
            let why = "must have a host, and no user or password";
            self.add(name, Reason::InvalidCharacters, why);
        }
    }

    fn add(&mut self, name: &str, reason: Reason, why: &str) {
        let field = format!("{}{name}", self.prefix);
        let description = format!("{field} {why}");
        self.violations.add(field, reason, description);
    }
}

/// Headers that requests have anyway.
const IS_OURS: [&str; 10] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "user-agent",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
];

/// Whether a text may be a region of Amazon's: it becomes part of the names of hosts.
pub fn is_region(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(allowed)
}

/// Whether a text is a token (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.len() <= limits::SHORT_TEXT_CHARS && text.bytes().all(allowed)
}

/// Whether a text is a symmetric secret of Standard Webhooks.
fn is_webhook_secret(text: &str) -> bool {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let bytes = text.strip_prefix("whsec_").and_then(|encoded| STANDARD.decode(encoded).ok());
    bytes.is_some_and(|bytes| (24..=64).contains(&bytes.len()))
}

#[cfg(test)]
mod tests;
