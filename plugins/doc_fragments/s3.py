# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that say where S3 is and with which credentials it is used."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of samefiles.aws.s3."""

    DOCUMENTATION = r"""
options:
  region:
    description: Region of the bucket; a bucket of another one is followed there.
    type: str
    aliases: [aws_region, ec2_region]
  endpoint_url:
    description: Endpoint of another S3 server, or of a VPC. C(AWS_ENDPOINT_URL_S3) and the AWS configuration count too.
    type: str
    aliases: [aws_endpoint_url, s3_url]
  addressing_style:
    description: Whether the bucket is part of the host name (V(virtual)) or of the path.
    type: str
    choices: [auto, path, virtual]
  use_fips_endpoint:
    description: Whether Amazon's FIPS endpoint is used.
    type: bool
  use_dualstack_endpoint:
    description: Whether Amazon's endpoint for IPv4 and IPv6 is used.
    type: bool
  access_key:
    description: Access key, which is a name and no secret. Without one botocore looks for credentials, an instance role's last.
    type: str
    aliases: [aws_access_key_id, aws_access_key]
  secret_key:
    description: Secret key.
    type: str
    aliases: [aws_secret_access_key, aws_secret_key]
  session_token:
    description: Session token of temporary credentials.
    type: str
    aliases: [aws_session_token, security_token, aws_security_token]
  profile:
    description: Profile of the AWS configuration.
    type: str
    aliases: [aws_profile]
  aws_ca_bundle:
    description: File with the CA certificates that the server is judged by; C(AWS_CA_BUNDLE) and C(ca_bundle) of the AWS configuration count too.
    type: path
  validate_certs:
    description: Whether the server's certificate is checked.
    type: bool
    default: true
"""
