// Package job says what each job of the bench is: the state before a run, and
// the proof after it. It knows no tool.
package job

import (
	"os"
	"path/filepath"

	"github.com/imgtools/imgtools/bench/internal/oci"
	"github.com/imgtools/imgtools/bench/internal/service"
	"github.com/imgtools/imgtools/bench/internal/shape"
)

// wipe is what is removed before each run, with what tools remember of it.
type wipe int

const (
	destination wipe = 1 << iota // the other registry's content
	beside                       // the copy on the source's own registry
	output                       // local files
)

// proof is how the result is checked.
type proof int

const (
	printed     proof = iota // something on stdout
	jsonPrinted              // a JSON document
	digestShown              // the root's digest
	rawManifest              // the root's bytes
	tagThere                 // a whole image under the tag, any digest
	tagPiped                 // likewise, but from an Exact tool the root's digest
	tagSame                  // a whole image under the tag, the root's digest
	sameBeside               // likewise, on the source's registry
	layoutSame               // a layout that names the root, each blob hashed
	dirSame                  // a dir: with the root's bytes and every blob
	archiveGood              // a docker-archive that has what it names
)

// Job is one kind of work.
type Job struct {
	Name, About string
	wipe        wipe
	proof       proof
	Again       bool // the result is already there: each tool runs after itself
}

// Jobs lists them.
var Jobs = []Job{
	{Name: "reg2reg", About: "copy between two registries", wipe: destination, proof: tagSame},
	{Name: "multi", About: "as reg2reg, an index with all its platforms", wipe: destination, proof: tagSame},
	{Name: "mount", About: "copy to another repository of the same registry", wipe: beside, proof: sameBeside},
	{Name: "noop", About: "as reg2reg, the image is there already", proof: tagSame},
	{Name: "reg2oci", About: "registry to OCI layout", wipe: output, proof: layoutSame},
	{Name: "noop-oci", About: "as reg2oci, the image is there already", proof: layoutSame, Again: true},
	{Name: "oci2reg", About: "OCI layout to registry", wipe: destination, proof: tagSame},
	{Name: "oci2oci", About: "OCI layout to OCI layout", wipe: output, proof: layoutSame},
	{Name: "reg2dir", About: "registry to dir:", wipe: output, proof: dirSame},
	{Name: "reg2archive", About: "registry to docker-archive", wipe: output, proof: archiveGood},
	{Name: "archive2reg", About: "docker-archive with plain layers to registry", wipe: destination, proof: tagThere},
	{Name: "pipe", About: "registry to stdout | stdin to registry", wipe: destination | output, proof: tagPiped},
	{Name: "inspect", About: "what an image is: manifest and config", proof: jsonPrinted},
	{Name: "digest", About: "the digest of a tag", proof: digestShown},
	{Name: "manifest", About: "the bytes of a manifest", proof: rawManifest},
	{Name: "version", About: "start, say the version, end", proof: printed},
	{Name: "help", About: "start, say how to use it, end", proof: printed},
}

// Find returns the job of that name.
func Find(name string) (Job, bool) {
	for _, j := range Jobs {
		if j.Name == name {
			return j, true
		}
	}
	return Job{}, false
}

// Env is where a job of one shape works under one profile.
type Env struct {
	Job     Job
	Shape   string
	Net     service.Net
	Layout  string // the shape as an OCI layout
	Archive string // the shape as a docker-archive
	Out     string // folder for local results
	Root    oci.Descriptor
	Exact   bool     // the tool must keep the digest even through a pipe
	Caches  []string // what tools remember between runs
}

// Source is HOST:PORT/REPO:TAG of the source image.
func (e Env) Source() string { return e.Net.A + "/src/" + e.Shape + ":" + shape.Tag(e.Shape) }

// Dest is HOST:PORT/REPO:TAG of the destination.
func (e Env) Dest() string {
	host := e.Net.B
	if e.Job.wipe&beside != 0 {
		host = e.Net.A
	}
	return host + "/dst/" + e.Shape + ":" + shape.Tag(e.Shape)
}

// Path is the path of a local result.
func (e Env) Path(name string) string { return filepath.Join(e.Out, name) }

// Tagged is DIR:TAG of the layout dir.
func (e Env) Tagged(dir string) string { return dir + ":" + shape.Tag(e.Shape) }

// Prepare brings the state before a run about.
func (e Env) Prepare() error { return e.clear(e.Job.wipe) }

// ClearAll brings the state before the first run about where runs keep it.
func (e Env) ClearAll() error { return e.clear(destination | output) }

func (e Env) clear(w wipe) error {
	if w == 0 {
		return nil
	}
	gone := append([]string(nil), e.Caches...)
	if w&destination != 0 {
		gone = append(gone, filepath.Join(e.Net.StoreB, "docker"))
	}
	if w&beside != 0 {
		gone = append(gone, filepath.Join(e.Net.StoreA, "docker", "registry", "v2", "repositories", "dst"))
	}
	if w&output != 0 {
		gone = append(gone, e.Out)
	}
	for _, p := range gone {
		if err := os.RemoveAll(p); err != nil {
			return err
		}
	}
	return os.MkdirAll(e.Out, 0o755)
}
