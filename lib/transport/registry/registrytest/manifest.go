package registrytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/oci"
)

// getManifest serves a manifest byte for byte, under the type with which it
// was pushed: the distribution-spec's "Pulling manifests".
func (c *call) getManifest() {
	c.mu.Lock()
	d, m, ok := c.manifest(c.to.repo, c.to.ref)
	c.mu.Unlock()
	if !ok {
		refuse(c.w, http.StatusNotFound, codeManifestUnknown, "manifest unknown")
		return
	}
	if !accepts(c.q.Header.Values("Accept"), m.MediaType) {
		refuse(c.w, http.StatusNotFound, codeManifestUnknown, "manifest found, but its type is not accepted: "+m.MediaType)
		return
	}
	h := c.w.Header()
	h.Set("Content-Type", m.MediaType)
	h.Set("Docker-Content-Digest", d.String())
	h.Set("Etag", strconv.Quote(d.String()))
	if c.q.Header.Get("If-None-Match") == h.Get("Etag") {
		c.w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(m.Bytes)))
	if c.q.Method != http.MethodHead {
		c.w.Write(m.Bytes)
	}
}

// accepts reports whether a client that sent these Accept lines takes a media
// type. As with many registries, one that sent none takes all, and how much
// it prefers one to another does not matter.
func accepts(lines []string, mediaType string) bool {
	for _, line := range lines {
		for entry := range strings.SplitSeq(line, ",") {
			entry, _, _ = strings.Cut(entry, ";")
			switch strings.TrimSpace(entry) {
			case mediaType, "*/*", "application/*":
				return true
			}
		}
	}
	return len(lines) == 0
}

// named is what a manifest of any kind says of others.
type named struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Config       *oci.Descriptor   `json:"config"`
	Layers       []oci.Descriptor  `json:"layers"`
	Blobs        []oci.Descriptor  `json:"blobs"`
	Manifests    []oci.Descriptor  `json:"manifests"`
	Subject      *oci.Descriptor   `json:"subject"`
	Annotations  map[string]string `json:"annotations"`
}

// putManifest stores a manifest: the distribution-spec's "Pushing Manifests".
func (c *call) putManifest() {
	m, ok := c.readManifest()
	if !ok {
		return
	}
	n, err := parseNamed(m)
	if err != nil {
		refuse(c.w, http.StatusBadRequest, codeManifestInvalid, err.Error())
		return
	}
	d, tag, ok := c.nameOf(m)
	if !ok {
		return
	}
	c.mu.Lock()
	refusal := c.storeManifest(d, tag, m, n)
	c.mu.Unlock()
	if refusal != nil {
		refuse(c.w, refusal.status, refusal.code, refusal.message)
		return
	}
	if n.Subject != nil && c.o.Referrers {
		c.w.Header().Set("OCI-Subject", n.Subject.Digest.String())
	}
	c.w.Header().Set("Docker-Content-Digest", d.String())
	c.location("/v2/%s/manifests/%s", c.to.repo, d)
	c.w.WriteHeader(http.StatusCreated)
}

// readManifest reads the body, which is limited as the specification has it.
func (c *call) readManifest() (oci.Raw, bool) {
	var b bytes.Buffer
	_, err := b.ReadFrom(http.MaxBytesReader(c.w, c.q.Body, oci.MaxManifest))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		refuse(c.w, http.StatusRequestEntityTooLarge, codeSizeInvalid, fmt.Sprintf("manifest is larger than %d bytes", oci.MaxManifest))
	case err != nil:
		refuse(c.w, http.StatusBadRequest, codeManifestInvalid, err.Error())
	}
	return oci.Raw{MediaType: c.q.Header.Get("Content-Type"), Bytes: b.Bytes()}, err == nil
}

