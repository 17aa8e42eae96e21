package auth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/imgtools/imgtools/lib/disk"
)

// killEnv makes this program, started anew, a login that is killed at its
// n-th step: "N FILE".
const killEnv = "AUTH_TEST_KILL"

func TestMain(m *testing.M) {
	if at, path, ok := strings.Cut(os.Getenv(killEnv), " "); ok {
		left, _ := strconv.Atoi(at)
		s := &Store{Finder: Finder{File: path}, step: func(string, string) error {
			if left--; left == 0 {
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
			return nil
		}}
		if _, err := s.Put(context.Background(), "h.example", alice()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func alice() Credential { return Credential{Username: "alice", Password: "s3cr3t"} }

// names returns what is in a directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

// Several logins at once are what a CI job does. None may lose what another
// has written, and nobody may see half a file.
func TestPutConcurrent(t *testing.T) {
	s, path := storeIn(t, "{\n\t\"x\": 1,\n\t\"auths\": {}\n}")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			one := &Store{Finder: Finder{File: path}}
			host := fmt.Sprintf("h%d.example", i)
			if _, err := one.Put(t.Context(), host, alice()); err != nil {
				t.Errorf("Put(%s) = %v", host, err)
			}
			if got, err := one.Find(t.Context(), host); err != nil || got != alice() {
				t.Errorf("Find(%s) = %q, %v", host, plain(got), err)
			}
			if i%2 == 1 {
				if _, err := one.Remove(t.Context(), host); err != nil {
					t.Errorf("Remove(%s) = %v", host, err)
				}
			}
		})
	}
	wg.Wait()
	all, err := s.List(t.Context())
	if err != nil || len(all) != 10 {
		t.Errorf("List() = %d, %v; want 10", len(all), err)
	}
	if got := names(t, filepath.Dir(path)); !slices.Equal(got, []string{"auth.json"}) {
		t.Errorf("there are %q; want auth.json alone", got)
	}
}

// Whatever fails, and whether it fails once or from then on, the file is the
// old or the new one, and the next login finishes without help.
func TestPutFails(t *testing.T) {
	old, _ := storeIn(t, "")
	if _, err := old.Put(t.Context(), "h.example", alice()); err != nil {
		t.Fatal(err)
	}
	fresh := read(t, old.File)
	for _, before := range []string{"", auths("h.example", "bob:1")} {
		for _, forever := range []bool{false, true} {
			for n, done := 1, false; !done; n++ {
				s, path := storeIn(t, before)
				if before == "" {
					path = filepath.Join(filepath.Dir(path), "a", "b", "auth.json")
					s.File = path
				}
				at := 0
				s.step = func(string, string) error {
					if at++; at == n || forever && at > n {
						return syscall.ENOSPC
					}
					return nil
				}
				_, err := s.Put(t.Context(), "h.example", alice())
				done = at < n
				if done && err != nil || err != nil && !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("step %d fails: %v", n, err)
				}
				whole(t, path, before, fresh, err == nil)
				again(t, path)
			}
		}
	}
}

// whole fails unless the file holds old, or what a login makes of it.
func whole(t *testing.T, path, old, fresh string, must bool) {
	t.Helper()
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && old == "" && !must {
		return
	}
	text := string(b)
	isNew := old == "" && text == fresh || old != "" && text == strings.Replace(old, "Ym9iOjE=", "YWxpY2U6czNjcjN0", 1)
	if err != nil || !isNew && (must || text != old) {
		t.Errorf("the file is %q, %v", text, err)
	}
}

// again logs in a second time and fails unless that leaves one file.
func again(t *testing.T, path string) {
	t.Helper()
	s := &Store{Finder: Finder{File: path}}
	if _, err := s.Put(t.Context(), "i.example", alice()); err != nil {
		t.Fatalf("the next login: %v", err)
	}
	if got := names(t, filepath.Dir(path)); !slices.Equal(got, []string{filepath.Base(path)}) {
		t.Errorf("there are %q after the next login", got)
	}
}

