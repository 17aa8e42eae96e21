package registrytest

import (
	"bytes"
	"net/http"
	"strconv"
	"time"
)

// getBlob serves a blob, or a part of it: the distribution-spec's "Pulling
// blobs", and RFC 9110, section 14, for Range and If-Range.
func (c *call) getBlob() {
	d, ok := c.digest()
	if !ok {
		return
	}
	b, ok := c.Blob(c.to.repo, d)
	if !ok {
		refuse(c.w, http.StatusNotFound, codeBlobUnknown, "blob unknown to registry")
		return
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Docker-Content-Digest", d.String())
	h.Set("Etag", strconv.Quote(d.String()))
	if !c.o.NoRange {
		http.ServeContent(c.w, c.q, "", time.Time{}, bytes.NewReader(b))
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(b)))
	if c.q.Method != http.MethodHead {
		c.w.Write(b)
	}
}

func (c *call) deleteBlob() {
	d, ok := c.digest()
	if !ok {
		return
	}
	c.mu.Lock()
	b, ok := c.blob(c.to.repo, d)
	if ok {
		delete(c.repos[c.to.repo].blobs, d)
		c.used -= int64(len(b))
	}
	c.mu.Unlock()
	if !ok {
		refuse(c.w, http.StatusNotFound, codeBlobUnknown, "blob unknown to registry")
		return
	}
	c.w.WriteHeader(http.StatusAccepted)
}