// parseNamed reads what a manifest names. It is as lax as registries are.
func parseNamed(m oci.Raw) (*named, error) {
	var n named
	if err := json.Unmarshal(m.Bytes, &n); err != nil {
		return nil, err
	}
	switch {
	case m.MediaType == "":
		return nil, errors.New("Content-Type is missing")
	case n.MediaType != "" && n.MediaType != m.MediaType:
		return nil, fmt.Errorf("mediaType is %q, but Content-Type %q", n.MediaType, m.MediaType)
	}
	return &n, nil
}

// nameOf returns the digest that a manifest gets, and the tag if it is pushed
// by one. The digest is that of the URL, by whatever algorithm, or sha256.
func (c *call) nameOf(m oci.Raw) (d digest.Digest, tag string, ok bool) {
	if validTag(c.to.ref) {
		return m.Digest(), c.to.ref, true
	}
	d, ok = c.digest()
	if ok && m.DigestBy(d.Algorithm()) != d {
		refuse(c.w, http.StatusBadRequest, codeDigestInvalid, "provided digest did not match uploaded content")
		return "", "", false
	}
	return d, "", ok
}

// A refusal is an error answer.
type refusal struct {
	status        int
	code, message string
}

// storeManifest stores a manifest of which all parts are there. It is called
// with Registry.mu held.
func (c *call) storeManifest(d digest.Digest, tag string, m oci.Raw, n *named) *refusal {
	if match := c.q.Header.Get("If-Match"); match != "" {
		if now, _, _ := c.manifest(c.to.repo, c.to.ref); match != strconv.Quote(now.String()) {
			return &refusal{http.StatusPreconditionFailed, codeManifestInvalid, "it is " + now.String() + " by now"}
		}
	}
	if missing := c.missing(n); missing != "" && !c.o.AllowMissing {
		return &refusal{http.StatusBadRequest, codeManifestBlobUnknown, "manifest references a manifest or blob unknown to registry: " + missing.String()}
	}
	if !c.fits(int64(len(m.Bytes))) {
		return &refusal{http.StatusForbidden, codeDenied, errFull.Error()}
	}
	into := c.repository(c.to.repo)
	c.used += into.putManifest(d, m)
	if tag != "" {
		into.tags[tag] = d
	}
	return nil
}

// missing returns the first digest that a manifest names and the repository
// does not have, "" if it has all. Layers with URLs lie elsewhere; a subject
// may come later.
func (c *call) missing(n *named) digest.Digest {
	into, ok := c.repos[c.to.repo]
	if !ok {
		into = &repository{} // it is not there before something is
	}
	blobs := append(n.Layers, n.Blobs...)
	if n.Config != nil {
		blobs = append(blobs, *n.Config)
	}
	for _, d := range blobs {
		if _, ok := into.blobs[d.Digest]; !ok && len(d.URLs) == 0 {
			return d.Digest
		}
	}
	for _, d := range n.Manifests {
		_, manifest := into.manifests[d.Digest]
		if _, blob := into.blobs[d.Digest]; !manifest && !blob {
			return d.Digest
		}
	}
	return ""
}

// deleteManifest deletes by digest, with all the tags of the manifest, or by
// tag where that is possible: the distribution-spec's "Content Management".
func (c *call) deleteManifest() {
	tag := validTag(c.to.ref)
	if tag && !c.o.TagDelete {
		refuse(c.w, http.StatusMethodNotAllowed, codeUnsupported, "tags cannot be deleted")
		return
	}
	if !tag && !c.checkDigest(digest.Digest(c.to.ref)) {
		return
	}
	c.mu.Lock()
	d, _, ok := c.manifest(c.to.repo, c.to.ref)
	switch {
	case ok && tag:
		delete(c.repos[c.to.repo].tags, c.to.ref)
	case ok:
		c.dropManifest(c.to.repo, d)
	}
	c.mu.Unlock()
	if !ok {
		refuse(c.w, http.StatusNotFound, codeManifestUnknown, "manifest unknown")
		return
	}
	c.w.WriteHeader(http.StatusAccepted)
}
