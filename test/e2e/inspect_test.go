package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go/v1"
)

// A summary is what img-inspect shows: what skopeo does, then more.
type summary struct {
	Name, Digest                   string
	RepoTags                       []string
	Created                        *string
	DockerVersion                  string
	Labels                         map[string]string
	Architecture, Os               string
	Layers                         []string
	LayersData                     []layerData
	Env                            []string
	MediaType, ArtifactType, User  string
	Entrypoint, Cmd                []string
	WorkingDir, Instance           string
	Annotations                    map[string]string
	Size                           int64
	Platforms                      []platformData
	Variant, Author, StopSignal    string
	Volumes, ExposedPorts, Subject any
}

type layerData struct {
	MIMEType, Digest string
	Size             int64
	Annotations      map[string]string
}

type platformData struct {
	Platform, Digest, MIMEType string
	Size                       int64
	Annotations                map[string]string
}

// inspect runs img-inspect and parses the summary, every key of which is known.
func inspect(t *testing.T, args ...string) summary {
	t.Helper()
	return parseSummary(t, harness.Must(t, "img-inspect", args...))
}

func parseSummary(t *testing.T, text string) (s summary) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return s
}

// everywhere copies the samples into each kind of place and returns where they
// are, by sample: in the registry, and wherever else they can be.
func everywhere(t *testing.T, w world) map[string][]string {
	t.Helper()
	refs := map[string][]string{}
	for tag := range w.Roots {
		refs[tag] = []string{w.at(tag), w.Layout.Ref(tag)}
		dir := harness.Dir(t)
		for _, p := range places[1:] {
			if p.shapes == nil || slices.Contains(p.shapes, tag) {
				copyImage(t, w.at(tag), p.in(dir, tag))
				refs[tag] = append(refs[tag], p.in(dir, tag))
			}
		}
	}
	return refs
}

// An image is the same wherever it lies, and so is what there is to say of it.
func TestInspectEverywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Tiny(), sample.Docker(), sample.Platforms(), sample.List(), sample.Nested(), sample.Artifact())
	for tag, refs := range everywhere(t, w) {
		for _, ref := range refs {
			t.Run(ref, func(t *testing.T) {
				t.Parallel()
				raw := string(slurp(t, w.Blob(w.Roots[tag].Digest)))
				if got := harness.Must(t, "img-inspect", "--raw", ref); got != raw {
					t.Errorf("--raw: %q; want %q", got, raw)
				}
				if got := harness.Must(t, "img-inspect", "--digest", ref); got != w.Roots[tag].Digest.String()+"\n" {
					t.Errorf("--digest: %q; want %s", got, w.Roots[tag].Digest)
				}
				s := inspect(t, ref)
				if s.Digest != w.Roots[tag].Digest.String() || s.MediaType != w.Roots[tag].MediaType || s.Size == 0 && tag != "artifact" {
					t.Errorf("summary %+v; want digest, type and size of %s", s, w.Roots[tag].Digest)
				}
				compare(t, s, inspect(t, w.at(tag)))
			})
		}
	}
}

// compare compares two summaries but for the name, which only some places have.
func compare(t *testing.T, got, want summary) {
	t.Helper()
	got.Name, want.Name = "", ""
	if a, b := mustJSON(t, got), mustJSON(t, want); a != b {
		t.Errorf("summary %s; in the registry it is %s", a, b)
	}
}

// The summary has skopeo's keys, in skopeo's order, as the real one shows them;
// then what it leaves out. Tags are listed when asked for: a repository may have
// thousands.
func TestSummaryIsSkopeos(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Tiny(), sample.Docker(), sample.Zstd(), sample.Platforms(), sample.List())
	for _, tag := range []string{"tiny", "docker", "zstd", "platforms", "list"} {
		harness.Must(t, "crane", "tag", w.Addr+"/"+tag+":1", "other")
		theirs := keys(t, harness.Must(t, "skopeo", "inspect", "--tls-verify=false", w.at(tag)))
		ours := keys(t, harness.Must(t, "img-inspect", "--tags", w.at(tag)))
		// skopeo 1.9 has no LayersData; later it comes behind Layers.
		if i := slices.Index(ours.names, "LayersData"); i < 0 || ours.names[i-1] != "Layers" {
			t.Errorf("keys %q; want LayersData behind Layers", ours.names)
		} else {
			ours.names = slices.Delete(ours.names, i, i+1)
		}
		if len(ours.names) <= len(theirs.names) || !slices.Equal(ours.names[:len(theirs.names)], theirs.names) {
			t.Errorf("keys %q; want skopeo's first, %q", ours.names, theirs.names)
		}
		for _, k := range theirs.names {
			if ours.values[k] != theirs.values[k] {
				t.Errorf("%s: %s is %s; skopeo says %s", tag, k, ours.values[k], theirs.values[k])
			}
		}
		if got := inspect(t, w.at(tag)).RepoTags; len(got) != 0 {
			t.Errorf("%s: tags %q without --tags", tag, got)
		}
	}
}

