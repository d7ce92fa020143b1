"""S3 of the lab, in one container: SeaweedFS, which stores and judges, the front that corrects it, and instance metadata."""
