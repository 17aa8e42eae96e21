package registrytest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

// An upload is a blob on its way in: the distribution-spec's "Pushing blobs".
type upload struct {
	repo    string
	content []byte
	state   int // of the last Location given out
	turn    int // of the request that may write
}

var (
	errTurn = errors.New("another request has taken over the upload")
	errFull = errors.New("the registry is full")
)

// postUpload begins an upload; with ?mount it tries to do without one, and
// with ?digest the body is all of it.
func (c *call) postUpload() {
	form := c.q.URL.Query()
	if d := digest.Digest(form.Get("mount")); d != "" {
		if !c.checkDigest(d) || c.mount(d, form.Get("from")) {
			return
		}
	}
	id, u := rand.Text(), &upload{repo: c.to.repo}
	if d := digest.Digest(form.Get("digest")); d != "" && form.Get("mount") == "" {
		switch {
		case !c.checkDigest(d):
		case c.receive(u):
			c.finish(u, d)
		default:
			c.release(u)
		}
		return
	}
	c.mu.Lock()
	c.uploads[id] = u
	c.mu.Unlock()
	c.progress(id, u, http.StatusAccepted)
}

// mount gives the repository a blob of another one, and reports whether that
// was possible.
func (c *call) mount(d digest.Digest, from string) bool {
	c.mu.Lock()
	b, ok := c.blob(from, d)
	if ok = ok && !c.o.NoMount && c.fits(int64(len(b))); ok {
		c.used += c.repository(c.to.repo).putBlob(d, b)
	}
	c.mu.Unlock()
	if ok {
		c.created(d)
	}
	return ok
}

// created tells that a blob is there.
func (c *call) created(d digest.Digest) {
	c.w.Header().Set("Docker-Content-Digest", d.String())
	c.location("/v2/%s/blobs/%s", c.to.repo, d)
	c.w.WriteHeader(http.StatusCreated)
}

// progress tells how far an upload is, and where to go on with it: not where
// the last answer said, because a registry may keep its state in the URL.
//
// The Range of an upload that has nothing is "0-0", as of one that has a
// byte. So do the registries that people use.
func (c *call) progress(id string, u *upload, status int) {
	c.mu.Lock()
	u.state++
	state, last := u.state, max(len(u.content)-1, 0)
	c.mu.Unlock()
	c.w.Header().Set("Docker-Upload-Uuid", id)
	c.w.Header().Set("Range", fmt.Sprintf("0-%d", last))
	c.location("/v2/%s/blobs/uploads/%s?_state=%d", c.to.repo, id, state)
	if status == http.StatusRequestedRangeNotSatisfiable {
		refuse(c.w, status, codeBlobUploadInvalid, fmt.Sprintf("the next byte is number %d", c.length(u)))
		return
	}
	c.w.WriteHeader(status)
}

func (c *call) length(u *upload) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(len(u.content))
}

// open returns the upload that the route names, or refuses the request.
func (c *call) open() (*upload, bool) {
	c.mu.Lock()
	u, ok := c.uploads[c.to.ref]
	c.mu.Unlock()
	if !ok || u.repo != c.to.repo {
		refuse(c.w, http.StatusNotFound, codeBlobUploadUnknown, "blob upload unknown to registry")
		return nil, false
	}
	if c.q.URL.Query().Get("_state") == "" {
		refuse(c.w, http.StatusBadRequest, codeBlobUploadInvalid, "the Location was not used as it was given")
		return nil, false
	}
	return u, true
}

// getUpload tells how far an upload is. What another request may still be
// writing is not taken any more, so that the answer stays true.
func (c *call) getUpload() {
	if u, ok := c.open(); ok {
		c.take(u)
		c.progress(c.to.ref, u, http.StatusNoContent)
	}
}

func (c *call) patchUpload() {
	u, ok := c.open()
	if !ok || !c.checkPlace(u) {
		return
	}
	if c.receive(u) {
		c.progress(c.to.ref, u, http.StatusAccepted)
	}
}

