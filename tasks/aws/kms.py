"""Buckets under a KMS key: seen at deployment, because a role without the key fails only when a rank reads."""

from botocore.exceptions import ClientError

from inference.errors import BadInput
from tasks.aws.session import client, explain


def check_key(bucket: str, key: str) -> None:
    """See that the functions' roles will be able to read and write a bucket.

    Args:
        bucket: name; one that does not exist yet is made with the key.
        key: ARN that is given to the roles; "" for none.

    Raises:
        BadInput: the key is disabled, not for encryption, of another region or not there; or the bucket is encrypted
            with another one.
    """
    arn = _arn_of(key) if key else ""
    used = _key_of(bucket)
    if not used:
        return
    if not arn:
        raise BadInput(f"the bucket {bucket} is encrypted with a KMS key: deploy with --kms-key {used}")
    if _arn_of(used) != arn:
        raise BadInput(f"--kms-key: the bucket {bucket} is encrypted with {used}, not with {key}")


def _arn_of(key: str) -> str:
    """The ARN of a key that can encrypt here, given by ARN, id or alias."""
    kms = client("kms")
    try:
        found = kms.describe_key(KeyId=key)["KeyMetadata"]
    except ClientError as error:
        raise BadInput(f"--kms-key: {key} cannot be used: {explain(error)}") from None
    if found.get("KeyState", "Enabled") != "Enabled":
        raise BadInput(f"--kms-key: the key {key} is {found['KeyState']}, not enabled")
    if found.get("KeyUsage", "ENCRYPT_DECRYPT") != "ENCRYPT_DECRYPT":
        raise BadInput(f"--kms-key: the key {key} is for {found['KeyUsage']}, not for encryption")
    return str(found["Arn"])


def _key_of(bucket: str) -> str:
    """The customer's KMS key that encrypts a bucket by default; "" for S3's own keys or a bucket that is not there."""
    try:
        rules = client("s3").get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    except ClientError:
        return ""
    settings = [rule.get("ApplyServerSideEncryptionByDefault", {}) for rule in rules]
    return next((str(each["KMSMasterKeyID"]) for each in settings if each.get("KMSMasterKeyID")), "")