// After a power cut there is what was synced, in that order: the content
// before the name, and the name before anybody is told.
func TestPutSteps(t *testing.T) {
	dir := t.TempDir()
	s := &Store{Finder: Finder{File: filepath.Join(dir, "new", "auth.json")}}
	var log []string
	s.step = func(op, name string) error {
		name = strings.TrimPrefix(name, dir)
		if i := strings.Index(name, ".tmp-"); i >= 0 {
			name = "TEMP"
		}
		log = append(log, op+" "+name)
		return nil
	}
	if _, err := s.Put(t.Context(), "h.example", alice()); err != nil {
		t.Fatal(err)
	}
	want := []string{"mkdir /new", "sync .", "create .auth.json.lock", "create TEMP", "write TEMP", "sync TEMP", "rename auth.json", "sync .", "remove .auth.json.lock"}
	if !slices.Equal(log, want) {
		t.Errorf("steps are %q; want %q", log, want)
	}
}

// A process that dies takes its locks with it, and leaves nothing that the
// next login would not remove.
func TestPutKilled(t *testing.T) {
	for _, before := range []string{"", auths("h.example", "bob:1")} {
		fresh := ""
		for n, done := 1, false; !done; n++ {
			path := filepath.Join(t.TempDir(), "auth.json")
			if before != "" {
				write(t, path, before)
			}
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), killEnv+"="+strconv.Itoa(n)+" "+path)
			out, err := cmd.CombinedOutput()
			done = err == nil
			if exit, ok := errors.AsType[*exec.ExitError](err); !done && (!ok || exit.Success() || exit.ExitCode() != -1) {
				t.Fatalf("step %d: %v\n%s", n, err, out)
			}
			if b, err := os.ReadFile(path); before == "" && err == nil {
				fresh = string(b)
				if got, err := (&Finder{File: path}).Find(t.Context(), "h.example"); err != nil || got != alice() {
					t.Errorf("step %d: Find() = %q, %v", n, plain(got), err)
				}
			}
			whole(t, path, before, fresh, done)
			again(t, path)
		}
	}
}

// At no moment may anybody else open a file that has a secret, or will have
// one: who has opened it can read what comes later.
func TestPutPrivate(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := &Store{Finder: Finder{File: filepath.Join(dir, "auth.json")}}
	s.step = func(op, name string) error {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if info, err := e.Info(); err == nil && info.Mode().Perm() != 0o600 {
				t.Errorf("before %s of %s: %s has mode %v", op, name, e.Name(), info.Mode())
			}
		}
		return nil
	}
	if _, err := s.Put(t.Context(), "h.example", alice()); err != nil {
		t.Fatal(err)
	}
	for _, made := range []string{dir, filepath.Dir(dir)} {
		if got := mode(t, made); got != 0o700 {
			t.Errorf("%s has mode %v; want 0700", made, got)
		}
	}
	// One that others can read works, and is tightened when it is written.
	if err := os.Chmod(s.File, 0o644); err != nil {
		t.Fatal(err)
	}
	s.step = nil
	if got, err := s.Find(t.Context(), "h.example"); err != nil || got != alice() {
		t.Errorf("Find() in a file of mode 0644 = %q, %v", plain(got), err)
	}
	if _, err := s.Put(t.Context(), "i.example", alice()); err != nil || mode(t, s.File) != 0o600 {
		t.Errorf("Put() into a file of mode 0644 = %v; the mode is %v", err, mode(t, s.File))
	}
}

// A login that changes nothing writes nothing.
func TestPutSame(t *testing.T) {
	s, path := storeIn(t, auths("h.example", "alice:s3cr3t"))
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "h.example", alice()); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("the file was replaced: %v", err)
	}
}

