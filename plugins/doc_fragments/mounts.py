# Copyright: samefiles.aws contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that describe EFS mounts, documented once for every module that takes them."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of samefiles.aws.mounts."""

    DOCUMENTATION = r"""
options:
  mounts:
    description: All EFS mounts of the host.
    type: list
    elements: dict
    required: true
    suboptions:
      file_system:
        description: Id of the file system, V(fs-) and 8 or 17 hexadecimal digits.
        type: str
        required: true
      path:
        description: Where it is mounted; absolute, and not reached through a symbolic link.
        type: str
        required: true
      directory:
        description: The directory of the file system that is mounted. Not with O(mounts[].access_point), which has its own.
        type: str
        default: /
      transport:
        description: How it is reached; see O(transport).
        type: str
        choices: [stunnel, plain, efs-utils]
      access_point:
        description: Id of an access point. Only with V(efs-utils), whose client certificate carries it.
        type: str
      iam:
        description: Whether the client identifies itself by the instance's role. Only with V(efs-utils).
        type: bool
        default: false
      region:
        description: Region of the file system; see O(region).
        type: str
      mount_target:
        description: IP address of a mount target, where the file system's name does not resolve on the host.
        type: str
      ca_file:
        description:
          - File on the host with the certificate authorities that may sign the file system's certificate.
          - Without it the system's own bundle is used.
        type: str
      options:
        description:
          - Mount options that override the defaults key by key, such as V(ro) or V(timeo=300).
          - The defaults are those that the EFS user guide recommends (V(nfsvers=4.1,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport))
            and V(lookupcache=positive). Without the latter a host that has asked for a name before another host made it
            goes on for up to 30 seconds saying that there is no such file.
        type: list
        elements: str
        default: []
      owner:
        description: Owner of the file system's root directory, by name or number. A new file system's root belongs to root.
        type: str
      group:
        description: Group of the file system's root directory, by name or number.
        type: str
      mode:
        description: Mode of the file system's root directory, an octal number in quotes such as V('0750').
        type: str
      replace:
        description:
          - Whether another mount at this path, or a line of fstab for it that is not ours, is replaced.
          - Without it both stop the run, and nothing is touched.
        type: bool
        default: false
      state:
        description: Whether it is to be mounted, or unmounted and forgotten. The files in the file system are never touched.
        type: str
        choices: [mounted, absent]
        default: mounted
  transport:
    description:
      - How file systems are reached by mounts that do not say it themselves.
      - V(stunnel) is TLS with the distribution's own stunnel, by one tunnel for each file system.
      - V(plain) is NFS without encryption.
      - V(efs-utils) is AWS's C(mount.efs).
    type: str
    choices: [stunnel, plain, efs-utils]
    default: stunnel
  region:
    description: Region of the file systems of mounts that do not say it themselves.
    type: str
"""
