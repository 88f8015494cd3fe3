"""Links to pages that a browser opens from the Prefect UI: browsers block `file://` there.

A page in a folder is linked to `cosmic ui`, while that serves the folder; a page on S3 to the AWS console, or to the
endpoint that stands for S3. No link holds a signature, because the server keeps artifacts for everyone who can read it.
"""

from urllib.parse import quote, urlencode

from inference.storage.aws_identity import s3_access
from inference.storage.store import Store
from tasks.prefect_support.artifacts import create_link_artifact
from tasks.prefect_support.running_ui import address_of

_CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


def page_url(store: Store, bucket: str, key: str) -> str | None:
    """Address of an object for a browser.

    Returns:
        None for a file that no `cosmic ui` serves, and for S3 in an AWS partition whose console is not known here.

    Raises:
        StoreError: AWS's region or credentials cannot be found.
    """
    path = store.local_path(bucket, key)
    if path is not None:
        return address_of(path)
    access = s3_access()
    if "amazonaws." not in access.endpoint:
        return f"{access.endpoint.rstrip('/')}/{quote(f'{bucket}/{key}')}"
    console = _CONSOLES.get(access.partition)
    return (
        f"https://{console}/s3/object/{bucket}?{urlencode({'region': access.region, 'prefix': key})}"
        if console
        else None
    )


def publish_link(url: str | None, key: str, text: str, description: str) -> None:
    """Publish a link artifact, unless there is nothing to link to."""
    if url is not None:
        create_link_artifact(url, key=key, link_text=text, description=description)
