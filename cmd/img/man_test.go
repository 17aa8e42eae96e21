package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/imgtools/imgtools/lib/cli"
)

var fix = flag.Bool("fix", false, "write the manual pages anew")

// The pages in man/ are what the tables say: go test ./cmd/img -fix
func TestManualPages(t *testing.T) {
	tools := []*cli.Tool{cli.MultiTool("img", entries())}
	for _, e := range entries() {
		if e.Tool != nil {
			tools = append(tools, e.Tool())
		}
	}
	for _, tool := range tools {
		var page bytes.Buffer
		tool.Man(&page)
		path := filepath.Join("..", "..", "man", tool.Name+".1")
		if *fix {
			if err := os.WriteFile(path, page.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		have, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(have, page.Bytes()) {
			t.Errorf("%s is not what the table says (%v): go test ./cmd/img -fix", path, err)
		}
	}
}
