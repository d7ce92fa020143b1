"""S3 of the lab, in one container: SeaweedFS, which stores and judges, the front that mends it, and instance metadata."""