// object is a JSON object with its keys in order.
type object struct {
	names  []string
	values map[string]string // compact
}

func keys(t *testing.T, text string) object {
	t.Helper()
	d, o := json.NewDecoder(strings.NewReader(text)), object{values: map[string]string{}}
	if _, err := d.Token(); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	for d.More() {
		k, err := d.Token()
		var v any
		if err == nil {
			err = d.Decode(&v)
		}
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		o.names = append(o.names, k.(string))
		o.values[k.(string)] = mustJSON(t, v)
	}
	return o
}

// What skopeo leaves out: how the image runs, what a list has, how large it is.
func TestSummaryHasMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Tiny(), sample.Platforms(), sample.Artifact())
	s := inspect(t, w.at("tiny"))
	if s.User != "1000:1000" || !slices.Equal(s.Entrypoint, []string{"/opt/run"}) || !slices.Equal(s.Cmd, []string{"--help"}) {
		t.Errorf("summary %+v; want user, entrypoint and command", s)
	}
	var total int64
	for d, size := range contents(t, w.Layout, "tiny") {
		total += size
		if d == w.Roots["tiny"].Digest {
			total -= size
		}
	}
	if s.Size != total && s.Size != total+w.Roots["tiny"].Size {
		t.Errorf("size %d; want %d, all that there is", s.Size, total)
	}
	s = inspect(t, w.at("platforms"))
	var got []string
	for i, p := range s.Platforms {
		got = append(got, p.Platform)
		if want := entries(t, w.Blob(w.Roots["platforms"].Digest))[i]; p.Digest != want.Digest.String() || p.MIMEType != want.MediaType {
			t.Errorf("platform %+v; want %+v", p, want)
		}
	}
	if want := []string{"linux/amd64", "linux/arm64/v8", "linux/arm/v7"}; len(got) < 3 || !slices.Equal(got[:3], want) {
		t.Errorf("platforms %q; want %q first", got, want)
	}
	s = inspect(t, w.at("artifact"))
	if s.ArtifactType != "application/vnd.example.thing" || len(s.LayersData) != 2 || s.LayersData[0].Annotations[v1.AnnotationTitle] != "note.txt" {
		t.Errorf("artifact %+v; want its type, and its files with their annotations", s)
	}
}

// The parts of an image, each as the bytes that it is.
func TestInspectParts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Tiny(), sample.Platforms(), sample.Artifact())
	for tag, refs := range everywhere(t, w) {
		one := w.Roots[tag].Digest // the manifest of one image
		if tag == "platforms" {
			one = entries(t, w.Blob(one))[0].Digest
		}
		var m document
		if err := json.Unmarshal(slurp(t, w.Blob(one)), &m); err != nil {
			t.Fatal(err)
		}
		var layers []string
		for _, y := range m.Layers {
			layers = append(layers, y.Digest.String())
		}
		for _, ref := range refs {
			for _, x := range []struct {
				flags []string
				want  string
			}{
				{[]string{"--manifest"}, string(slurp(t, w.Blob(one)))},
				{[]string{"--manifest", "--platform=linux/amd64"}, string(slurp(t, w.Blob(one)))},
				{[]string{"--config", "--raw"}, string(slurp(t, w.Blob(m.Config.Digest)))},
				{[]string{"--layers"}, strings.Join(layers, "\n") + "\n"},
				{[]string{"--blob", layers[1]}, string(slurp(t, w.Blob(m.Layers[1].Digest)))},
				{[]string{"--blob", m.Config.Digest.String()}, string(slurp(t, w.Blob(m.Config.Digest)))},
			} {
				if got := harness.Must(t, "img-inspect", append(x.flags, ref)...); got != x.want {
					t.Errorf("img-inspect %q %s: %q; want %q", x.flags, ref, got, x.want)
				}
			}
			fails(t, notFound, "img-inspect", "--blob="+zeroes, ref)
		}
	}
	// The other platforms of a list.
	index := entries(t, w.Blob(w.Roots["platforms"].Digest))
	for i, p := range []string{"linux/amd64", "linux/arm64", "linux/arm/v7"} {
		want := string(slurp(t, w.Blob(index[i].Digest)))
		if got := harness.Must(t, "img-inspect", "--manifest", "--platform="+p, w.at("platforms")); got != want {
			t.Errorf("--manifest for %s: %q; want %q", p, got, want)
		}
		if got := harness.Must(t, "img-inspect", "--config", "--platform="+p, "--format={{.Architecture}}", w.at("platforms")); got != strings.Split(p, "/")[1]+"\n" {
			t.Errorf("--config for %s: %q", p, got)
		}
	}
	fails(t, notFound, "img-inspect", "--config", "--platform=linux/s390x", w.at("platforms"))
}

