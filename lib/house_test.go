// Package lib_test holds the house to its plan, lib/README.md: which room may
// know which (this file), how large things may grow (house_shape_test.go), and
// what the program may weigh (house_gates_test.go).
package lib_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/imgtools/imgtools/"

// A room is a package of the library. It imports only floors below its own,
// but for doors, and of third parties only what it uses.
type room struct {
	floor int
	uses  []string
}

// rooms is the table of lib/README.md. Every package has a row.
var rooms = map[string]room{
	"lib/oci":                             {0, []string{goDigest, "github.com/opencontainers/image-spec/specs-go"}},
	"lib/reference":                       {0, []string{goDigest}},
	"lib/cli":                             {0, []string{"github.com/spf13/pflag", "golang.org/x/term", "golang.org/x/sys"}},
	"lib/template":                        {0, nil},
	"lib/blob":                            {1, []string{goDigest, "github.com/klauspost/compress", "github.com/klauspost/pgzip", "github.com/ulikunitz/xz"}},
	"lib/disk":                            {1, []string{"golang.org/x/sys"}},
	"lib/image":                           {2, []string{goDigest, "golang.org/x/sync"}},
	"lib/image/imagetest":                 {2, []string{goDigest}},
	"lib/auth":                            {3, []string{"github.com/docker/docker-credential-helpers"}},
	"lib/conf":                            {3, []string{"github.com/BurntSushi/toml", "go.yaml.in/yaml/v3"}},
	"lib/policy":                          {3, []string{goDigest}},
	"lib/transport/registry":              {3, []string{goDigest, "golang.org/x/sync"}},
	"lib/transport/registry/registrytest": {3, []string{goDigest}},
	"lib/transport/layout":                {3, []string{goDigest}},
	"lib/transport/archive":               {3, []string{goDigest, "golang.org/x/sys"}},
	"lib/transport/daemon":                {3, []string{goDigest}},
	"lib/transport/helper":                {3, []string{goDigest}},
	"lib/copy":                            {4, []string{goDigest, "golang.org/x/sync"}},
	"lib/prune":                           {4, []string{goDigest, "golang.org/x/sync"}},
	"lib/transport":                       {4, []string{goDigest}},
	"lib/tool":                            {5, []string{goDigest}},
	"lib/tool/copy":                       {5, []string{goDigest}},
	"lib/tool/delete":                     {5, []string{goDigest}},
	"lib/tool/inspect":                    {5, []string{goDigest}},
	"lib/tool/listtags":                   {5, []string{goDigest, "golang.org/x/sync"}},
	"lib/tool/login":                      {5, []string{"golang.org/x/sys"}},
	"lib/tool/manifestdigest":             {5, []string{goDigest}},
	"lib/tool/skopeo":                     {5, []string{goDigest, "github.com/spf13/pflag"}},
}

const goDigest = "github.com/opencontainers/go-digest"

// mains is the floor of the programs in cmd.
const mains = 6

// doors are the ways between neighbours on a floor, with what they are for.
var doors = []struct{ from, to, why string }{
	{"lib/oci", "lib/reference", "a digest is checked by one rule, in names and in documents"},
	{"lib/image/imagetest", "lib/image", "the conformance suite tests the contract"},
	{"lib/transport/daemon", "lib/transport/archive", "what a daemon saves and loads is an archive"},
	{"lib/transport/helper", "lib/transport/archive", "a program of a transport speaks the image stream"},
	{"lib/tool/*", "lib/tool", "the tools share flag groups, exit codes and hints"},
	{"lib/tool/skopeo", "lib/tool/*", "the skopeo face calls the tools by other names"},
}

// bans are what the floors alone do not forbid. A name ending in /* stands for
// the packages below; a banned import stands for those below it too.
var bans = []struct {
	room  string
	bans  []string
	unban []string
	why   string
}{
	{"lib/oci", []string{"os", "net", "io/fs"}, nil, "the nouns do no I/O"},
	{"lib/reference", []string{"os", "net", "io"}, nil, "a name is read without looking where it leads"},
	{"lib/cli", []string{module}, nil, "cli knows nothing of images"},
	{"lib/cli", []string{"net"}, nil, "a command line needs no network"},
	{"lib/template", []string{module, "os", "net/http"}, nil, "a template works on values in hand"},
	{"lib/blob", []string{"net"}, nil, "blobs are readers, wherever they come from"},
	{"lib/disk", []string{module}, nil, "disk knows no images: it changes files, whatever they hold"},
	{"lib/disk", []string{"net"}, nil, "a file is not on the network"},
	{"lib/image", []string{"os", "net"}, nil, "the contract knows no place"},
	{"lib/auth", []string{module + "lib/blob", module + "lib/image", "net/http"}, nil, "finding credentials moves no images"},
	{"lib/conf", []string{"net"}, nil, "settings are read, and followed elsewhere"},
	{"lib/prune", []string{"net", "os", module + "lib/transport"}, nil, "what may be deleted is decided by what is in hand"},
	{"lib/policy", []string{"net"}, nil, "a policy is decided by what is in hand"},
	{"lib/transport/layout", []string{"net"}, nil, "a directory is not on the network"},
	{"lib/transport/archive", []string{"net"}, nil, "an archive is not on the network"},
	{"lib/transport/helper", []string{"net"}, nil, "what a program does on the network is its own"},
	{"lib/*", []string{"os/exec"}, []string{"lib/blob", "lib/auth", "lib/transport/helper"}, "only blob (xz), auth (credential helpers) and transport/helper (transports) start programs"},
	{"lib/copy", []string{"net", module + "lib/auth", module + "lib/transport"}, nil, "the engine knows no network"},
	{"lib/copy", []string{"os"}, nil, "the engine touches no disk: a stage that must is blob's"},
	{"lib/*", []string{module + "lib/cli"}, []string{"lib/tool", "lib/tool/*"}, "the library draws nothing and parses no flags"},
	{"lib/*", []string{"flag", "log"}, []string{"lib/cli", "lib/transport/registry/registrytest"}, "the library returns errors; only a tool tells the user"},
	{"lib/*", []string{"testing"}, []string{"lib/image/imagetest", "lib/transport/registry/registrytest"}, "a program carries no test code"},
	{"lib/*", []string{"C", "unsafe", "plugin"}, nil, "one static binary"},
	{"lib/*", []string{"text/template"}, []string{"lib/template"}, "it calls methods by name, which keeps the linker from dropping any"},
	{"lib/*", []string{"encoding/gob", "html", "expvar", "net/http/pprof"}, nil, "every start pays for what is linked"},
	{"cmd/*", []string{"fmt", "net", "io", "flag"}, nil, "a main is a table's Main, nothing more"},
}

// peers are projects that do this work already. This one is new: it learns from
// them as they run, and takes no line of them. Tests run their programs.
var peers = []string{
	"github.com/containers/image", "github.com/containers/skopeo", "github.com/containers/common",
	"go.podman.io/image", "go.podman.io/common", "go.podman.io/skopeo",
	"github.com/google/go-containerregistry", "github.com/regclient/regclient",
	"oras.land/oras", "oras.land/oras-go", "github.com/oras-project",
}

// file is one parsed source file.
type file struct {
	name string // from the module's root
	pkg  string // its folder
	test bool
	ast  *ast.File
}

// lines returns the number of lines from a node's first to its last.
func (f *file) lines(fset *token.FileSet, n ast.Node) int {
	return fset.Position(n.End()).Line - fset.Position(n.Pos()).Line + 1
}

// imports returns the paths that the file imports.
func (f *file) imports() []string {
	var paths []string
	for _, spec := range f.ast.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		paths = append(paths, path)
	}
	return paths
}

// source parses the Go files below lib and cmd.
func source(t *testing.T) (*token.FileSet, []*file) {
	t.Helper()
	fset := token.NewFileSet()
	var files []*file
	for _, top := range []string{"lib", "cmd"} {
		err := filepath.WalkDir(filepath.Join("..", top), func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() && d.Name() != "testdata" || filepath.Ext(p) != ".go" {
				return err
			}
			if d.IsDir() {
				return filepath.SkipDir
			}
			parsed, err := parser.ParseFile(fset, p, nil, parser.ParseComments|parser.SkipObjectResolution)
			name := strings.TrimPrefix(filepath.ToSlash(p), "../")
			files = append(files, &file{name, name[:strings.LastIndex(name, "/")], strings.HasSuffix(name, "_test.go"), parsed})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return fset, files
}

// product returns the files that are not tests.
func product(files []*file) []*file {
	return slices.DeleteFunc(slices.Clone(files), func(f *file) bool { return f.test })
}

// under reports whether a path is name, or below it.
func under(path, name string) bool {
	name = strings.TrimSuffix(name, "/")
	return path == name || strings.HasPrefix(path, name+"/")
}

// matches reports whether a room's name fits a pattern of bans or doors.
func matches(name, pattern string) bool {
	below, all := strings.CutSuffix(pattern, "/*")
	return name == pattern || all && strings.HasPrefix(name, below+"/")
}

// A library stays understandable as long as one may read a room knowing only
// the rooms below. The first import upwards, or to the side, ends that.
func TestFloors(t *testing.T) {
	_, files := source(t)
	for _, f := range product(files) {
		from, known := rooms[f.pkg]
		switch {
		case strings.HasPrefix(f.pkg, "cmd/"):
			from.floor = mains
		case !known:
			t.Errorf("%s: %s is not in the table of rooms: give it a floor here and in lib/README.md", f.name, f.pkg)
			continue
		}
		for _, path := range f.imports() {
			if err := mayImport(f.pkg, from, path); err != nil {
				t.Errorf("%s: %v", f.name, err)
			}
		}
	}
}

func mayImport(pkg string, from room, path string) error {
	if to, ours := strings.CutPrefix(path, module); ours {
		target, known := rooms[to]
		switch {
		case !known:
			return fmt.Errorf("imports %s, which is not in the table of rooms", to)
		case target.floor > from.floor:
			return fmt.Errorf("floor %d imports %s on floor %d: only floors below", from.floor, to, target.floor)
		case target.floor == from.floor && !hasDoor(pkg, to):
			return fmt.Errorf("imports its neighbour %s, and there is no door", to)
		}
		return nil
	}
	host, _, _ := strings.Cut(path, "/")
	if !strings.Contains(host, ".") {
		return nil // the standard library
	}
	if !slices.ContainsFunc(from.uses, func(u string) bool { return under(path, u) }) {
		return fmt.Errorf("imports %s, which the table does not let %s use", path, pkg)
	}
	return nil
}

func hasDoor(from, to string) bool {
	for _, d := range doors {
		if matches(from, d.from) && matches(to, d.to) {
			return true
		}
	}
	return false
}

// A door that nobody uses is an invitation.
func TestDoors(t *testing.T) {
	_, files := source(t)
	for _, d := range doors {
		used := slices.ContainsFunc(product(files), func(f *file) bool {
			return matches(f.pkg, d.from) && slices.ContainsFunc(f.imports(), func(path string) bool {
				to, ours := strings.CutPrefix(path, module)
				return ours && matches(to, d.to)
			})
		})
		if !used {
			t.Errorf("nobody uses the door %s to %s: %s", d.from, d.to, d.why)
		}
	}
}

func TestBans(t *testing.T) {
	_, files := source(t)
	for _, f := range product(files) {
		for _, b := range bans {
			if !matches(f.pkg, b.room) || slices.ContainsFunc(b.unban, func(p string) bool { return matches(f.pkg, p) }) {
				continue
			}
			for _, path := range f.imports() {
				if slices.ContainsFunc(b.bans, func(ban string) bool { return under(path, ban) }) {
					t.Errorf("%s imports %s: %s", f.name, path, b.why)
				}
			}
		}
	}
}

// Peers must be imported nowhere, tests included, and not be in go.mod at all.
func TestPeers(t *testing.T) {
	_, files := source(t)
	for _, f := range files {
		for _, path := range f.imports() {
			if slices.ContainsFunc(peers, func(p string) bool { return under(path, p) }) {
				t.Errorf("%s imports %s: the work of a peer is not ours to build on", f.name, path)
			}
		}
	}
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range peers {
		if strings.Contains(string(mod), p) {
			t.Errorf("go.mod names %s", p)
		}
	}
}

// A plan that is not the house's misleads whoever trusts it.
func TestPlan(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range rooms {
		if row := fmt.Sprintf("| %d | `%s` |", r.floor, name); !strings.Contains(string(text), row) {
			t.Errorf("lib/README.md has no row %q", row)
		}
		if _, err := os.Stat(filepath.Join("..", name)); err != nil {
			t.Errorf("the table has a room that is not there: %v", err)
		}
	}
	for _, d := range doors {
		if !strings.Contains(string(text), "`"+d.from+"` → `"+d.to+"`") {
			t.Errorf("lib/README.md does not name the door `%s` → `%s`", d.from, d.to)
		}
	}
}

// A missing component must fail: a test that is passed over proves nothing,
// and nobody notices.
func TestNoSkips(t *testing.T) {
	fset, files := source(t)
	for _, f := range files {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if ok && f.test && (s.Sel.Name == "Skip" || s.Sel.Name == "Skipf" || s.Sel.Name == "SkipNow") {
				t.Errorf("%s: a test is skipped", fset.Position(s.Pos()))
			}
			return true
		})
	}
}
