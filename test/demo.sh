#!/usr/bin/env bash
# demo.sh: what the tools do, command by command, on two registries that it
# starts on loopback. It needs Go and make, and leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
servers=()
cleanup() {
	[ ${#servers[@]} = 0 ] || kill "${servers[@]}" 2>/dev/null || :
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

say() { printf '\n# %s\n' "$*"; }

# run shows a command line and what comes of it, and fails if it does.
run() {
	printf '$ %s\n' "$1"
	bash -o pipefail -c "$1" || { echo "demo: that failed with exit code $?" >&2; exit 1; }
}

# same runs two command lines that must print the same.
same() {
	run "$1" | tee "$work/.one"
	run "$2" | tee "$work/.two"
	cmp -s <(tail -n +2 "$work/.one") <(tail -n +2 "$work/.two") || { echo "demo: these differ" >&2; exit 1; }
}

# registry starts one, for everybody or for USER:PASSWORD; its address is in
# $address.
registry() {
	exec {out}< <(exec "$work/bin/registry" "$@")
	servers+=($!)
	read -r address <&"$out"
}

make -s img
mkdir -p "$work/bin" "$work/home"
go build -o "$work/bin/" ./test/demo/registry ./test/demo/image
cp bin/img "$work/bin/"
"$work/bin/img" --install "$work/bin"
export PATH="$work/bin:$PATH" HOME="$work/home" XDG_RUNTIME_DIR="$work/home"
unset REGISTRY_AUTH_FILE DOCKER_CONFIG
cd "$work"
image samples
registry && A=$address
registry && B=$address

say "An image for three platforms, with its attestations, into a registry"
run "img-copy oci:samples:platforms docker://$A/demo/app:1"

say "What is it?"
run "img-inspect docker://$A/demo/app:1"

say "From registry to registry. One line on stdout says what is there now"
run "img-copy -q docker://$A/demo/app:1 docker://$B/demo/app:1"

say "A copy is the same, byte for byte"
same "img-inspect --raw docker://$A/demo/app:1 | img-manifest-digest" \
	"img-inspect --raw docker://$B/demo/app:1 | img-manifest-digest"

say "Into a layout, a directory, and archives that others read"
run "img-copy -q docker://$A/demo/app:1 oci:layout:app"
run "img-copy -q docker://$A/demo/app:1 oci-archive:app.oci.tar:app"
run "img-copy -q --platform linux/amd64 docker://$A/demo/app:1 dir:folder"
run "img-copy -q --platform linux/amd64 docker://$A/demo/app:1 docker-archive:app.docker.tar:demo/app:1"
run "ls layout folder; tar tf app.docker.tar"

say "An image is also a stream: through a pipe, into the other registry"
run "img-copy -q docker://$A/demo/app:1 - | img-copy -q - docker://$B/demo/piped:1"
same "img-inspect --raw oci:layout:app | img-manifest-digest" \
	"img-inspect --raw docker://$B/demo/piped:1 | img-manifest-digest"

say "Not only images: an artifact"
run "img-copy -q oci:samples:artifact docker://$B/demo/note:1"
run "img-inspect --raw docker://$B/demo/note:1"

say "Signatures and SBOMs that are attached go along, and are asked for in the end"
run "img-copy -q --with=all oci:samples:signed docker://$A/demo/signed:1"
run "img-copy -q --with=all docker://$A/demo/signed:1 - | img-copy -q --with=all - docker://$B/demo/signed:1"
run "img-inspect --referrers docker://$B/demo/signed:1"

say "A registry that wants to know who comes: the password is in no command line"
registry me:secret && C=$address
run "printf secret | img-login --username me --password-stdin $C"
run "img-copy -q docker://$A/demo/app:1 docker://$C/demo/app:1.0.0"
run "img-copy -q docker://$A/demo/app:1 docker://$C/demo/app:1.1.0"
run "img-copy -q docker://$A/demo/app:1 docker://$C/demo/app:1.10.0"
run "img-list-tags --sort version docker://$C/demo/app"

say "Delete a name, and nothing else; keep the newest by a rule"
run "img-delete docker://$C/demo/app:1.0.0"
run "img-delete --keep 1 --dry-run docker://$C/demo/app"
run "img-list-tags --digests docker://$C/demo/app"
run "img-logout $C"

say "A mirror before the registry, as registries.conf has it"
printf '[[registry]]\nlocation = "registry.example.com"\n[[registry.mirror]]\nlocation = "%s/demo"\n' "$B" >mirrors.conf
run "img-inspect --registries-conf mirrors.conf --digest docker://registry.example.com/app:1"

say "What would be done, without doing it"
run "img-copy --dry-run docker://$B/demo/app:1 docker://$A/demo/again:1"

printf '\n# Done: %s\n' "$(cd "$root" && bin/img --version)"