// The configuration is shown as skopeo shows it.
func TestInspectConfig(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Tiny(), sample.Docker(), sample.Platforms(), sample.Artifact())
	for _, tag := range []string{"tiny", "docker", "platforms"} {
		theirs := harness.Must(t, "skopeo", "inspect", "--tls-verify=false", "--config", w.at(tag))
		var compact any
		if err := json.Unmarshal([]byte(theirs), &compact); err != nil {
			t.Fatal(err)
		}
		ours := harness.Must(t, "img-inspect", "--config", w.at(tag))
		if got, want := keys(t, ours), keys(t, theirs); mustJSON(t, got.values) != mustJSON(t, want.values) || !slices.Equal(got.names, want.names) {
			t.Errorf("--config of %s: %s; skopeo shows %s", tag, ours, theirs)
		}
	}
	if m := fails(t, failure, "img-inspect", "--config", w.at("artifact")); !strings.Contains(m, "not an image") {
		t.Errorf("--config of an artifact: %q; want that it has none", m)
	}
}

// Templates are Go's, over the summary or the configuration.
func TestInspectFormat(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Tiny(), sample.Platforms())
	tiny, root := w.at("tiny"), w.Roots["tiny"].Digest.String()
	for _, x := range []struct {
		flags []string
		ref   string
		want  string
	}{
		{[]string{"--format={{.Digest}}"}, tiny, root + "\n"},
		{[]string{"--format", "{{.Name}} {{.Os}}/{{.Architecture}}"}, tiny, w.Addr + "/tiny linux/amd64\n"},
		{[]string{"--format={{.Os}}\\t{{.User}}\\n"}, tiny, "linux\t1000:1000\n"},
		{[]string{`--format={{index .Labels "org.example.sample"}}`}, tiny, "yes\n"},
		{[]string{"--format={{range .Env}}{{.}};{{end}}"}, tiny, "PATH=/opt;SAMPLE=yes;\n"},
		{[]string{"--format={{len .Layers}}"}, tiny, "3\n"},
		{[]string{"--format={{json .Cmd}}"}, tiny, `["--help"]` + "\n"},
		{[]string{"--format={{join .Env \",\"}}"}, tiny, "PATH=/opt,SAMPLE=yes\n"},
		{[]string{"--format={{if .User}}user{{else}}root{{end}}"}, tiny, "user\n"},
		{[]string{"--config", "--format={{.Config.User}} {{.RootFS.Type}}"}, tiny, "1000:1000 layers\n"},
		{[]string{"--format={{range .Platforms}}{{.Platform}} {{end}}"}, w.at("platforms"), "linux/amd64 linux/arm64/v8 linux/arm/v7 unknown/unknown unknown/unknown unknown/unknown \n"},
	} {
		got := harness.Must(t, "img-inspect", append(x.flags, x.ref)...)
		if strings.TrimRight(got, "\n") != strings.TrimRight(x.want, "\n") || !strings.HasSuffix(got, "\n") {
			t.Errorf("img-inspect %q: %q; want %q", x.flags, got, x.want)
		}
	}
	plain := harness.Must(t, "img-inspect", tiny)
	for _, f := range []string{"json", "{{json}}", "{{ json . }}", " {{json.}} "} {
		if got := harness.Must(t, "img-inspect", "--format="+f, tiny); mustJSON(t, parseSummary(t, got)) != mustJSON(t, parseSummary(t, plain)) {
			t.Errorf("--format=%q: %s; want %s", f, got, plain)
		}
	}
	if r := harness.Run(t, nil, "img-inspect", "--format={{.NoSuchField}}", tiny); r.Code == 0 || r.Stdout != "" {
		t.Errorf("a field that there is not: %+v", r)
	}
}

