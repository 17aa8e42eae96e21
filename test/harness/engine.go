package harness

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
)

// An Engine is a container engine that one test has to itself. It has no
// network and no images.
type Engine struct {
	Socket  string   // of its server, "" for Podman, which has none
	command []string // the client and the flags that lead it to this engine
}

// Run runs the engine's client: docker, ctr or podman.
func (e *Engine) Run(t T, stdin io.Reader, args ...string) Result {
	t.Helper()
	return Run(t, stdin, e.command[0], append(e.command[1:len(e.command):len(e.command)], args...)...)
}

// Must is Run for what has to succeed; it returns the output.
func (e *Engine) Must(t T, stdin io.Reader, args ...string) string {
	t.Helper()
	return e.Run(t, stdin, args...).must(t, e.command[0], args)
}

// Dockerd starts a Docker daemon of its own, with its own containerd.
func Dockerd(t T) *Engine {
	t.Helper()
	needRoot(t, "dockerd")
	var last error
	for _, driver := range []string{"overlay2", "vfs"} { // the first fails on some file systems
		e, err := dockerd(t, Dir(t), driver)
		if err == nil {
			return e
		}
		last = err
	}
	t.Fatalf("%v", last)
	return nil
}

func dockerd(t T, dir, driver string) (*Engine, error) {
	t.Helper()
	config, socket := filepath.Join(dir, "daemon.json"), filepath.Join(dir, "docker.sock")
	if err := os.WriteFile(config, []byte("{}"), 0o600); err != nil { // not the machine's
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	ready := func() error {
		resp, err := client.Get("http://docker/_ping")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("ping: %s", resp.Status)
		}
		return nil
	}
	_, err := launch(t, filepath.Join(dir, "log"), ready, "dockerd",
		"--config-file", config, "--host", "unix://"+socket, "--pidfile", filepath.Join(dir, "pid"),
		"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
		"--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false",
		"--storage-driver", driver)
	if err != nil {
		return nil, err
	}
	return &Engine{socket, []string{"docker", "--host", "unix://" + socket}}, nil
}

// Containerd starts a containerd of its own.
func Containerd(t T) *Engine {
	t.Helper()
	needRoot(t, "containerd")
	dir := Dir(t)
	config, socket := filepath.Join(dir, "config.toml"), filepath.Join(dir, "containerd.sock")
	text := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [%q]\n[grpc]\naddress = %q\n",
		filepath.Join(dir, "root"), filepath.Join(dir, "state"), "io.containerd.grpc.v1.cri", socket)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatalf("%v", err)
	}
	_, err := launch(t, filepath.Join(dir, "log"), listening("unix", socket), "containerd", "--config", config)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return &Engine{socket, []string{"ctr", "--address", socket}}
}

// Podman returns a Podman whose storage is its own.
func Podman(t T) *Engine {
	t.Helper()
	needRoot(t, "podman")
	dir := Dir(t)
	return &Engine{"", []string{
		"podman", "--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"),
		"--tmpdir", filepath.Join(dir, "tmp"), "--storage-driver", "vfs",
		"--events-backend", "none", "--cgroup-manager", "cgroupfs",
	}}
}

func needRoot(t T, name string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatalf("%s needs root: run the tests as root", name)
	}
}
