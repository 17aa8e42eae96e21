#!/bin/sh
# install.sh: what the tests need on Debian 12 with Go. What is there already
# is left alone, so that running it again takes no time. The programs built
# from Go are pinned in tools/go.mod and, because it needs other versions of
# what they all need, cosign in a module of its own, tools/cosign/go.mod; they
# are kept in the user's cache, and .bin here is a link to them.
set -eu
cd "$(dirname "$0")"
PATH=$PATH:/usr/sbin:/sbin

# program:package
programs='
skopeo:skopeo docker-registry:docker-registry docker:docker.io dockerd:docker.io
containerd:containerd ctr:containerd podman:podman umoci:umoci mandoc:mandoc
zstd:zstd xz:xz-utils bzip2:bzip2 strace:strace gpg:gnupg pass:pass jq:jq
curl:curl openssl:openssl fuse-overlayfs:fuse-overlayfs crun:crun newuidmap:uidmap
git:git gcc:gcc
'
missing=
for p in $programs; do
	command -v "${p%:*}" >/dev/null || missing="$missing ${p#*:}"
done
[ -e /etc/containers/policy.json ] || missing="$missing golang-github-containers-common"
[ -e /usr/include/stdlib.h ] || missing="$missing libc6-dev" # for the race detector
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"

if [ -n "$missing" ]; then
	missing=$(printf '%s\n' $missing | sort -u | tr '\n' ' ')
	if [ "$(id -u)" != 0 ]; then
		echo "install.sh: as root: apt-get install --no-install-recommends $missing" >&2
		exit 1
	fi
	# The daemons among them are started by the tests, not by their packages.
	if [ ! -e /usr/sbin/policy-rc.d ]; then
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
		printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
		chmod 755 /usr/sbin/policy-rc.d
	fi
	apt-get update -qq
	# shellcheck disable=SC2086
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing </dev/null
fi

key=$(cat tools/go.* tools/cosign/go.* | sha256sum | cut -c 1-12)-$(go env GOVERSION)-$(go env GOARCH)
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/imgtools-test/$key
if [ ! -d "$cache" ]; then
	echo "building the peers pinned in test/tools, once for this machine; cosign takes minutes"
	new=$cache.$$
	mkdir -p "$new"
	for module in tools tools/cosign; do
		(cd $module && GOFLAGS= CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$new/" tool)
	done
	mv "$new/cmd" "$new/docker-credential-pass" # .../pass/cmd
	mv -T "$new" "$cache" 2>/dev/null || rm -r "$new" # somebody else was quicker
fi
[ -L .bin ] || rm -rf .bin # a directory would get the link into it
ln -sfn "$cache" .bin
