package registrytest

import (
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/oci"
)

// A kind is one of the endpoints of the distribution-spec's table.
type kind int

const (
	kindPing      kind = iota // /v2/
	kindToken                 // /token: Docker's token service, not in the specification
	kindCatalog               // /v2/_catalog: likewise
	kindBlob                  // /v2/NAME/blobs/DIGEST
	kindUploads               // /v2/NAME/blobs/uploads/
	kindUpload                // /v2/NAME/blobs/uploads/ID
	kindManifest              // /v2/NAME/manifests/REFERENCE
	kindTags                  // /v2/NAME/tags/list
	kindReferrers             // /v2/NAME/referrers/DIGEST
)

// A route is what the path of a request names.
type route struct {
	kind kind
	repo string
	ref  string // a digest, a tag, or the name of an upload
}

// parseRoute reads the path of a request. The end of it says what it is: a
// repository may be called "a/blobs/manifests".
func parseRoute(path string) (route, bool) {
	switch path {
	case "/v2", "/v2/":
		return route{kind: kindPing}, true
	case "/v2/_catalog":
		return route{kind: kindCatalog}, true
	case tokenPath:
		return route{kind: kindToken}, true
	}
	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		return route{}, false
	}
	to, ok := parseEnd(strings.Split(rest, "/"))
	return to, ok && validName(to.repo)
}

// ends are the kinds of a path by its last part but one.
var ends = map[string]kind{
	"blobs":     kindBlob,
	"manifests": kindManifest,
	"referrers": kindReferrers,
	"tags":      kindTags,
}

// parseEnd reads the parts of a path behind /v2/.
func parseEnd(parts []string) (route, bool) {
	n := len(parts)
	if n < 3 {
		return route{}, false
	}
	name, last := strings.Join(parts[:n-2], "/"), parts[n-1]
	switch k, ok := ends[parts[n-2]]; {
	case ok && k == kindTags:
		return route{kindTags, name, ""}, last == "list"
	case ok && k == kindBlob && last == "uploads":
		return route{kindUploads, name, ""}, true
	case ok:
		return route{k, name, last}, true
	}
	name, ok := strings.CutSuffix(name, "/blobs")
	if !ok || parts[n-2] != "uploads" {
		return route{}, false
	}
	if last == "" {
		return route{kindUploads, name, ""}, true
	}
	return route{kindUpload, name, last}, true
}

// validName reports whether s can be a repository: parts of lower-case
// letters and digits, with ".", "_", "__" or dashes between them.
func validName(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for part := range strings.SplitSeq(s, "/") {
		if !validPart(part) {
			return false
		}
	}
	return true
}

func validPart(s string) bool {
	for s != "" {
		n := run(s, false)
		if n == 0 || n == len(s) {
			return n > 0
		}
		s = s[n:]
		n = run(s, true)
		switch between := s[:n]; between {
		case ".", "_", "__":
		default:
			if strings.Trim(between, "-") != "" {
				return false
			}
		}
		s = s[n:]
	}
	return false
}

// run returns how many bytes s begins with that are separators or, if those
// are not asked for, lower-case letters and digits.
func run(s string, separators bool) int {
	for i, c := range []byte(s) {
		word := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		separator := strings.IndexByte("._-", c) >= 0
		if separators && !separator || !separators && !word {
			return i
		}
	}
	return len(s)
}

// validTag reports whether s can be a tag.
func validTag(s string) bool {
	if s == "" || len(s) > 128 || s[0] == '.' || s[0] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("._-", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// A call is a request to the API, taken apart.
type call struct {
	*Registry
	w  http.ResponseWriter
	q  *http.Request
	to route
}

// handlers says what each endpoint can do. HEAD is served as GET is.
var handlers = map[kind]map[string]func(*call){
	kindPing:      {"GET": (*call).ping},
	kindToken:     {"GET": (*call).getToken, "POST": (*call).postToken},
	kindCatalog:   {"GET": (*call).getCatalog},
	kindBlob:      {"GET": (*call).getBlob, "DELETE": (*call).deleteBlob},
	kindUploads:   {"POST": (*call).postUpload},
	kindUpload:    {"GET": (*call).getUpload, "PATCH": (*call).patchUpload, "PUT": (*call).putUpload, "DELETE": (*call).deleteUpload},
	kindManifest:  {"GET": (*call).getManifest, "PUT": (*call).putManifest, "DELETE": (*call).deleteManifest},
	kindTags:      {"GET": (*call).getTags},
	kindReferrers: {"GET": (*call).getReferrers},
}

func (c *call) serve() {
	method := c.q.Method
	if method == http.MethodHead && !c.o.NoHead {
		method = http.MethodGet
	}
	handle, ok := handlers[c.to.kind][method]
	if !ok {
		refuse(c.w, http.StatusMethodNotAllowed, codeUnsupported, "the operation is unsupported")
		return
	}
	handle(c)
}

// ping tells that this is a registry, and that the credentials are good.
func (c *call) ping() { writeJSON(c.w, http.StatusOK, struct{}{}) }

// digest returns the digest that the route names, or refuses the request.
func (c *call) digest() (digest.Digest, bool) {
	d := digest.Digest(c.to.ref)
	return d, c.checkDigest(d)
}

func (c *call) checkDigest(d digest.Digest) bool {
	if err := oci.CheckDigest(d); err != nil {
		refuse(c.w, http.StatusBadRequest, codeDigestInvalid, err.Error())
		return false
	}
	return true
}
