//! Which fields of a request name a resource.

use super::naming::snake_case;

/// Scope, field, target type. A scope is the start of an action's name, and the first entry that
/// fits counts. It is a table and no rule, because most fields that end in `Id` or `Name` name no
/// resource (`clientRequestId`, `roleSessionName`). Identifiers that are ARNs need no entry.
const IDENTIFIERS: &[(&str, &str, &str)] = &[
    ("", "allocationId", "ec2_eip"),
    ("", "dhcpOptionsId", "ec2_dhcp_options"),
    ("", "flowLogId", "ec2_flow_log"),
    ("", "imageId", "ec2_image"),
    ("", "instanceId", "ec2_instance"),
    ("", "internetGatewayId", "ec2_internet_gateway"),
    ("", "launchTemplateId", "ec2_launch_template"),
    ("", "natGatewayId", "ec2_nat_gateway"),
    ("", "networkAclId", "ec2_network_acl"),
    ("", "networkInterfaceId", "ec2_network_interface"),
    ("", "routeTableId", "ec2_route_table"),
    ("", "securityGroupId", "ec2_security_group"),
    ("", "snapshotId", "ec2_snapshot"),
    ("", "subnetId", "ec2_subnet"),
    ("", "volumeId", "ec2_volume"),
    ("", "vpcEndpointId", "ec2_vpc_endpoint"),
    ("", "vpcId", "ec2_vpc"),
    ("", "vpcPeeringConnectionId", "ec2_vpc_peering_connection"),
    ("ec2.", "associationId", "ec2_route_table_association"),
    ("ec2.", "attachmentId", "ec2_network_interface_attachment"),
    ("ec2.", "groupId", "ec2_security_group"),
    ("ec2.", "groupName", "ec2_security_group"),
    ("ec2.", "keyName", "ec2_key_pair"),
    ("iam.", "accessKeyId", "iam_access_key"),
    ("iam.", "groupName", "iam_group"),
    ("iam.", "policyName", "iam_policy"),
    ("iam.", "userName", "iam_user"),
    ("", "instanceProfileName", "iam_instance_profile"),
    ("", "roleName", "iam_role"),
    ("s3.", "bucket", "s3_bucket"),
    ("", "bucketName", "s3_bucket"),
    ("", "s3Bucket", "s3_bucket"),
    ("", "s3BucketName", "s3_bucket"),
    ("ssm.", "associationId", "ssm_association"),
    ("ssm.", "commandId", "ssm_command"),
    ("ssm.", "documentName", "ssm_document"),
    ("ssm.create_document", "name", "ssm_document"),
    ("ssm.delete_document", "name", "ssm_document"),
    ("ssm.describe_document", "name", "ssm_document"),
    ("ssm.get_document", "name", "ssm_document"),
    ("ssm.update_document", "name", "ssm_document"),
    ("ssm.", "name", "ssm_parameter"),
    ("secretsmanager.", "name", "secretsmanager_secret"),
    ("", "secretId", "secretsmanager_secret"),
    ("kms.", "keyId", "kms_key"),
    ("kms.", "aliasName", "kms_alias"),
    ("", "kmsKeyId", "kms_key"),
    ("", "dBClusterIdentifier", "rds_db_cluster"),
    ("", "dBInstanceIdentifier", "rds_db_instance"),
    ("", "dBSnapshotIdentifier", "rds_db_snapshot"),
    ("", "dBSubnetGroupName", "rds_db_subnet_group"),
    ("cloudtrail.", "name", "cloudtrail_trail"),
    ("cloudtrail.", "trailName", "cloudtrail_trail"),
    ("cloudtrail.", "trailNameList", "cloudtrail_trail"),
    ("", "autoScalingGroupName", "autoscaling_auto_scaling_group"),
    ("", "detectorId", "guardduty_detector"),
    ("", "functionName", "lambda_function"),
    ("", "hostedZoneId", "route53_hosted_zone"),
    ("", "loadBalancerName", "elasticloadbalancing_load_balancer"),
    ("", "logGroupName", "logs_log_group"),
    ("", "queueUrl", "sqs_queue"),
    ("", "repositoryName", "ecr_repository"),
    ("", "stackName", "cloudformation_stack"),
    ("", "tableName", "dynamodb_table"),
    ("", "trustAnchorId", "rolesanywhere_trust_anchor"),
    ("ecs.", "cluster", "ecs_cluster"),
    ("eks.", "name", "eks_cluster"),
    ("monitoring.", "alarmName", "cloudwatch_alarm"),
    ("rolesanywhere.create_profile", "name", "rolesanywhere_profile"),
    ("rolesanywhere.create_trust_anchor", "name", "rolesanywhere_trust_anchor"),
    ("rolesanywhere.", "profileId", "rolesanywhere_profile"),
];

/// What CloudTrail writes in place of a secret.
const HIDDEN: &str = "HIDDEN_DUE_TO_SECURITY_REASONS";

/// The target type of the resource that the field `field` with the value `value` names, if it names
/// one. `resource_type` is the request's own field of that name, which goes with a `resourceId`.
pub fn target_type(
    action: &str,
    field: &str,
    value: &str,
    resource_type: Option<&str>,
) -> Option<String> {
    if value.is_empty() || value == "*" || value == HIDDEN {
        return None;
    }
    if is(field, "resourceId") {
        let (service, _) = action.split_once('.')?;
        let kind = resource_type.map_or_else(|| "resource".to_owned(), snake_case);
        return Some(format!("{service}_{kind}"));
    }
    let fits =
        |(scope, name, _): &&(&str, &str, &str)| action.starts_with(scope) && is(field, name);
    IDENTIFIERS.iter().find(fits).map(|(_, _, kind)| (*kind).to_owned())
}

/// Whether `field` is `name` or its plural. Some services start their fields with a capital.
fn is(field: &str, name: &str) -> bool {
    field.eq_ignore_ascii_case(name)
        || field.strip_suffix('s').is_some_and(|field| field.eq_ignore_ascii_case(name))
}
