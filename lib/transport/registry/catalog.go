package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/imgtools/imgtools/lib/oci"
	"github.com/imgtools/imgtools/lib/reference"
)

// Catalog lists the repositories of a registry, host[:port], without the host
// and in the registry's order. Many registries show it to nobody, or only what
// the caller may see (Docker Registry HTTP API V2, listing repositories).
// Errors wrap image.ErrUnauthorized, ErrDenied, ErrNotFound or ErrUnsupported
// if there is no such list, ErrTooLarge or ErrNetwork; reference.ErrFormat for
// a host that is none.
func Catalog(ctx context.Context, host string, o Options) ([]string, error) {
	r, err := atHost(host, o)
	if err != nil {
		return nil, err
	}
	defer r.remote.free()
	s := r.sessionFor(scope{"registry:catalog", []string{"*"}})
	var list []string
	err = s.pages(ctx, listing{
		path: "/v2/_catalog", query: entriesAPage, kin: "/_catalog",
		read: func(_ http.Header, page []byte) (int, error) {
			names, err := parseCatalog(page)
			list = append(list, names...)
			return weight(names), err
		},
	})
	if err != nil {
		return nil, fmt.Errorf("fetching list of repositories of %s: %w", host, err)
	}
	return list, nil
}

// parseCatalog reads one page. Every name has to be one that can be asked for.
func parseCatalog(b []byte) ([]string, error) {
	var page struct {
		Repositories []string `json:"repositories"`
	}
	if err := json.Unmarshal(b, &page); err != nil {
		return nil, fmt.Errorf("%w: the registry's list of repositories: %v", oci.ErrInvalid, err)
	}
	for _, name := range page.Repositories {
		if err := checkReference(reference.Docker{Domain: "localhost", Path: name}); err != nil {
			return nil, fmt.Errorf("registry returned invalid repository %.200q: %w", name, oci.ErrInvalid)
		}
	}
	return page.Repositories, nil
}
