"""Buckets: made, looked into, emptied and removed."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from inference.errors import BadInput
from tasks.aws.session import client, explain

OWNER_TAG = "cosmic-flows:made-by-stack"


@dataclass(frozen=True)
class BucketContent:
    """What lies in a bucket, or under a prefix of it.

    Attributes:
        bucket: its name; `prefix` the part that is meant, "" for all.
        versions: of objects, delete markers included.
        size: bytes of all versions.
        folders: versions in each first-level folder, the fullest first.
    """

    bucket: str
    prefix: str
    versions: int
    size: int
    folders: tuple[tuple[str, int], ...]


def is_there(s3: Any, bucket: str) -> bool:
    """Whether the bucket exists, in this account and in the client's region.

    Raises:
        BadInput: it is another account's or another region's.
    """
    try:
        where = s3.head_bucket(Bucket=bucket).get("BucketRegion") or s3.meta.region_name
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return False
        raise BadInput(f"the bucket {bucket} cannot be used: it is another account's, or access is denied") from None
    if where != s3.meta.region_name:
        raise BadInput(f"the bucket {bucket} lies in {where}, and functions in {s3.meta.region_name} do not reach it")
    return True


def make_bucket(bucket: str) -> bool:
    """Make a private, encrypted bucket unless it exists; return whether it was made.

    Raises:
        BadInput: it is another account's or of another region, or may not be made.
    """
    s3 = client("s3")
    if is_there(s3, bucket):
        return False
    region = str(s3.meta.region_name)
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    try:
        s3.create_bucket(Bucket=bucket, **where)
    except ClientError as error:
        raise BadInput(f"the bucket {bucket} cannot be made: {explain(error)}") from None
    s3.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration=dict.fromkeys(
            ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
        ),
    )
    return True


def owner_of(bucket: str) -> str:
    """The stack that made the bucket, by its tag; "" where no stack did, or it does not exist."""
    return _tags(client("s3"), bucket).get(OWNER_TAG, "")


def mark_owner(bucket: str, stack: str) -> None:
    """Tag the bucket with the stack that made it, so that `cosmic destroy` knows it after the stack was removed.

    Raises:
        ClientError: AWS refuses.
    """
    s3 = client("s3")
    tags = _tags(s3, bucket)
    if tags.get(OWNER_TAG) != stack:
        own = {name: value for name, value in tags.items() if not name.startswith("aws:")} | {OWNER_TAG: stack}
        s3.put_bucket_tagging(
            Bucket=bucket, Tagging={"TagSet": [{"Key": name, "Value": value} for name, value in own.items()]}
        )


def _tags(s3: Any, bucket: str) -> dict[str, str]:
    try:
        return {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=bucket)["TagSet"]}
    except ClientError:
        return {}


def content_of(bucket: str, prefix: str = "") -> BucketContent:
    """Count what is there, every version of every object.

    Raises:
        ClientError: AWS refuses.
    """
    size, folders = 0, Counter[str]()
    for version in _versions(bucket, prefix):
        size += version.get("Size", 0)
        folder, slash, _ = version["Key"].partition("/")
        folders[folder + slash] += 1
    return BucketContent(bucket, prefix, folders.total(), size, tuple(folders.most_common()))


def empty(bucket: str, prefix: str = "") -> None:
    """Delete every version of every object under the prefix.

    Raises:
        ClientError: AWS refuses.
        BadInput: some could not be deleted.
    """
    s3, batch = client("s3"), list[dict[str, str]]()

    def remove() -> None:
        left = s3.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True}).get("Errors", [])
        batch.clear()
        if left:
            raise BadInput(f"{bucket}/{left[0].get('Key')} cannot be deleted: {left[0].get('Code')}")

    for version in _versions(bucket, prefix):
        batch.append({"Key": version["Key"], "VersionId": version["VersionId"]})
        if len(batch) == 1000:  # as many as one call takes
            remove()
    if batch:
        remove()


def delete_bucket(bucket: str) -> bool:
    """Delete the bucket if nothing is in it; return whether it is gone.

    Raises:
        ClientError: AWS refuses for another reason.
    """
    try:
        client("s3").delete_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] == "BucketNotEmpty":
            return False
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise
    return True


def _versions(bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    """Versions and delete markers; none where the bucket does not exist."""
    try:
        for page in client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
            for kind in ("Versions", "DeleteMarkers"):
                yield from page.get(kind, [])
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise
