package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/imgtools/imgtools/bench/internal/tool"
)

// peers that go install makes, at the versions that the numbers are about.
var peers = []struct{ name, module string }{
	{"crane", "github.com/google/go-containerregistry/cmd/crane@v0.22.1"},
	{"regctl", "github.com/regclient/regclient/cmd/regctl@v0.11.7"},
	{"registry", "github.com/distribution/distribution/v3/cmd/registry@v3.1.2"},
}

// debian packages whose program has the same name.
var debian = []string{"skopeo", "docker-registry"}

const flagsOfBuild = "-s -w"

// setup gets what is missing and builds rr and the bound.
func setup(ctx context.Context, p paths) error {
	b, err := os.ReadFile("go.mod")
	if err != nil || !strings.HasPrefix(string(b), "module github.com/imgtools/imgtools/bench\n") {
		return errors.New("run it in the folder bench/, or with go run -C bench")
	}
	if err := installPeers(ctx, p.peers); err != nil {
		return err
	}
	if err := installDebian(ctx); err != nil {
		return err
	}
	return goTool(ctx, "", "build", "-trimpath", "-buildvcs=false", "-ldflags", flagsOfBuild, "-o", p.bin("")+string(filepath.Separator), "./cmd/rr", "./cmd/bound")
}

// bin is the path of a program that the bench builds for itself.
func (p paths) bin(name string) string { return filepath.Join(p.work, "bin", name) }

func (p paths) peer(name string) string {
	return or(os.Getenv(strings.ToUpper(name)), filepath.Join(p.peers, name))
}

func (p paths) system(name, variable string) string {
	found, _ := exec.LookPath(name)
	return or(os.Getenv(variable), or(found, name))
}

// tools says where every tool is.
func (p paths) tools() []tool.Tool {
	return tool.New(tool.Paths{Skopeo: p.system("skopeo", "SKOPEO"), Crane: p.peer("crane"), Regctl: p.peer("regctl"), Bound: p.bin("bound"), Img: p.img})
}

func installPeers(ctx context.Context, dir string) error {
	for _, x := range peers {
		if _, err := os.Stat(paths{peers: dir}.peer(x.name)); err == nil {
			continue
		}
		fmt.Fprintln(os.Stderr, "bench: go install", x.module)
		if err := goTool(ctx, dir, "install", "-trimpath", "-ldflags", flagsOfBuild, x.module); err != nil {
			return err
		}
	}
	return nil
}

func goTool(ctx context.Context, gobin string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if gobin != "" {
		cmd.Env = append(cmd.Env, "GOBIN="+gobin)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// installDebian gets the packages as root; anyone else is told of them.
func installDebian(ctx context.Context) error {
	var missing []string
	for _, name := range debian {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "bench: without", strings.Join(missing, ", "), "(apt-get install them)")
		return nil
	}
	args := append([]string{"install", "-y", "-qq", "--no-install-recommends"}, missing...)
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}