// A filter reads what another tool says: a manifest, or a stream, from a pipe.
func TestInspectPipe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Tiny(), sample.Platforms(), sample.Artifact())
	for tag, root := range w.Roots {
		want := inspect(t, w.at(tag))
		for name, writer := range map[string]stage{
			"stream": {"img-copy", "--quiet", w.at(tag), "-"},
			"head":   {"img-inspect", "--head", w.at(tag)},
		} {
			compare(t, parseSummary(t, mustPipe(t, writer, stage{"img-inspect", "-"})), want)
			if got := mustPipe(t, writer, stage{"img-inspect", "--raw", "-"}); digest.FromString(got) != root.Digest {
				t.Errorf("--raw of a %s: %q", name, got)
			}
			if got := mustPipe(t, writer, stage{"gzip", "-c"}, stage{"img-inspect", "--digest", "-"}); got != root.Digest.String()+"\n" {
				t.Errorf("--digest of a %s: %q", name, got)
			}
			if got := mustPipe(t, writer, stage{"img-inspect", "--layers", "-"}); strings.TrimSpace(got) != strings.Join(want.Layers, "\n") {
				t.Errorf("--layers of a %s: %q", name, got)
			}
		}
		raw := stage{"img-inspect", "--raw", w.at(tag)}
		if got := mustPipe(t, raw, stage{"img-inspect", "--digest", "-"}); got != root.Digest.String()+"\n" {
			t.Errorf("--digest of a manifest: %q", got)
		}
		if got := mustPipe(t, raw, stage{"img-inspect", "--raw", "-"}); digest.FromString(got) != root.Digest {
			t.Errorf("--raw of a manifest: %q", got)
		}
		s := parseSummary(t, mustPipe(t, raw, stage{"img-inspect", "-"}))
		if s.Digest != root.Digest.String() || tag != "platforms" && !slices.Equal(s.Layers, want.Layers) || len(s.Platforms) != len(want.Platforms) {
			t.Errorf("summary of a manifest %+v; want what is in it of %+v", s, want)
		}
		if got := mustPipe(t, raw, stage{"img-manifest-digest"}); got != root.Digest.String()+"\n" {
			t.Errorf("img-manifest-digest: %q; want %s", got, root.Digest)
		}
	}
	layer := inspect(t, w.at("tiny")).Layers[2]
	if got := mustPipe(t, stage{"img-copy", "-q", w.at("tiny"), "-"}, stage{"img-inspect", "--blob", layer, "-"}); digest.FromString(got).String() != layer {
		t.Errorf("--blob of a stream: %d bytes; want %s", len(got), layer)
	}
}

// --head is a stream that ends where the layers would begin.
func TestInspectHead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Tiny(), sample.Platforms())
	for _, tag := range []string{"tiny", "platforms"} {
		head := harness.Must(t, "img-inspect", "--head", w.at(tag))
		stream := harness.Must(t, "img-copy", "--quiet", w.at(tag), "-")
		entries := strings.TrimRight(head, "\x00")
		if !strings.HasPrefix(stream, entries) || len(head) >= len(stream) {
			t.Errorf("the head of %s is not what its stream begins with", tag)
		}
		a, err := readTar(strings.NewReader(head))
		if err != nil {
			t.Fatal(err)
		}
		for _, y := range inspect(t, w.at(tag)).Layers {
			if slices.Contains(a.names(), blobName(digest.Digest(y))) {
				t.Errorf("the head of %s has the layer %s", tag, y)
			}
		}
		// It is no image, and must not become one.
		r := pipe(t, stage{"img-inspect", "--head", w.at(tag)}, stage{"img-copy", "-q", "-", w.Registry.Ref("head:1")})
		if r[1].Code == 0 || r[1].Stdout != "" {
			t.Errorf("a head was copied as an image: %+v", r[1])
		}
		holds(t, w.Registry, "head:1", "")
	}
}

