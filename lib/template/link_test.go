package template

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The reason why this package exists: a program that uses it, and nothing else
// of the kind, still leaves out the methods that it does not call. That
// text/template is found out shows that the linker says so in this way.
func TestMethodsArePruned(t *testing.T) {
	const ours = `package main

import (
	"os"

	"github.com/imgtools/imgtools/lib/template"
)

func main() { template.Execute(os.Stdout, os.Args[1], os.Args) }
`
	const theirs = `package main

import (
	"os"
	"text/template"
)

func main() { template.Must(template.New("").Parse(os.Args[1])).Execute(os.Stdout, os.Args) }
`
	if users := reflectMethods(t, ours); users != "" {
		t.Errorf("method pruning is switched off by:\n%s", users)
	}
	if users := reflectMethods(t, theirs); !strings.Contains(users, "text/template") {
		t.Errorf("text/template does not switch off method pruning, but:\n%s", users)
	}
}

// reflectMethods builds a program and returns which of its functions look
// methods up by name, as the linker tells them.
func reflectMethods(t *testing.T, program string) string {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-ldflags=-dumpdep", "-o", filepath.Join(dir, "main"), source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "main.main") {
		t.Fatalf("go build: %v\n%.2000s", err, out)
	}
	var users strings.Builder
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "<ReflectMethod>") {
			users.WriteString(line)
		}
	}
	return users.String()
}
