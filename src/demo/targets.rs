//! What a CloudTrail record was done to.

use serde_json::{Map, Value};

use super::{
    arn::Arn,
    cloudtrail::text,
    facts::{Facts, clean},
    identifiers,
    naming::resource_type,
};
use crate::{domain::limits, proto::v1};

/// Type of the last target of every event.
pub const ACCOUNT: &str = "aws_account";

/// The targets of one event.
#[derive(Default)]
pub struct Found {
    /// What an event can hold of them.
    pub targets: Vec<v1::Target>,
    /// How many more there were.
    pub omitted: u32,
}

/// The targets of `record`: its `resources`; without those, what its request names; without a
/// request, what the service tells of its own doing. Last comes the account that the record was
/// written for. It is there always, so that each action has a target that all its events share,
/// also where a request failed before AWS knew what it was about.
pub fn find(record: &Value, action: &str, account: &str) -> Found {
    let mut found = Found::default();
    let resources = record.get("resources").and_then(Value::as_array);
    for resource in resources.into_iter().flatten() {
        found.resource(resource);
    }
    let mut sources = vec!["requestParameters"];
    if text(record, "eventType") == Some("AwsServiceEvent") {
        sources.extend(["serviceEventDetails", "additionalEventData"]);
    }
    for source in sources {
        if found.targets.is_empty() {
            found.search(action, source, record.get(source).unwrap_or(&Value::Null), None);
        }
    }
    found.targets.push(target(ACCOUNT, account, "", None));
    found
}

impl Found {
    /// Adds an entry of `resources`.
    fn resource(&mut self, resource: &Value) {
        // A prefix stands for all objects whose ARNs start so.
        let Some(arn) = text(resource, "ARN").or_else(|| text(resource, "ARNPrefix")) else {
            return;
        };
        let parsed = Arn::parse(arn);
        let kind = text(resource, "type").map(resource_type);
        let kind = kind.or_else(|| parsed.as_ref().map(Arn::kind));
        let name = parsed.as_ref().map(|arn| arn.name).unwrap_or_default();
        let account = text(resource, "accountId").or(parsed.as_ref().and_then(|arn| arn.account));
        self.add(&kind.unwrap_or_else(|| "resource".to_owned()), arn, name, account);
    }

