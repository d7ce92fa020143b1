#!/bin/sh
# Doubles of the packages and repositories that the role uses: real packages in real, really signed repositories, but
# without the software. `build.sh DIRECTORY` fills the directory with
#   key.asc fingerprint          the key that signs, and its fingerprint as gpg prints it
#   other.asc other.fingerprint  another key, which signs nothing
#   amazon-efs-utils.{deb,rpm}   package files, with checksums beside them (.sha256)
#   deb/archive deb/efs          the distribution's archive, and a repository laid out as AWS's for Ubuntu 24.04
#   rpm/rhel rpm/amazon rpm/efs  the distributions' repositories (only Amazon's has efs-utils), and one as AWS's
set -eu
out=$1
work=$(mktemp -d)
export HOME="$work" GNUPGHOME="$work/gnupg"
mkdir -m 700 "$GNUPGHOME"
cd "$work"

make_key() { # name file
    gpg --batch --quiet --passphrase '' --quick-generate-key "A double: $1 <$1@example.invalid>" rsa2048 sign never 2>/dev/null
    gpg --armor --export "$1@" >"$out/$2.asc"
    gpg --with-colons --fingerprint "$1@" 2>/dev/null | awk -F: '/^fpr/ { print $10; exit }'
}
make_key packages key >"$out/fingerprint"
make_key other other >"$out/other.fingerprint"

mkdir -p tree/usr/bin tree/usr/lib/systemd/system
printf '#!/bin/sh\nexec sleep infinity\n' >tree/usr/bin/amazon-efs-mount-watchdog
chmod 755 tree/usr/bin/amazon-efs-mount-watchdog
cat >tree/usr/lib/systemd/system/amazon-efs-mount-watchdog.service <<UNIT
[Unit]
Description=A double of amazon-efs-mount-watchdog
[Service]
ExecStart=/usr/bin/env amazon-efs-mount-watchdog
KillMode=process
Restart=on-failure
RestartSec=15s
[Install]
WantedBy=multi-user.target
UNIT

deb() { # directory name version [depends [tree]]
    rm -rf pack
    mkdir -p pack/DEBIAN "$1"
    [ -z "${5:-}" ] || cp -a "$5/." pack
    cat >pack/DEBIAN/control <<CONTROL
Package: $2
Version: $3
Architecture: all
Maintainer: nobody <nobody@example.invalid>
Depends: ${4:-python3}
Description: A double of $2, for tests
CONTROL
    dpkg-deb --root-owner-group -Znone --build pack "$1/$2_${3#*:}_all.deb" >/dev/null
}
deb deb/archive nfs-common 1:2.6.4
deb deb/archive stunnel4 3:5.72
for version in 3.2.0 3.3.0; do
    deb deb/efs/pool/main amazon-efs-utils $version 'python3, nfs-common, stunnel4 (>= 4.56), openssl (>= 1.0.2), util-linux' tree
done
cp deb/efs/pool/main/amazon-efs-utils_3.2.0_all.deb "$out/amazon-efs-utils.deb"
(cd deb/archive && apt-ftparchive packages . >Packages)
mkdir -p deb/efs/dists/24.04/main/binary-amd64
(cd deb/efs && apt-ftparchive packages pool >dists/24.04/main/binary-amd64/Packages)
cd deb/efs/dists/24.04
apt-ftparchive -o APT::FTPArchive::Release::Suite=24.04 -o APT::FTPArchive::Release::Components=main \
    -o APT::FTPArchive::Release::Architectures=amd64 release . >"$work/Release"
gpg --batch --quiet --local-user packages@ --clearsign --output InRelease "$work/Release"
cd "$work"

rpm() { # directory name version [requires [tree]]
    mkdir -p "$1"
    cat >"$2.spec" <<SPEC
Name: $2
Version: $3
Release: 1
Summary: A double of $2, for tests
License: GPL-3.0-or-later
BuildArch: noarch
AutoReqProv: no
${4:+Requires: $4}
%description
%{summary}
%install
mkdir -p %{buildroot}
[ -z "${5:-}" ] || cp -a "$work/${5:-}/." %{buildroot}
%files
$([ -z "${5:-}" ] || (cd "$5" && find . -type f | cut -c 2-))
SPEC
    rpmbuild --quiet -bb --define "_topdir $work/rpmbuild" --define "_rpmdir $work/$1" \
        --define '_build_name_fmt %%{NAME}-%%{VERSION}.rpm' "$2.spec"
}
for name in nfs-utils stunnel ca-certificates openssl util-linux which; do
    rpm rpm/rhel $name 9.0
done
for version in 3.2.0 3.3.0; do
    rpm rpm/efs amazon-efs-utils $version 'nfs-utils, stunnel, openssl, util-linux, which' tree
done
cp -a rpm/rhel rpm/amazon
cp rpm/efs/amazon-efs-utils-3.2.0.rpm rpm/amazon
cp rpm/efs/amazon-efs-utils-3.2.0.rpm "$out/amazon-efs-utils.rpm"
rpmsign --define '_gpg_name packages@' --addsign rpm/efs/*.rpm >/dev/null
for name in rhel amazon efs; do
    createrepo_c --quiet --no-database "rpm/$name"
done

for name in amazon-efs-utils.deb amazon-efs-utils.rpm; do
    sha256sum "$out/$name" | cut -d ' ' -f 1 >"$out/$name.sha256"
done
cp -a deb rpm "$out"
chmod -R a+rX "$out"
gpgconf --kill all
rm -rf "$work"