// putUpload ends an upload, with the rest of it in the body or an empty body.
func (c *call) putUpload() {
	u, ok := c.open()
	if !ok {
		return
	}
	d := digest.Digest(c.q.URL.Query().Get("digest"))
	if !c.checkDigest(d) || !c.checkPlace(u) || !c.receive(u) {
		return
	}
	c.drop(c.to.ref)
	c.finish(u, d)
}

func (c *call) deleteUpload() {
	u, ok := c.open()
	if !ok {
		return
	}
	c.drop(c.to.ref)
	c.take(u)
	c.release(u)
	c.w.WriteHeader(http.StatusNoContent)
}

// checkPlace refuses a chunk that does not begin where the upload is, or that
// was not sent where the last answer said.
func (c *call) checkPlace(u *upload) bool {
	c.mu.Lock()
	state, at := strconv.Itoa(u.state), int64(len(u.content))
	c.mu.Unlock()
	ok := c.q.URL.Query().Get("_state") == state
	if h := c.q.Header.Get("Content-Range"); h != "" {
		first, last, valid := parseContentRange(h)
		if n := c.q.ContentLength; !valid || n >= 0 && n != last-first+1 {
			refuse(c.w, http.StatusBadRequest, codeSizeInvalid, "Content-Range is not that of the body")
			return false
		}
		ok = ok && first == at
	}
	if !ok {
		c.progress(c.to.ref, u, http.StatusRequestedRangeNotSatisfiable)
	}
	return ok
}

// parseContentRange reads the Content-Range of a chunk, "FIRST-LAST", which
// is not that of RFC 9110.
func parseContentRange(s string) (first, last int64, ok bool) {
	a, b, found := strings.Cut(s, "-")
	first, err1 := strconv.ParseInt(a, 10, 64)
	last, err2 := strconv.ParseInt(b, 10, 64)
	return first, last, found && err1 == nil && err2 == nil && first >= 0 && last >= first
}

const maxGrow = 16 << 20 // bytes made room for because a client announced them

// take gives the request the right to write to an upload, which whoever had
// it before loses. It returns the number of its turn.
func (c *call) take(u *upload) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	u.turn++
	return u.turn
}

// receive appends the body of the request to an upload. If the body breaks
// off, what came stays. It refuses the request if it reports false.
func (c *call) receive(u *upload) bool {
	turn := c.take(u)
	c.mu.Lock()
	u.content = slices.Grow(u.content, int(min(max(c.q.ContentLength, 0), maxGrow)))
	c.mu.Unlock()
	buf := make([]byte, 32<<10)
	for {
		n, err := c.q.Body.Read(buf)
		if werr := c.write(u, turn, buf[:n]); werr != nil {
			err = werr
		}
		switch err {
		case nil:
			continue
		case io.EOF:
			return true
		case errFull:
			refuse(c.w, http.StatusForbidden, codeDenied, err.Error())
		default:
			refuse(c.w, http.StatusBadRequest, codeBlobUploadInvalid, err.Error())
		}
		return false
	}
}

func (c *call) write(u *upload, turn int, p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if u.turn != turn {
		return errTurn
	}
	if !c.fits(int64(len(p))) {
		return errFull
	}
	u.content = append(u.content, p...)
	c.used += int64(len(p))
	return nil
}

// drop ends the session of an upload.
func (c *call) drop(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.uploads, id)
}

// release gives back the bytes of an upload that comes to nothing.
func (c *call) release(u *upload) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used -= int64(len(u.content))
	u.content = nil
}

// finish makes a blob of an upload, if it is what the client says.
func (c *call) finish(u *upload, d digest.Digest) {
	c.take(u)
	c.mu.Lock()
	content := slices.Clip(u.content)
	c.mu.Unlock()
	if got := d.Algorithm().FromBytes(content); got != d {
		c.release(u)
		refuse(c.w, http.StatusBadRequest, codeDigestInvalid, "provided digest did not match uploaded content")
		return
	}
	c.mu.Lock()
	c.used += c.repository(u.repo).putBlob(d, content) - int64(len(content))
	c.mu.Unlock()
	c.created(d)
}
