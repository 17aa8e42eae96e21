package e2e_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
)

// strike runs a tool that is killed when one of its threads makes the nth of the
// calls that change files. It reports whether it was.
func strike(t *testing.T, c harness.Command, n int, args ...string) bool {
	t.Helper()
	trace := []string{"-f", "--seccomp-bpf", "-qq", "-e", "signal=none", "-o", "/dev/null", "-e", "trace=" + changes,
		"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", changes, n), harness.Tool(t, args[0])}
	r := c.Run(t, "strace", append(trace, args[1:]...)...)
	if r.Code != 0 && r.Code != -1 && r.Code != 137 {
		t.Fatalf("strace %q: %+v", args, r)
	}
	return r.Code != 0
}

// A login that is killed has stored the password or it has not; all the other
// passwords in the file are there.
func TestKillLogin(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	const others = `{"auths":{"other.example":{"auth":"eDp5"}},"psFormat":"table"}`
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	killed := 0
	for try := 0; killed < kills && try < 10*kills; try++ {
		file := a.write(t, "x.json", others)
		args := []string{"img-login", "--authfile=" + file, "--username=" + a.User, "--password-stdin", a.Addr}
		if try%2 == 1 {
			a.login(t, nil, "--authfile="+file)
			args = []string{"img-logout", "--authfile=" + file, a.Addr}
		}
		c := a.command()
		c.Stdin = strings.NewReader(a.Password)
		n := 1 + random.IntN(40>>random.IntN(6))
		if !strike(t, c, n, args...) {
			continue
		}
		killed++
		var got struct {
			Auths    map[string]struct{ Auth string }
			PsFormat string
		}
		if err := json.Unmarshal(slurp(t, file), &got); err != nil || got.PsFormat != "table" || got.Auths["other.example"].Auth != "eDp5" {
			t.Errorf("%s killed at call %d left %s (%v)", args[0], n, slurp(t, file), err)
		}
		a.login(t, nil, "--authfile="+file)
		a.reads(t, true, "REGISTRY_AUTH_FILE="+file)
		for _, f := range tree(t, string(a.home)) {
			if strings.HasPrefix(filepath.Base(f), "x.json") && f != "x.json" || strings.HasPrefix(filepath.Base(f), ".x.json") {
				t.Errorf("%s killed at call %d, and the next login, left %s", args[0], n, f)
			}
		}
		if t.Failed() {
			return
		}
	}
	if killed < kills {
		t.Errorf("%d were killed; want %d", killed, kills)
	}
}

// A layout that is being deleted from when the machine stops has the image or
// has it not; the others are whole, and the next run cleans up.
func TestKillDelete(t *testing.T) {
	t.Parallel()
	l := harness.Image(t, sample.Tiny(), sample.Platforms(), sample.Many(20))
	old := harness.Dir(t)
	for _, tag := range []string{"tiny", "many", "platforms"} {
		copyImage(t, l.Ref(tag), "oci:"+old+"/layout:"+tag)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 2))
	killed := 0
	for try := 0; killed < kills && try < 10*kills; try++ {
		dir := harness.Dir(t)
		harness.Must(t, "cp", "-a", old+"/.", dir)
		layout := "oci:" + dir + "/layout:"
		n := 1 + random.IntN(60>>random.IntN(6))
		if !strike(t, harness.Command{}, n, "img-delete", layout+"many") {
			continue
		}
		killed++
		for _, tag := range []string{"tiny", "platforms"} {
			mustWhole(t, layout+tag, l.Roots[tag].Digest)
		}
		if got, err := whole(layout + "many"); err == nil && got != l.Roots["many"].Digest || err != nil && !strings.Contains(err.Error(), "many") {
			t.Errorf("killed at call %d, many is %q (%v)", n, got, err)
		}
		harness.Must(t, "img-delete", "--ignore-missing", layout+"many")
		harness.Must(t, "img-delete", layout+"tiny") // whichever deletes next cleans up
		mustWhole(t, layout+"platforms", l.Roots["platforms"].Digest)
		checkClean(t, places[0], dir, fmt.Sprintf("killed at call %d; the next run", n))
		if got, want := len(tree(t, dir)), 2+len(contents(t, l, "platforms")); got != want {
			t.Errorf("killed at call %d, %d files are left in the end; want %d", n, got, want)
		}
		if t.Failed() {
			return
		}
	}
	if killed < kills {
		t.Errorf("%d were killed; want %d", killed, kills)
	}
}
