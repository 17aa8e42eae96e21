package service

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/imgtools/imgtools/bench/internal/token"
)

// process is a registry that runs.
type process struct {
	cmd  *exec.Cmd
	addr string
	done chan struct{}
}

// settings of one registry process.
type settings struct {
	name, binary string
	store        string // folder
	tls          bool
	realm        string // URL of the token server, "" for none
}

// config is the registry's configuration file.
func (s settings) config(addr, pki string) string {
	var b strings.Builder
	b.WriteString("version: 0.1\nlog:\n  level: error\n  accesslog: {disabled: true}\n")
	fmt.Fprintf(&b, "storage:\n  filesystem: {rootdirectory: %q, maxthreads: 200}\n", s.store)
	b.WriteString("  delete: {enabled: true}\n  maintenance: {uploadpurging: {enabled: false}}\n")
	fmt.Fprintf(&b, "http:\n  addr: %s\n", addr)
	if s.tls {
		fmt.Fprintf(&b, "  tls: {certificate: %q, key: %q}\n", filepath.Join(pki, "cert.pem"), filepath.Join(pki, "key.pem"))
	}
	if s.realm != "" {
		fmt.Fprintf(&b, "auth:\n  token: {realm: %q, service: %s, issuer: %s, rootcertbundle: %q}\n",
			s.realm, token.Service, token.Issuer, filepath.Join(pki, "ca.pem"))
	}
	return b.String()
}

// start runs a registry on a free port and waits until it answers.
func (s settings) start(run, pki string) (*process, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(run, s.name+".yml")
	if err := os.WriteFile(file, []byte(s.config(addr, pki)), 0o644); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(run, s.name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &process{cmd: exec.Command(s.binary, "serve", file), addr: addr, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// Not our own environment: REGISTRY_ variables would change the settings.
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + run, "OTEL_TRACES_EXPORTER=none"}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	return p, p.ready(log.Name())
}

func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

func (p *process) ready(log string) error {
	for range 200 {
		c, err := net.DialTimeout("tcp", p.addr, time.Second)
		if err == nil {
			return c.Close()
		}
		select {
		case <-p.done:
			b, _ := os.ReadFile(log)
			return fmt.Errorf("%s ended at once: %s", p.cmd.Path, bytes.TrimSpace(b))
		case <-time.After(50 * time.Millisecond):
		}
	}
	p.stop()
	return fmt.Errorf("%s does not answer on %s", p.cmd.Path, p.addr)
}

func (p *process) stop() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// cpu is the processor time used so far.
func (p *process) cpu() time.Duration {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "stat"))
	if err != nil {
		return 0
	}
	return parseStat(string(b))
}

// parseStat reads user and system time, in hundredths of a second as Linux
// has them for every architecture, of a line of /proc/PID/stat.
func parseStat(line string) time.Duration {
	f := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	sys, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+sys) * 10 * time.Millisecond
}
