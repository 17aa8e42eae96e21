package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// inside marks the process that enterNamespace started.
const inside = "IMGTOOLS_BENCH_NAMESPACE"

// namespace says where this process stands.
type namespace struct {
	child  bool // go on here; else the child has done the work
	mounts bool // the mounts are private: tmpfs, and skopeo's cache
}

// enterNamespace runs this program again in a mount namespace of its own, with
// a tmpfs for the registries and with /var/lib/containers put aside, so that
// skopeo's cache can be emptied and nothing stays mounted. Without the right
// to do so, the work goes on here, on the work folder's file system.
func enterNamespace(ctx context.Context, work string) (namespace, error) {
	if os.Getenv(inside) != "" {
		return namespace{child: true, mounts: true}, mountAll(work)
	}
	if os.Geteuid() != 0 {
		return namespace{child: true}, nil
	}
	self, err := os.Executable()
	if err != nil {
		return namespace{}, err
	}
	cmd := exec.CommandContext(ctx, self, os.Args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGTERM}
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return namespace{}, nil
	case errors.As(err, &exit):
		os.Exit(max(1, exit.ExitCode()))
	case errors.Is(err, syscall.EPERM):
		fmt.Fprintln(os.Stderr, "bench: no private mounts here: registries on disk, skopeo keeps its cache between runs")
		return namespace{child: true}, nil
	}
	return namespace{}, err
}

func mountAll(work string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	store, containers := filepath.Join(work, "store"), filepath.Join(work, "containers")
	for _, d := range []string{store, containers, "/var/lib/containers"} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := syscall.Mount("imgtools-bench", store, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mounting tmpfs: %w", err)
	}
	if err := syscall.Mount(containers, "/var/lib/containers", "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("putting /var/lib/containers aside: %w", err)
	}
	return nil
}
