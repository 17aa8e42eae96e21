package lib_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What img may weigh. Sizes and allocations are exact, so these hold on any
// machine.
const (
	sizeLimit = 11_500_000 // bytes of img; 700,000 are the TOML and YAML of the settings that machines have
	initLimit = 400_000    // bytes allocated before main, all packages
	hogLimit  = 100_000    // bytes allocated before main, any one package
)

// heavy are packages that img must not link, each for what it costs.
var heavy = map[string]string{
	"google.golang.org/grpc":                       "7 MB",
	"google.golang.org/protobuf":                   "2 MB",
	"google.golang.org/genproto":                   "2 MB",
	"github.com/golang/protobuf":                   "2 MB",
	"github.com/go-openapi":                        "4 MB, and work at every start",
	"github.com/distribution":                      "reference: 1 ms of regular expressions at every start",
	"github.com/docker/docker":                     "1 MB for a handful of requests",
	"github.com/docker/cli":                        "does not know where containers keep credentials",
	"github.com/moby":                              "1 MB for a handful of requests",
	"github.com/sigstore/sigstore-go":              "12 MB: belongs in a program of its own",
	"github.com/sigstore/rekor":                    "5 MB",
	"github.com/Masterminds":                       "regular expressions at every start",
	"github.com/spf13/cobra":                       "0.6 MB over pflag",
	"github.com/sirupsen/logrus":                   "log/slog is there",
	"github.com/google/go-cmp":                     "for tests",
	"github.com/rogpeppe":                          "for tests",
	"github.com/stretchr":                          "for tests",
	"testing":                                      "for tests",
	"encoding/gob":                                 "a registry of types at every start",
	module + "lib/image/imagetest":                 "for tests",
	module + "lib/transport/registry/registrytest": "for tests",
}

// goTool runs the go command in the module's root.
func goTool(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		if len(out) > 2000 {
			out = out[:2000]
		}
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Start-up and size are features, and are lost by one import at a time.
func TestGateDependencies(t *testing.T) {
	deps := strings.Fields(goTool(t, "list", "-deps", "./cmd/img"))
	for _, dep := range deps {
		for _, peer := range peers {
			if under(dep, peer) {
				t.Errorf("img links %s of a peer", dep)
			}
		}
		for name, cost := range heavy {
			if under(dep, name) {
				t.Errorf("img links %s: %s", dep, cost)
			}
		}
	}
}

func TestGateSize(t *testing.T) {
	img := filepath.Join(t.TempDir(), "img")
	goTool(t, "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", img, "./cmd/img")
	st, err := os.Stat(img)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("img has %d bytes", st.Size())
	if st.Size() > sizeLimit {
		t.Errorf("img has %d bytes; the limit is %d", st.Size(), sizeLimit)
	}
	initAllocations(t, img)
}

// initAllocations holds what happens before main to its limits, by the
// runtime's own count.
func initAllocations(t *testing.T, img string) {
	t.Helper()
	cmd := exec.Command(img, "--version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var trace strings.Builder
	cmd.Stderr = &trace
	if err := cmd.Run(); err != nil {
		t.Fatalf("img --version: %v\n%s", err, &trace)
	}
	sum := 0
	line := regexp.MustCompile(`(?m)^init (\S+) @.* (\d+) bytes, \d+ allocs$`)
	for _, m := range line.FindAllStringSubmatch(trace.String(), -1) {
		n, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		sum += n
		if n > hogLimit {
			t.Errorf("%s allocates %d bytes before main; the limit is %d", m[1], n, hogLimit)
		}
	}
	t.Logf("%d bytes are allocated before main", sum)
	if sum == 0 || sum > initLimit {
		t.Errorf("%d bytes are allocated before main; want more than 0 and at most %d", sum, initLimit)
	}
}

// One call of reflect's Method by a name that the linker cannot know, and it
// keeps every exported method of every type in the program.
func TestGateReflectMethod(t *testing.T) {
	img := filepath.Join(t.TempDir(), "img")
	out := goTool(t, "build", "-ldflags=-dumpdep", "-o", img, "./cmd/img")
	if !strings.Contains(out, "main.main") {
		t.Fatalf("the linker printed no dependencies: %.200q", out)
	}
	var users []string
	for line := range strings.Lines(out) {
		if strings.Contains(line, "<ReflectMethod>") {
			users = append(users, strings.TrimSpace(line))
		}
	}
	if users = slices.Compact(users); len(users) > 0 {
		t.Errorf("method pruning is switched off by:\n%s", strings.Join(users, "\n"))
	}
}