    /// Adds what `value`, the field `field` of an object, names, at any depth. The JSON parser limits
    /// the depth, so the recursion is bounded.
    fn search(
        &mut self,
        action: &str,
        field: &str,
        value: &Value,
        parent: Option<&Map<String, Value>>,
    ) {
        match value {
            Value::String(value) => self.identifier(action, field, value, parent),
            Value::Array(values) => {
                for value in values {
                    self.search(action, field, value, parent);
                }
            }
            Value::Object(members) => {
                // EC2's newer calls wrap each value of a list: {"tag": 1, "content": "vpc-1"}.
                if let (Some(_), Some(content)) = (members.get("tag"), members.get("content")) {
                    self.search(action, field, content, parent);
                    return;
                }
                for (name, value) in members {
                    self.search(action, name, value, Some(members));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn identifier(
        &mut self,
        action: &str,
        field: &str,
        value: &str,
        parent: Option<&Map<String, Value>>,
    ) {
        if let Some(arn) = Arn::parse(value) {
            self.add(&arn.kind(), value, arn.name, arn.account);
            return;
        }
        let sibling = parent.and_then(|parent| {
            parent.get("resourceType").or_else(|| parent.get("ResourceType"))?.as_str()
        });
        if let Some(kind) = identifiers::target_type(action, field, value, sibling) {
            self.add(&kind, value, "", None);
        }
    }

    fn add(&mut self, kind: &str, id: &str, name: &str, account: Option<&str>) {
        let target = target(kind, id, name, account);
        if target.id.is_empty() || self.targets.contains(&target) {
            return;
        }
        // One place is the account's.
        if self.targets.len() + 1 < limits::TARGETS {
            self.targets.push(target);
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
    }
}

fn target(kind: &str, id: &str, name: &str, account: Option<&str>) -> v1::Target {
    v1::Target {
        id: clean(id, limits::ID_CHARS),
        r#type: clean(kind, limits::TYPE_CHARS),
        name: clean(name, limits::NAME_CHARS),
        metadata: Facts::default().text("account_id", account).into_struct(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Types and ids of the targets but the last, which must be the account.
    fn targets(action: &str, record: &Value) -> Vec<(String, String)> {
        let mut targets = find(record, action, "1").targets;
        let last = targets.pop().unwrap();
        assert_eq!((last.r#type.as_str(), last.id.as_str()), (ACCOUNT, "1"));
        targets.into_iter().map(|target| (target.r#type, target.id)).collect()
    }

    fn expect(action: &str, record: &Value, expected: &[(&str, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|(kind, id)| ((*kind).to_owned(), (*id).to_owned())).collect();
        assert_eq!(targets(action, record), expected);
    }

    #[test]
    fn resources_count_more_than_the_request() {
        let record = json!({
            "resources": [
                {"type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::b", "accountId": "2"},
                {"accountId": "2", "ARN": "arn:aws:ssm:us-east-1:2:parameter/p/q"},
                {"type": "AWS::S3::Object", "ARNPrefix": "arn:aws:s3:::b/"},
                {"type": "AWS::S3::Object"},
            ],
            "requestParameters": {"bucketName": "b"}
        });
        let expected = [
            ("s3_bucket", "arn:aws:s3:::b"),
            ("ssm_parameter", "arn:aws:ssm:us-east-1:2:parameter/p/q"),
            ("s3_object", "arn:aws:s3:::b/"),
        ];
        expect("s3.get_bucket_acl", &record, &expected);
        let first = &find(&record, "s3.get_bucket_acl", "1").targets[0];
        assert_eq!(first.name, "b");
        assert_eq!(first.metadata.as_ref().unwrap().fields["account_id"], "2".into());
    }

    #[test]
    fn requests_name_resources_at_any_depth() {
        let table = [
            ("iam.get_role", json!({"roleName": "r"}), vec![("iam_role", "r")]),
            (
                "ec2.x",
                json!({"instancesSet": {"items": [{"instanceId": "i-1"}, {"instanceId": "i-2"}]}}),
                vec![("ec2_instance", "i-1"), ("ec2_instance", "i-2")],
            ),
            (
                "ec2.x",
                json!({"XRequest": {"VpcIds": {"tag": 1, "content": "vpc-1"}}}),
                vec![("ec2_vpc", "vpc-1")],
            ),
            (
                "ec2.x",
                json!({"ResourceType": "VPC", "ResourceId": {"tag": 1, "content": "vpc-1"}}),
                vec![("ec2_vpc", "vpc-1")],
            ),
            (
                "ssm.x",
                json!({"resourceType": "ManagedInstance", "resourceId": "mi-1"}),
                vec![("ssm_managed_instance", "mi-1")],
            ),
            (
                "ec2.create_tags",
                json!({"items": [{"resourceId": "ami-1"}]}),
                vec![("ec2_resource", "ami-1")],
            ),
            (
                "ssm.get_parameters",
                json!({"names": ["/a", "/b", "/a"]}),
                vec![("ssm_parameter", "/a"), ("ssm_parameter", "/b")],
            ),
            (
                "ssm.create_document",
                json!({"content": "{}", "name": "d"}),
                vec![("ssm_document", "d")],
            ),
            ("ssm.get_document", json!({"name": "d"}), vec![("ssm_document", "d")]),
            (
                "x.y",
                json!({"thing": "arn:aws:iam::aws:policy/p"}),
                vec![("iam_policy", "arn:aws:iam::aws:policy/p")],
            ),
            ("x.y", json!({"name": "n", "roleSessionName": "s", "secretId": ""}), vec![]),
        ];
        for (action, request, expected) in table {
            expect(action, &json!({"requestParameters": request}), &expected);
        }
    }

    #[test]
    fn a_service_tells_of_its_own_doing() {
        let details = json!({"snapshotId": "snap-1"});
        let event = json!({"eventType": "AwsServiceEvent", "serviceEventDetails": details});
        expect("ec2.x", &event, &[("ec2_snapshot", "snap-1")]);
        let call = json!({"eventType": "AwsApiCall", "serviceEventDetails": details});
        expect("ec2.x", &call, &[]);
    }

    #[test]
    fn the_account_is_left_where_nothing_is_named() {
        expect("sts.x", &json!({"requestParameters": null, "resources": []}), &[]);
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let ids: Vec<_> = (0..150).map(|i| format!("i-{i}")).collect();
        let record = json!({"requestParameters": {"instanceIds": ids}});
        let found = find(&record, "ec2.x", "1");
        assert_eq!((found.targets.len(), found.omitted), (limits::TARGETS, 51));
    }
}