// What img-manifest-digest says must be what registries and peers say, from a
// file and from a pipe.
func TestManifestDigest(t *testing.T) {
	t.Parallel()
	l := harness.Image(t, sample.All()...)
	for tag, root := range l.Roots {
		file := l.Blob(root.Digest)
		for _, args := range [][]string{{file}, {"--", file}} {
			if got := harness.Must(t, "img-manifest-digest", args...); got != root.Digest.String()+"\n" {
				t.Errorf("%s: %q; want %s", tag, got, root.Digest)
			}
		}
		for _, reader := range []stage{{"img-manifest-digest"}, {"img-manifest-digest", "-"}} {
			if got := mustPipe(t, stage{"cat", file}, reader); got != root.Digest.String()+"\n" {
				t.Errorf("%s in a pipe: %q; want %s", tag, got, root.Digest)
			}
		}
		if got := harness.Must(t, "skopeo", "manifest-digest", file); got != root.Digest.String()+"\n" {
			t.Errorf("skopeo: %q; want %s", got, root.Digest)
		}
	}
	if r := harness.Run(t, nil, "img-manifest-digest", filepath.Join(l.Dir, "nosuch")); r.Code == 0 || r.Stdout != "" {
		t.Errorf("a file that there is not: %+v", r)
	}
	large := filepath.Join(harness.Dir(t), "large")
	if err := os.WriteFile(large, make([]byte, 4<<20+1), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := harness.Run(t, nil, "img-manifest-digest", large); r.Code == 0 {
		t.Errorf("a manifest of more than 4 MiB: %+v; want it refused, as registries do", r)
	}
}

// What others sent to a registry may be twisted so that readers differ in what
// they take it for. Nothing of it may be taken for an image.
func TestTwistedManifests(t *testing.T) {
	t.Parallel()
	l := harness.Image(t, sample.Tiny())
	good := string(slurp(t, l.Blob(l.Roots["tiny"].Digest)))
	for what, text := range map[string]string{
		"both an index and an image":  strings.Replace(good, `"layers":`, `"manifests":[],"layers":`, 1),
		"two lists of layers":         strings.Replace(good, `"layers":`, `"layers":[],"layers":`, 1),
		"layers in capitals as well":  strings.Replace(good, `"layers":`, `"LAYERS":[],"layers":`, 1),
		"more behind the end":         good + `{}`,
		"null":                        "null",
		"a size below zero":           strings.Replace(good, `"size":`, `"size":-`, 1),
		"a digest that is a path":     strings.Replace(good, `"digest":"sha256:`, `"digest":"sha256:../../`, 1),
		"a digest in capitals":        strings.Replace(good, `"digest":"sha256:`, `"digest":"SHA256:`, 1),
		"a digest that is outdated":   strings.Replace(good, `"digest":"sha256:`, `"digest":"md5:`, 1),
		"an index by its type":        strings.Replace(good, v1.MediaTypeImageManifest, v1.MediaTypeImageIndex, 1),
		"of another schema version":   strings.Replace(good, `"schemaVersion":2`, `"schemaVersion":3`, 1),
		"without a configuration":     strings.Replace(good, `"config":`, `"konfig":`, 1),
		"configuration null":          strings.Replace(good, `"config":{`, `"config":null,"x":{`, 1),
		"text before its first brace": "x" + good,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			if text == good {
				t.Fatal("the manifest is not twisted")
			}
			dir := harness.Dir(t)
			d := twist(t, l, dir, text)
			r := harness.Run(t, nil, "img-copy", "--quiet", "oci:"+dir+":twisted", "oci:"+dir+"/copy:x")
			if r.Code != failure && r.Code != mismatch || r.Stdout != "" {
				t.Errorf("copied: %+v; want a failure (%s)", r, d)
			}
			if r := harness.Run(t, nil, "img-inspect", "oci:"+dir+":twisted"); r.Code == 0 {
				t.Errorf("inspected: %s", r.Stdout)
			}
			if r := harness.Run(t, strings.NewReader(text), "img-inspect", "-"); r.Code == 0 {
				t.Errorf("inspected from a pipe: %s", r.Stdout)
			}
		})
	}
}

// twist makes a layout of the blobs of l with the text as manifest.
func twist(t *testing.T, l harness.Layout, dir, text string) digest.Digest {
	t.Helper()
	harness.Must(t, "cp", "-r", l.Dir+"/.", dir)
	d := digest.FromString(text)
	index := mustJSON(t, v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{{
		MediaType: v1.MediaTypeImageManifest, Digest: d, Size: int64(len(text)),
		Annotations: map[string]string{v1.AnnotationRefName: "twisted"},
	}}})
	index = strings.Replace(index, `"schemaVersion":0`, `"schemaVersion":2`, 1)
	for name, content := range map[string]string{"blobs/sha256/" + d.Encoded(): text, "index.json": index} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return d
}
