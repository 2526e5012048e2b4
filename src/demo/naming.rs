//! From the names of AWS to snake case.

/// `name` in snake case: `DescribeDBInstances` becomes `describe_db_instances`. A word starts at a
/// capital that follows a small letter or a digit, and at the last capital of a run before a small
/// letter. Digits belong to the word before them. Other characters than letters and digits part
/// words; a name of nothing else becomes `unknown`, so that there is always something.
pub fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 8);
    let mut previous = ' ';
    let mut characters = name.chars().peekable();
    while let Some(character) = characters.next() {
        let next = characters.peek();
        let after_run = previous.is_uppercase() && next.is_some_and(|next| next.is_lowercase());
        let after_word = previous.is_lowercase() || previous.is_numeric();
        let starts_word = character.is_uppercase() && (after_word || after_run);
        let parts_words = !character.is_alphanumeric();
        if (starts_word || parts_words) && !snake.is_empty() && !snake.ends_with('_') {
            snake.push('_');
        }
        if !parts_words {
            snake.extend(character.to_lowercase());
        }
        previous = character;
    }
    snake.truncate(snake.trim_end_matches('_').len());
    if snake.is_empty() { "unknown".to_owned() } else { snake }
}

/// The name of the action: the service without its domain, then the event, both in snake case, so
/// that `resource-explorer-2.amazonaws.com` and `ListIndexes` become
/// `resource_explorer_2.list_indexes`.
pub fn action(event_source: &str, event_name: &str) -> String {
    format!("{}.{}", snake_case(service(event_source)), snake_case(event_name))
}

fn service(event_source: &str) -> &str {
    event_source.strip_suffix(".amazonaws.com").unwrap_or(event_source)
}

/// The target type for a resource type of AWS: `AWS::S3::Bucket` becomes `s3_bucket`. The service is
/// one word there as it is in ARNs, so that `AWS::SecretsManager::Secret` and an ARN of a secret
/// have the same type.
pub fn resource_type(name: &str) -> String {
    let name = name.strip_prefix("AWS::").unwrap_or(name);
    match name.split_once("::") {
        Some((service, kind)) => format!("{}_{}", service.to_lowercase(), snake_case(kind)),
        None => snake_case(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found() {
        let table = [
            ("GetBucketPolicy", "get_bucket_policy"),
            ("DescribeDBInstances", "describe_db_instances"),
            ("ListObjectsV2", "list_objects_v2"),
            ("GetRegionOptStatus", "get_region_opt_status"),
            ("ListMFADevices", "list_mfa_devices"),
            ("GetFunction20150331v2", "get_function20150331v2"),
            ("ListEC2Instances", "list_ec2_instances"),
            ("IAMUser", "iam_user"),
            ("AWSService", "aws_service"),
            ("VPC", "vpc"),
            ("resource-explorer-2", "resource_explorer_2"),
            ("--a--b--", "a_b"),
            ("", "unknown"),
        ];
        for (name, expected) in table {
            assert_eq!(snake_case(name), expected);
        }
    }

    #[test]
    fn actions_and_types_have_a_service() {
        assert_eq!(action("s3.amazonaws.com", "GetBucketPolicy"), "s3.get_bucket_policy");
        assert_eq!(action("devops-guru.amazonaws.com", "X"), "devops_guru.x");
        assert_eq!(action("partner.example", "X"), "partner_example.x");
        assert_eq!(resource_type("AWS::SecretsManager::Secret"), "secretsmanager_secret");
        assert_eq!(resource_type("AWS::EC2::NetworkInterface"), "ec2_network_interface");
        assert_eq!(resource_type("Odd"), "odd");
    }
}