// People link the file to a repository of dotfiles: the link stays, and what
// it leads to is written.
func TestPutLink(t *testing.T) {
	dir := t.TempDir()
	in := func(names ...string) string { return filepath.Join(append([]string{dir}, names...)...) }
	write(t, in("dotfiles", "docker", "config.json"), "{}")
	write(t, in("home", "x"), "")
	links := map[string]string{
		in("home", "dir"):         "../dotfiles",
		in("home", "config.json"): "dir/docker/../docker/config.json",
		in("home", "chain"):       "config.json",
		in("home", "absolute"):    in("home", "chain"),
		in("home", "dangling"):    "../dotfiles/new/auth.json",
	}
	for link, target := range links {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range []string{"config.json", "chain", "absolute", "dangling"} {
		s := &Store{Finder: Finder{File: in("home", name)}}
		host := fmt.Sprintf("h%d.example", i)
		if _, err := s.Put(t.Context(), host, alice()); err != nil {
			t.Errorf("Put by %s = %v", name, err)
		}
		target := in("dotfiles", "docker", "config.json")
		if name == "dangling" {
			target = in("dotfiles", "new", "auth.json")
		}
		if got, err := (&Finder{File: target}).Find(t.Context(), host); err != nil || got != alice() {
			t.Errorf("Put by %s: Find() in %s = %q, %v", name, target, plain(got), err)
		}
	}
	for link, target := range links {
		if got, err := os.Readlink(link); err != nil || got != target {
			t.Errorf("the link %s leads to %q, %v; want %q", link, got, err, target)
		}
	}
	if os.Geteuid() == 0 {
		stranger := in("home", "stranger")
		err := errors.Join(os.Symlink("../dotfiles/docker/config.json", stranger), os.Lchown(stranger, 12345, 12345))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (&Store{Finder: Finder{File: stranger}}).Put(t.Context(), "h.example", alice()); !strings.HasSuffix(message(err), "a symbolic link of another user") {
			t.Errorf("Put by somebody else's link = %v", err)
		}
	}
	loop := in("home", "loop")
	if err := os.Symlink("loop", loop); err != nil {
		t.Fatal(err)
	}
	if _, err := (&Store{Finder: Finder{File: loop}}).Put(t.Context(), "h.example", alice()); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("Put by a looping link = %v; want %v", err, syscall.ELOOP)
	}
}

// A link that somebody else has put where we write, in /tmp for one, must not
// choose the place of a secret.
func TestTrusted(t *testing.T) {
	me := uint32(os.Geteuid())
	for uid, want := range map[uint32]bool{0: true, me: true, me + 1: false, 65534: me == 65534} {
		if got := trusted(owned{uid: uid}); got != want {
			t.Errorf("trusted(owner %d) = %v; want %v", uid, got, want)
		}
	}
}

// owned is a file of some user.
type owned struct {
	fs.FileInfo
	uid uint32
}

func (o owned) Sys() any { return &syscall.Stat_t{Uid: o.uid} }

// A device or a pipe in the place of the file is a mistake. Renaming over
// /dev/null, as root, would be a worse one.
func TestPutSpecial(t *testing.T) {
	dir := t.TempDir()
	fifo, null := filepath.Join(dir, "fifo"), filepath.Join(dir, "null")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(os.DevNull, null); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, null, dir, filepath.Join(fifo, "auth.json")} {
		s := &Store{Finder: Finder{File: path}}
		if _, err := s.Put(t.Context(), "h.example", alice()); err == nil || !strings.HasPrefix(err.Error(), "writing auth file: ") {
			t.Errorf("Put into %s = %v; want an error", path, err)
		}
	}
	if got := names(t, dir); !slices.Equal(got, []string{"fifo", "null"}) {
		t.Errorf("there are %q", got)
	}
}

// Waiting for another login ends with the context.
func TestPutWaits(t *testing.T) {
	s, path := storeIn(t, "{}")
	d, err := disk.Open(filepath.Dir(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	unlock, err := s.lock(t.Context(), d, ".auth.json.lock")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Put(ctx, "h.example", alice()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Put() beside another = %v; want %v", err, context.DeadlineExceeded)
	}
	done := make(chan error)
	go func() {
		_, err := (&Store{Finder: Finder{File: path}}).Put(context.Background(), "h.example", alice())
		done <- err
	}()
	unlock()
	if err := <-done; err != nil {
		t.Errorf("Put() after another = %v", err)
	}
}

// Root that changes a user's file, as with sudo, leaves it the user's.
func TestPutKeepsOwner(t *testing.T) {
	s, path := storeIn(t, "{}")
	want := os.Geteuid()
	if want == 0 {
		want = 12345
		if err := os.Chown(path, want, want); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Put(t.Context(), "h.example", alice()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Sys().(*syscall.Stat_t); int(got.Uid) != want || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is of %d, mode %v; want %d, 0600", got.Uid, info.Mode(), want)
	}
}
