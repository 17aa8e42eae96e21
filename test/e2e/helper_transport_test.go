package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/test/harness"
	"github.com/imgtools/imgtools/test/sample"
)

// A transport may be a program: the one that img-transport(7) shows keeps images
// in files. All that a tool does with a name it does with such a one.
func TestTransportProgram(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sample.Platforms())
	programs, err := filepath.Abs(filepath.Join("..", "..", "lib", "transport", "helper", "testdata"))
	if err != nil {
		t.Fatal(err)
	}
	with := harness.Command{Env: []string{"PATH=" + programs + ":" + os.Getenv("PATH")}}
	name := "tarfile:" + harness.Dir(t) + "/image.tar"
	if out := with.Must(t, "img-copy", "-q", w.at("platforms"), name); out != name+"\n" {
		t.Errorf("img-copy printed %q; want the name", out)
	}
	back := w.Registry.Ref("back:1")
	with.Must(t, "img-copy", "-q", name, back)
	want := harness.Must(t, "img-inspect", "--raw", w.at("platforms"))
	if got := harness.Must(t, "img-inspect", "--raw", back); got != want {
		t.Errorf("came back as\n%s\nwant\n%s", got, want)
	}
	if got := with.Must(t, "img-inspect", "--raw", name); got != want {
		t.Errorf("img-inspect shows\n%s\nwant\n%s", got, want)
	}
	missing := "tarfile:" + harness.Dir(t) + "/none.tar"
	failed(t, with.Run(t, "img-copy", "-q", missing, back), 3, "img-copy -q "+missing)
	// Without the program the transport is as unknown as ever.
	if out := fails(t, 2, "img-copy", name, back); !strings.Contains(out, `unknown transport "tarfile"`) {
		t.Errorf("without the program: %s", out)
	}
}
