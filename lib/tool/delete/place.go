package delete

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/imgtools/imgtools/lib/cli"
	"github.com/imgtools/imgtools/lib/image"
	"github.com/imgtools/imgtools/lib/reference"
	"github.com/imgtools/imgtools/lib/transport"
)

// A place is a repository or a layout, and what of it was named.
type place struct {
	name   transport.Name   // to open it by
	docker reference.Docker // of a repository, without tag and digest
	path   string           // of a layout

	targets []image.Deletion
	whole   bool // it was named itself
}

// key tells places apart.
func (p *place) key() string {
	if !p.docker.IsZero() {
		return p.docker.Name()
	}
	return "oci:" + p.path
}

// String is the name of the place.
func (p *place) String() string { return p.of(image.Deletion{}) }

// of is the name of a tag or manifest in the place, as it can be given to any
// tool.
func (p *place) of(d image.Deletion) string {
	var s string
	if !p.docker.IsZero() {
		n := p.docker
		if n.Tag = d.Name; n.Tag == "" {
			n.Digest = d.Digest
		}
		s = "docker:" + n.Detail()
	} else {
		l := reference.Layout{Path: p.path, Name: d.Name, Index: -1}
		if l.Name == "" && d.Digest != "" {
			l.Name = "@" + d.Digest.String()
		}
		s = "oci:" + l.String()
	}
	return cli.Clean(s)
}

// parse reads one REFERENCE.
func parse(s string) (*place, error) {
	name, err := transport.Parse(s)
	if err != nil {
		return nil, err
	}
	kind, detail, _ := strings.Cut(s, ":")
	p := &place{name: name}
	switch kind {
	case "docker":
		return p, p.parseDocker(detail)
	case "oci":
		return p, p.parseLayout(detail)
	}
	return nil, fmt.Errorf("%w: nothing can be deleted in %s", image.ErrUnsupported, name)
}

func (p *place) parseDocker(detail string) error {
	d, err := reference.ParseDocker(strings.TrimPrefix(detail, "//"))
	if err != nil {
		return cli.Usagef("%s: want a repository, and perhaps a tag or a digest", p.name)
	}
	p.add(image.Deletion{Name: d.Tag, Digest: d.Digest})
	d.Tag, d.Digest = "", ""
	p.docker = d
	return nil
}

func (p *place) parseLayout(detail string) error {
	l, err := reference.ParseLayout(detail)
	if err != nil {
		return err
	}
	if l.Index >= 0 {
		return cli.Usagef("%s: an image is deleted by its name or digest, not by its position", p.name)
	}
	p.path = l.Path
	t := image.Deletion{Name: l.Name}
	if i := strings.LastIndexByte(l.Name, '@'); i >= 0 && reference.CheckDigest(digest.Digest(l.Name[i+1:])) == nil {
		t.Name, t.Digest = l.Name[:i], digest.Digest(l.Name[i+1:])
	}
	p.add(t)
	return nil
}

func (p *place) add(t image.Deletion) {
	if t == (image.Deletion{}) {
		p.whole = true
		return
	}
	p.targets = append(p.targets, t)
}

// places parses all references and puts together what is in one place.
func places(refs []string) ([]*place, error) {
	var list []*place
	known := map[string]*place{}
	for _, s := range refs {
		p, err := parse(s)
		if err != nil {
			return nil, err
		}
		have := known[p.key()]
		if have == nil {
			known[p.key()] = p
			list = append(list, p)
			continue
		}
		have.targets = append(have.targets, p.targets...)
		have.whole = have.whole || p.whole
	}
	return list, nil
}

// operands puts the lines of standard input in the place of "-".
func operands(args []string, in io.Reader) ([]string, error) {
	var refs []string
	read := false
	for _, a := range args {
		if a != "-" {
			refs = append(refs, a)
			continue
		}
		if read {
			return nil, cli.Usagef("- stands for standard input, and can be given once")
		}
		read = true
		lines := bufio.NewScanner(in)
		for lines.Scan() {
			if s := strings.TrimSpace(lines.Text()); s != "" {
				refs = append(refs, s)
			}
		}
		if err := lines.Err(); err != nil {
			if errors.Is(err, bufio.ErrTooLong) {
				err = cli.Usagef("a line of standard input is too long for a name")
			}
			return nil, err
		}
	}
	return refs, nil
}
