package registrytest

import (
	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/oci"
)

// A repository holds content. The same blob in two repositories is there
// twice: whoever may read one of them may not, for that, read the other.
type repository struct {
	blobs     map[digest.Digest][]byte
	manifests map[digest.Digest]oci.Raw
	tags      map[string]digest.Digest
}

// The functions of this file are called with Registry.mu held.

// repository returns the repository of that name, which comes into being by
// being written to.
func (r *Registry) repository(name string) *repository {
	repo, ok := r.repos[name]
	if !ok {
		repo = &repository{map[digest.Digest][]byte{}, map[digest.Digest]oci.Raw{}, map[string]digest.Digest{}}
		r.repos[name] = repo
	}
	return repo
}

// putBlob stores a blob and returns how many bytes more are used.
func (r *repository) putBlob(d digest.Digest, b []byte) int64 {
	old, ok := r.blobs[d]
	r.blobs[d] = b
	if ok {
		return int64(len(b) - len(old))
	}
	return int64(len(b))
}

// putManifest stores a manifest and returns how many bytes more are used.
func (r *repository) putManifest(d digest.Digest, m oci.Raw) int64 {
	old := r.manifests[d]
	r.manifests[d] = m
	return int64(len(m.Bytes) - len(old.Bytes))
}

// blob returns a blob of a repository.
func (r *Registry) blob(repo string, d digest.Digest) ([]byte, bool) {
	from, ok := r.repos[repo]
	if !ok {
		return nil, false
	}
	b, ok := from.blobs[d]
	return b, ok
}

// manifest returns the manifest that a tag or digest stands for.
func (r *Registry) manifest(repo, ref string) (digest.Digest, oci.Raw, bool) {
	from, ok := r.repos[repo]
	if !ok {
		return "", oci.Raw{}, false
	}
	d, tagged := from.tags[ref]
	if !tagged {
		d = digest.Digest(ref)
	}
	m, ok := from.manifests[d]
	return d, m, ok
}

// dropManifest removes a manifest and every tag that stands for it.
func (r *Registry) dropManifest(repo string, d digest.Digest) {
	from := r.repos[repo]
	r.used -= int64(len(from.manifests[d].Bytes))
	delete(from.manifests, d)
	for tag, at := range from.tags {
		if at == d {
			delete(from.tags, tag)
		}
	}
}

// fits reports whether n bytes more may be stored.
func (r *Registry) fits(n int64) bool { return r.used+n <= r.o.MaxBytes }
