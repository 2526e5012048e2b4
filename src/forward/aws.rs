//! Requests signed as AWS has it (Signature Version 4), and roles that the service assumes.

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;
use object_store::{
    aws::{AmazonS3Builder, AwsAuthorizer, AwsCredential, AwsCredentialProvider},
    client::{HttpRequest, HttpRequestBody},
};
use reqwest::{
    Method, Request, Url,
    header::{self, HeaderValue},
};
use tokio::{sync::Mutex, time::Instant};

use super::{
    Failure, FailureKind,
    http::{HttpAnswer, HttpSender},
};

/// How long a session is asked for: what every role allows.
const SESSION: Duration = Duration::from_hours(1);
/// How long it is used: not in the last minutes of its life.
const SESSION_USED: Duration = Duration::from_mins(55);

/// Who signs.
pub enum Signer {
    /// An access key.
    Key(AwsCredential),
    /// A role.
    Role(Box<AssumedRole>),
}

impl Signer {
    /// An access key. An error is why it can be none.
    pub fn key(id: &str, secret: &str) -> Result<Self, String> {
        // It becomes part of a header.
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("access_key_id must be visible ASCII".to_owned());
        }
        let (key_id, secret_key) = (id.to_owned(), secret.to_owned());
        Ok(Self::Key(AwsCredential { key_id, secret_key, token: None }))
    }

    /// What to sign with; a new session if `refresh`.
    pub async fn credential(&self, refresh: bool) -> Result<AwsCredential, Failure> {
        match self {
            Self::Key(AwsCredential { key_id, secret_key, .. }) => Ok(AwsCredential {
                key_id: key_id.clone(),
                secret_key: secret_key.clone(),
                token: None,
            }),
            Self::Role(role) => role.credential(refresh).await,
        }
    }

    /// Whether what it signs with can be renewed.
    pub const fn can_refresh(&self) -> bool {
        matches!(self, Self::Role(_))
    }
}

/// A role that the service assumes with its own credentials.
pub struct AssumedRole {
    sender: HttpSender,
    url: Url,
    region: String,
    form: String,
    own: AwsCredentialProvider,
    session: Mutex<Option<(AwsCredential, Instant)>>,
}

impl AssumedRole {
    /// A role in the words of `sts:AssumeRole`, with the token service at `url`.
    pub fn new(
        sender: HttpSender,
        url: Url,
        region: &str,
        role_arn: &str,
        external_id: &str,
        own: AwsCredentialProvider,
    ) -> Self {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", "AssumeRole")
            .append_pair("Version", "2011-06-15")
            .append_pair("RoleArn", role_arn)
            .append_pair("RoleSessionName", "audit-logs")
            .append_pair("ExternalId", external_id)
            .append_pair("DurationSeconds", &SESSION.as_secs().to_string())
            .finish();
        let region = region.to_owned();
        Self { sender, url, region, form, own, session: Mutex::default() }
    }

    async fn credential(&self, refresh: bool) -> Result<AwsCredential, Failure> {
        let mut session = self.session.lock().await;
        if let Some((credential, until)) = &*session
            && !refresh
            && *until > Instant::now()
        {
            return Ok(copy(credential));
        }
        *session = None;
        let own = self.own.get_credential().await.map_err(|_| {
            Failure::temporary("the service has no credentials of its own to assume the role with")
        })?;
        let mut request = Request::new(Method::POST, self.url.clone());
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(header::CONTENT_TYPE, form);
        sign(&mut request, &own, "sts", &self.region, self.form.clone().into())?;
        let answer = self.sender.send(request).await?;
        let credential = assumed(&answer)?;
        *session = Some((copy(&credential), Instant::now() + SESSION_USED));
        Ok(credential)
    }
}

