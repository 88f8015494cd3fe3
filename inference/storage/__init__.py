"""The object store: S3 or a local folder, and leases in it."""
