"""The lab: one machine that stands in for AWS, so that site.yml converges real servers with no AWS account."""