/// Credentials of the service itself: from variables of its environment, a web identity, or the metadata
/// service of where it runs, as Amazon's own tools find them. Only the operator's environment says where
/// they come from, and they are found once: nothing of a stream may lead them to another host.
pub fn own_credentials() -> Result<AwsCredentialProvider, String> {
    static FOUND: LazyLock<Result<AwsCredentialProvider, String>> = LazyLock::new(|| {
        let store = AmazonS3Builder::from_env().with_bucket_name("unused").build();
        let store = store.map_err(|error| format!("credentials of the service: {error}"))?;
        Ok(store.credentials().clone())
    });
    FOUND.clone()
}

fn copy(credential: &AwsCredential) -> AwsCredential {
    AwsCredential {
        key_id: credential.key_id.clone(),
        secret_key: credential.secret_key.clone(),
        token: credential.token.clone(),
    }
}

/// The credentials in an answer of the token service. Its refusals are about the role.
fn assumed(answer: &HttpAnswer) -> Result<AwsCredential, Failure> {
    let named = |failure: Failure| failure.about("the role cannot be assumed");
    match answer.clone().into_result() {
        Err(failure) if matches!(failure.kind, FailureKind::Refused(_)) => {
            return Err(named(answer.failure(FailureKind::Invalid)));
        }
        Err(failure) => return Err(named(failure)),
        Ok(_) => {}
    }
    let part = |name| {
        let text = element(&answer.body, name)?;
        text.bytes().all(|byte| byte.is_ascii_graphic()).then(|| text.to_owned())
    };
    // What it said has secrets in it and is not told.
    let none = || Failure::temporary("the role cannot be assumed: the answer has no credentials");
    Ok(AwsCredential {
        key_id: part("AccessKeyId").ok_or_else(none)?,
        secret_key: part("SecretAccessKey").ok_or_else(none)?,
        token: Some(part("SessionToken").ok_or_else(none)?),
    })
}

/// The text of the first element of that name, if it has no markup.
pub fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    (!text.contains(['<', '&'])).then_some(text.trim())
}

/// Signs a request and gives it its body.
pub fn sign(
    request: &mut Request,
    credential: &AwsCredential,
    service: &str,
    region: &str,
    body: Bytes,
) -> Result<(), Failure> {
    let failed = |error: String| Failure::invalid(format!("cannot be signed: {error}"));
    let mut signed = HttpRequest::new(HttpRequestBody::from(body.clone()));
    *signed.method_mut() = request.method().clone();
    *signed.uri_mut() = request.url().as_str().parse().map_err(|_| failed("its URL".to_owned()))?;
    *signed.headers_mut() = request.headers().clone();
    AwsAuthorizer::new(credential, service, region)
        .try_authorize(&mut signed, None)
        .map_err(|error| failed(error.to_string()))?;
    *request.headers_mut() = signed.headers().clone();
    *request.body_mut() = Some(body.into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, body: &str) -> Result<AwsCredential, Failure> {
        assumed(&HttpAnswer { status, retry_after: None, body: body.to_owned() })
    }

    #[test]
    fn a_session_is_read() {
        let credential = said(
            200,
            "<AssumeRoleResponse><Credentials><AccessKeyId>ASIA1</AccessKeyId>\
             <SecretAccessKey>abc/+</SecretAccessKey><SessionToken>tok==</SessionToken>\
             </Credentials></AssumeRoleResponse>",
        )
        .unwrap();
        assert_eq!(credential.key_id, "ASIA1");
        assert_eq!(credential.secret_key, "abc/+");
        assert_eq!(credential.token.as_deref(), Some("tok=="));
    }

    #[test]
    fn a_refusal_is_about_the_role() {
        for status in [400, 403] {
            let failure = said(status, "<Error><Code>AccessDenied</Code></Error>").unwrap_err();
            assert_eq!(failure.kind, FailureKind::Invalid);
            assert!(failure.message.starts_with("the role cannot be assumed: HTTP status"));
        }
        let half = "<AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>abc</SecretAccessKey>";
        let failure = said(200, half).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Temporary { retry_after: None });
        assert!(!failure.message.contains("abc"));
    }

    #[test]
    fn a_key_becomes_a_header() {
        assert!(Signer::key("AKIA\r\nx: y", "secret").is_err());
        assert!(Signer::key("AKIA", "secret").is_ok());
    }
}
