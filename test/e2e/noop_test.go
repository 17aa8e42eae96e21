package e2e_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
)

// requests returns what a registry was asked for after its log had n bytes: the
// lines of its log, but for those of authentication. A last request of our own
// comes first, so that all before it are in the log.
func requests(t *testing.T, r *harness.Registry, n int) (lines []string) {
	t.Helper()
	r.Manifest(t, "fence", "1")
	for line := range strings.Lines(string(slurp(t, r.Log)[n:])) {
		switch {
		case !strings.Contains(line, "response completed"):
		case strings.Contains(line, "http.response.status=401"), strings.Contains(line, "http.request.uri=/v2/ "):
		case strings.Contains(line, "/v2/fence/"):
		default:
			lines = append(lines, field(line, "http.request.method=")+" "+field(line, "http.request.uri="))
		}
	}
	return lines
}

func field(line, key string) string {
	_, value, _ := strings.Cut(line, key)
	value, _, _ = strings.Cut(value, " ")
	return value
}

// To copy what is there already, as mirrors do every hour, must cost next to
// nothing: two requests a side at most, however many platforms and layers.
func TestNothingToDo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Tiny(), sample.Platforms(), sample.List(), sample.Nested(), sample.Many(40), sample.Artifact())
	older := harness.StartRegistry(t, harness.RegistryOptions{Version: "2.8"})
	for tag := range w.Roots { // one after the other: the logs are counted
		for _, x := range []struct {
			name             string
			from, to         string
			source, dest     *harness.Registry
			source2x, dest2x int
		}{
			{"v3-2.8", w.at(tag), older.Ref("x/" + tag + ":1"), w.Registry, older, 2, 2},
			{"2.8-v3", older.Ref("x/" + tag + ":1"), w.Registry.Ref("y/" + tag + ":1"), older, w.Registry, 2, 2},
			{"same", w.at(tag), w.Registry.Ref("z/" + tag + ":1"), w.Registry, w.Registry, 4, 4},
		} {
			t.Run(tag+"/"+x.name, func(t *testing.T) {
				copyImage(t, x.from, x.to)
				requests(t, x.dest, 0) // until all is logged
				a, b := len(slurp(t, x.source.Log)), len(slurp(t, x.dest.Log))
				copyImage(t, x.from, x.to)
				if got := requests(t, x.source, a); len(got) > x.source2x {
					t.Errorf("the source was asked for %q; want two things at most", got)
				}
				if got := requests(t, x.dest, b); len(got) > x.dest2x {
					t.Errorf("the destination was asked for %q; want two things at most", got)
				}
			})
		}
	}
}

// A pull of n layers takes n requests and five more at most, and each layer is
// fetched once, though several platforms have it.
func TestFewRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Tiny(), sample.Many(40), sample.Platforms())
	for tag, blobs := range map[string]int{"tiny": 3, "many": 40, "platforms": 3 + 3 + 1 + 3 + 6} {
		requests(t, w.Registry, 0)
		n := len(slurp(t, w.Log))
		copyImage(t, w.at(tag), "dir:"+harness.Dir(t)+"/d")
		got := requests(t, w.Registry, n)
		if len(got) > blobs+5 {
			t.Errorf("a copy of %s took %d requests, %q; want %d at most", tag, len(got), got, blobs+5)
		}
		seen := map[string]bool{}
		for _, r := range got {
			if seen[r] {
				t.Errorf("%s: %s came twice", tag, r)
			}
			seen[r] = true
		}
	}
}

// What the destination's registry has in another repository is mounted, not
// moved: nothing of the layers passes through this machine.
func TestMount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Many(20))
	for _, version := range []string{"v3", "2.8"} {
		r := harness.StartRegistry(t, harness.RegistryOptions{Version: version})
		copyImage(t, w.at("many"), r.Ref("one:1"))
		requests(t, r, 0)
		n := len(slurp(t, r.Log))
		run := harness.Run(t, nil, "img-copy", "--progress=json", r.Ref("one:1"), r.Ref("two:1"))
		holds(t, r, "two:1", w.Roots["many"].Digest.String())
		for _, q := range requests(t, r, n) {
			if strings.HasPrefix(q, http.MethodGet) && strings.Contains(q, "/blobs/") || strings.HasPrefix(q, http.MethodPut) && strings.Contains(q, "/blobs/") {
				t.Errorf("registry %s: %s; want mounts only", version, q)
			}
		}
		count := map[string]int{}
		for _, e := range events(t, run.Stderr) {
			count[e.Kind]++
		}
		if count["have"] != 21 || count["copy"] != 0 {
			b, _ := json.Marshal(count)
			t.Errorf("registry %s: events %s; want that each of 21 blobs is there", version, b)
		}
	}
}
