//! Amazon Resource Names.

use super::naming::snake_case;

/// A name of the form `arn:partition:service:region:account:resource`.
#[derive(Debug, PartialEq, Eq)]
pub struct Arn<'a> {
    service: &'a str,
    resource: &'a str,
    /// The account that owns the resource, where the name tells it.
    pub account: Option<&'a str>,
    /// The resource without its kind.
    pub name: &'a str,
}

impl<'a> Arn<'a> {
    /// Reads `text`; `None` if it is no such name.
    pub fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<_> = text.splitn(6, ':').collect();
        let ["arn", _partition, service, _region, account, rest] = parts[..] else { return None };
        // API Gateway puts a slash before the kind.
        let rest = rest.trim_start_matches('/');
        if service.is_empty() || rest.is_empty() {
            return None;
        }
        let is_account = !account.is_empty() && account.bytes().all(|b| b.is_ascii_digit());
        let account = is_account.then_some(account);
        let (resource, name) = match (service, rest.split_once(['/', ':'])) {
            // Names of buckets are unique without an account.
            ("s3", None) if account.is_none() => ("bucket", rest),
            ("s3", Some(_)) if account.is_none() => ("object", rest),
            ("sns", None) => ("topic", rest),
            ("sns", Some(_)) => ("subscription", rest),
            ("sqs", _) => ("queue", rest),
            // Abbreviations, where CloudTrail's own resource types are whole words.
            ("rds", Some(("db", name))) => ("db_instance", name),
            ("rds", Some(("cluster", name))) => ("db_cluster", name),
            ("rds", Some(("snapshot", name))) => ("db_snapshot", name),
            ("rds", Some(("subgrp", name))) => ("db_subnet_group", name),
            (_, None) => ("resource", rest),
            (_, Some((resource, name))) => (resource, name),
        };
        Some(Self { service, resource, account, name })
    }

    /// The target type: service and kind of the resource.
    pub fn kind(&self) -> String {
        format!("{}_{}", snake_case(self.service), snake_case(self.resource))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_kind_name_and_account() {
        let table = [
            ("arn:aws:iam::12:role/path/r", "iam_role", "path/r", Some("12")),
            ("arn:aws:iam::aws:policy/p", "iam_policy", "p", None),
            ("arn:aws:s3:::b", "s3_bucket", "b", None),
            ("arn:aws:s3:::b/k:1", "s3_object", "b/k:1", None),
            ("arn:aws:s3:us-east-1:12:storage-lens/d", "s3_storage_lens", "d", Some("12")),
            ("arn:aws:rds:us-east-1:12:subgrp:g", "rds_db_subnet_group", "g", Some("12")),
            ("arn:aws:sns:us-east-1:12:t", "sns_topic", "t", Some("12")),
            ("arn:aws:codecommit:us-east-1:12:r", "codecommit_resource", "r", Some("12")),
            ("arn:aws:apigateway:us-east-1::/restapis/a", "apigateway_restapis", "a", None),
        ];
        for (text, kind, name, account) in table {
            let arn = Arn::parse(text).unwrap();
            assert_eq!((arn.kind().as_str(), arn.name, arn.account), (kind, name, account));
        }
    }

    #[test]
    fn other_texts_are_none() {
        for text in ["", "arn", "arn:aws:s3:::", "arn:aws::::x", "urn:aws:s3:::b", "a:b:c:d:e:f"] {
            assert_eq!(Arn::parse(text), None, "{text}");
        }
    }
}
